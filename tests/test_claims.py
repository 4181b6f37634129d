"""Claims, and the ledger that counts on which seeds they held."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest

from mmlib.__main__ import main
from mmlib.book import claims, ledger, results
from mmlib.book.claims import ClaimError, claim, written
from mmlib.book.studies import STUDIES
from mmlib.metrics import Interval, mean_interval, paired

CHAPTERS = ledger.notebooks()


@pytest.fixture(autouse=True)
def _from_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "_order", [])
    monkeypatch.delenv(claims.RECORD, raising=False)


def test_a_claim_that_holds_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    claim("02-a-below-b", "A is below `b`", shown=Interval(-0.182, -0.224, -0.141), n="10 draws", holds=True)
    claim("02-c", "C", shown="words", n="one run", holds=np.bool_(True))
    claim("02-a-below-b", "A is below `b`", shown=0.1, n="10 draws", holds=True)
    numbers = [line.split()[1] for line in capsys.readouterr().out.splitlines()]
    assert numbers == ["2.1", "2.2", "2.1"], "a cell that is run again keeps its number"


def test_one_that_does_not_hold_fails_and_says_what_was_found() -> None:
    with pytest.raises(ClaimError, match=r"✗ 2\.1 A is below b\. -18\.2 points; 10 draws"):
        claim("02-a-below-b", "A is below b", shown=-0.182, n="10 draws", holds=False)


def test_recording_goes_on_after_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(claims.RECORD, str(tmp_path / "record"))
    claim("02-a", "A", shown=1.5, unit="nats", n="3 draws", holds=False, of="blending")
    claim("02-b", "B", shown={"x": 0.5, "y": 0.25}, unit="share", n="3 draws", holds=True)
    first, second = map(json.loads, (tmp_path / "record").read_text("utf8").splitlines())
    assert (first["id"], first["shown"], first["holds"], first["of"]) == ("02-a", "1.5 nats", False, ["blending"])
    assert (second["shown"], second["holds"]) == ("x 0.500; y 0.250", True)


def test_what_was_not_made_with_these_seeds_is_neither_held_nor_refuted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = tmp_path / "record"
    monkeypatch.setenv(claims.RECORD, str(record))
    monkeypatch.setenv("MMLIB_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("MMLIB_SEED_OFFSET", "40")
    for holds in (True, False):
        claim("02-a", "A", shown="x", n="n", holds=holds, of=["blending", "missing"])
        claim("02-b", "B", shown="x", n="n", holds=holds)
        claim("02-c", "C", shown="x", n="n", holds=holds, there=False)
    for name in ("blending", "missing"):
        (results.folder() / f"{name}.json").parent.mkdir(parents=True, exist_ok=True)
        (results.folder() / f"{name}.json").touch()
    claim("02-a", "A", shown="x", n="n", holds=False, of=["blending", "missing"])
    found = [json.loads(line)["holds"] for line in record.read_text("utf8").splitlines()]
    assert found == [None, True, None, None, False, None, False]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": "below"}, "id: expected the chapter and words"),
        ({"id": "02 below"}, "id: expected the chapter and words"),
        ({"sentence": "A is below b."}, "without a full stop"),
        ({"n": ""}, "and n, found"),
        ({"of": "no_such"}, "result: unknown 'no_such'"),
        ({"holds": 1}, "holds: expected True or False, found 1"),
        ({"shown": [1, 2]}, "shown: expected an interval"),
    ],
)
def test_errors_name_what_was_expected(changes: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        claim(**{"id": "02-a", "sentence": "A", "shown": 0.1, "n": "3 draws", "holds": True, **changes})


def test_estimates_in_words() -> None:
    assert written(Interval(-0.182, -0.224, -0.141)) == "-18.2 points (-22.4 to -14.1)"
    assert written(Interval(0.5, 0.4, 0.6), "share") == "0.500 (0.400 to 0.600)"
    assert written(mean_interval([1.0, 2.0, 3.0]), "nats").startswith("2 nats (")
    assert written(paired([0.3, 0.4], [0.1, 0.2])).startswith("+20.0 points")
    assert written({"a": 0.1, "b": "none"}) == "a +10.0 points; b none"
    assert written(np.float64(0.25), "") == "0.25"


def test_html_escapes_and_is_a_target() -> None:
    made = claims.Claim("02-a", "2.1", "`x` < y & z", "<b>", "3 draws", (), None)
    assert made._repr_html_() == (
        '<p class="mm-claim" id="02-a"><span class="mm-mark" role="img" aria-label="not computed">–</span> <b>2.1</b> '
        '<code>x</code> &lt; y &amp; z. <span class="mm-shown">&lt;b&gt;; 3 draws.</span></p>'
    )


# the chapters, without running them


def test_every_assertion_of_the_chapters_is_a_claim() -> None:
    for path in CHAPTERS.values():
        for cell in nbformat.read(path, 4).cells:
            if cell.cell_type == "code" and cell.id != "install-mmlib":
                assert "assert " not in cell.source, f"{path.name}: {cell.id}"


def test_ids_begin_with_their_chapter_and_are_there_once() -> None:
    found = [(path, id) for path in CHAPTERS.values() for id in ledger.made_in(path)]
    assert len({id for _, id in found}) == len(found) >= 150
    for path, id in found:
        assert path.stem.startswith((id.partition("-")[0], "statistics" if id.startswith("stat-") else "?")), id


def test_the_record_of_the_printed_seeds_is_that_of_the_chapters() -> None:
    told = ledger.read(0)["claims"]
    made = {id: (path.stem, sentence) for path in CHAPTERS.values() for id, sentence in ledger.made_in(path).items()}
    again = "record them: python -m mmlib claims --offset 0"
    assert set(told) == set(made), again
    for id, (chapter, sentence) in made.items():
        assert told[id]["chapter"] == chapter, again
        assert sentence is None or told[id]["sentence"] == sentence, f"{id}: {again}"
        assert told[id]["holds"] is True, f"{id}: at offset 0 every claim holds, and none is left out"
        assert set(told[id]["of"]) <= set(STUDIES)


# the ledger


def notebook(folder: Path, name: str, *cells: str) -> Path:
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path = folder / "notebooks" / f"{name}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(made, path)
    return path


START = "from mmlib.book.claims import claim"
GOOD = "claim('{id}', 'A', shown=0.1, n='1 draw', holds={holds})"


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(ledger, "ROOT", tmp_path)
    (tmp_path / "book" / "claims").mkdir(parents=True)
    monkeypatch.setenv("MMLIB_SEED_OFFSET", "0")  # put back afterwards
    return tmp_path


def test_a_run_records_every_claim_and_what_went_wrong(book: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seeds = "import mmlib; claim('01-seeds', 'S', shown=str(mmlib.seeds(2)), n='2', holds=True)"
    notebook(book, "01_a", START, GOOD.format(id="01-a", holds=True), GOOD.format(id="01-b", holds=False), seeds)
    notebook(book, "02_b", START, GOOD.format(id="02-a", holds=True), "1 / 0", f"if False: {GOOD.format(id='02-c', holds=True)}")
    notebook(book, "03_none", "x = 1")
    assert main(["claims", "--offset", "40", "--no-studies"]) == 1
    told = ledger.read(40)
    assert {id: c["holds"] for id, c in told["claims"].items()} == {
        "01-a": True, "01-b": False, "01-seeds": True, "02-a": True, "02-c": False,
    }  # fmt: skip
    assert told["claims"]["01-seeds"]["shown"] == "[40, 41]"
    assert told["chapters"]["02_b"]["error"] == "ZeroDivisionError: division by zero"
    assert ledger.offsets() == [40]
    out = capsys.readouterr()
    assert "01_a: 2 of 3 hold, 1 do not, 0 not computed" in out.out
    assert "02_b: ZeroDivisionError" in out.err


def test_one_chapter_again_keeps_the_others(book: Path) -> None:
    notebook(book, "01_a", START, GOOD.format(id="01-a", holds=False))
    notebook(book, "02_b", START, GOOD.format(id="02-a", holds=True))
    assert ledger.run(0, studies=False) == []
    notebook(book, "01_a", START, GOOD.format(id="01-a", holds=True), GOOD.format(id="01-new", holds=True))
    assert ledger.run(0, ["01_a"], studies=False) == []
    assert {id: c["holds"] for id, c in ledger.read(0)["claims"].items()} == {"01-a": True, "01-new": True, "02-a": True}


def test_studies_are_made_first_but_for_those_that_chose(book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(results, "make_all", lambda names, workers: asked.extend(names) or ["blending: no"])
    notebook(book, "01_a", START, GOOD.format(id="01-a", holds=True))
    assert ledger.run(40) == ["blending: no"]
    assert asked == [name for name, s in STUDIES.items() if not s.chooses]
    assert {"blending", "after"} <= set(asked)
    assert not {"after_rates", "after_constants", "scale_rates"} & set(asked)


def test_wrong_calls_are_answered(book: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(FileNotFoundError, match="expected the chapters beside the package"):
        ledger.run(0)
    notebook(book, "01_a", START, GOOD.format(id="01-a", holds=True))
    with pytest.raises(ValueError, match="chapter: unknown '1_a'; known: 01_a"):
        ledger.run(0, ["1_a"])
    with pytest.raises(ValueError, match="offset: expected 0 or more, found -1"):
        ledger.run(-1)
    with pytest.raises(FileNotFoundError, match=r"offset_7\.json does not exist; make it with: .* claims --offset 7"):
        ledger.read(7)
    assert main(["claims", "--offset", "-3"]) == 2
    assert "expected a whole number of 0 or more" in capsys.readouterr().err
    notebook(book, "01_a", START, "name = '01-a'", "claim(name, 'A', shown=0.1, n='1', holds=True)")
    with pytest.raises(ValueError, match=r"01_a\.ipynb: expected the id of a claim to be written out, found name"):
        ledger.made_in(book / "notebooks" / "01_a.ipynb")
    notebook(book, "01_a", *[GOOD.format(id="01-a", holds=True)] * 2)
    with pytest.raises(ValueError, match="the claim '01-a' is there twice"):
        ledger.made_in(book / "notebooks" / "01_a.ipynb")
