"""A stored result outlives a refactoring: what agrees is stamped, what differs is named, and nothing else is written."""

from __future__ import annotations

import datetime
import math
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmlib import __version__, fingerprint
from mmlib.__main__ import main
from mmlib.book import results, revision, verify
from mmlib.book.studies import STUDIES, Study
from mmlib.compare import compare
from mmlib.comparison import Comparison
from mmlib.methods import Joint
from mmlib.record import code_of, describe, digest, machine
from mmlib.setting import Setting
from tests.test_compare import own_data

FIT = {"epochs": 1, "batch_size": 16, "device": "cpu"}
JOINT = Setting("joint", data=own_data, fit_options=FIT)
OTHER_CODE = {"mmlib/train.py": "something else"}
Change = Callable[[dict[str, Any]], None]


class Renamed(Joint):
    """Joint training under another name: the same numbers, another description."""


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A stored result of six runs."""
    monkeypatch.setenv("MMLIB_RESULTS", str(tmp_path / "results"))
    rows = [JOINT, JOINT.with_("a", method="unimodal", method_options={"modality": "a"})]
    monkeypatch.setitem(STUDIES, "small", Study(lambda: rows, 3, ("val_loss",)))
    return results.make("small", workers=1, progress=False)


def with_other_code(path: Path, **changes: Any) -> dict[str, Any]:
    """As if other code had made the result."""
    content = results.read(path)
    old = {**content, "code": {**content["code"], **OTHER_CODE}, **changes}
    results.write(path, old)
    return old


def here(change: Change, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Runs made from here on go through ``change``; returns the list of them."""
    made: list[tuple[str, int]] = []

    def changed(settings: list[Setting], which: list[int], **options: Any) -> Comparison:
        assert options["cache"] is False
        outcome = compare(settings, which, **options)
        for run in outcome.runs:
            made.append((run["label"], run["seed"]))
            change(run)
        return outcome

    monkeypatch.setattr(verify, "compare", changed)
    return made


def as_it_is(run: dict[str, Any]) -> None:
    run["seconds"] = 1e6  # the time does not count


def one_bit(run: dict[str, Any]) -> None:
    if run["label"] == "a":
        run["test_loss"] += 1e-6  # the last digit that is stored


def check(**options: Any) -> verify.Report:
    (report,) = verify.verify(["small"], workers=1, progress=False, **options)
    return report


def test_agreement_stamps(small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code = results.read(small)["code"]
    old = with_other_code(small)
    made = here(as_it_is, monkeypatch)
    assert "mmlib/train.py changed since" in str(results.stale(small))
    assert main(["results", "--verify", "small", "--workers", "1"]) == 0
    assert "small: 5 of 6 runs made again, bit for bit the same; stamped" in capsys.readouterr().out
    assert results.stale(small) is None
    content = results.read(small)
    (stamp,) = content["stamps"]
    expected = {"verified": 5, "of": 6, "code": digest(code), "was": digest(old["code"]), "library": __version__}
    assert expected.items() <= stamp.items()
    assert {k: stamp[k] for k in machine()} == machine()
    assert abs(datetime.date.fromisoformat(stamp["date"]) - datetime.date.today()) <= datetime.timedelta(days=1)
    same = {k: v for k, v in old.items() if k not in ("code", "digest")}
    assert {k: v for k, v in content.items() if k not in ("code", "digest", "stamps")} == same
    assert len(made) == len(set(made)) == 5


def test_two_stamps_in_a_row_keep_the_history(small: Path) -> None:
    for _ in range(2):
        with_other_code(small)
        assert check().good
    first, second = results.read(small)["stamps"]
    assert first == second
    with_other_code(small, code={"mmlib/other.py": "x"})
    assert check().good
    stamps = results.read(small)["stamps"]
    assert stamps[:2] == [first, second]
    assert stamps[2]["was"] == digest({"mmlib/other.py": "x"})


def test_processes_agree_too(small: Path) -> None:
    with_other_code(small)
    (report,) = verify.verify(["small"], workers=2, progress=False)
    assert report.good, report


def test_a_changed_number_is_named_and_nothing_is_written(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old = with_other_code(small)
    before = small.read_bytes()
    made = here(one_bit, monkeypatch)
    assert main(["results", "--verify", "small", "--workers", "1"]) == 1
    error = capsys.readouterr().err
    differing = [run for run in made if run[0] == "a"]
    assert f"small: {len(differing)} of the 5 runs made again differ" in error
    assert "make it again: python -m mmlib results small" in error
    for label, seed in differing:
        (stored,) = [r["test_loss"] for r in old["runs"] if (r["label"], r["seed"]) == (label, seed)]
        assert f"{label}, seed {seed}: test_loss: stored {stored}, now {round(stored + 1e-6, 6)}" in error
    assert "joint, seed" not in error
    assert "--against" not in error  # the same machine: it cannot be the reason
    assert small.read_bytes() == before


def change_curve(run: dict[str, Any]) -> None:
    run["history"][0]["val_loss"] *= 1.01


def change_divergence(run: dict[str, Any]) -> None:
    run |= {"diverged": True, "diverged_epoch": 1}


def drop_field(run: dict[str, Any]) -> None:
    del run["best_epoch"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (change_curve, r"curve val_loss: stored \d\S+ at epoch 1, now \d"),
        (change_divergence, "diverged: stored absent, now true, and 1 more"),
        (drop_field, "best_epoch: stored 0, now absent"),
    ],
)
def test_every_stored_field_counts(change: Change, message: str, small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_other_code(small)
    here(change, monkeypatch)
    report = check()
    assert not report.good
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(report.text)


def test_what_was_not_stored_does_not_count() -> None:
    then = {"label": "a", "seed": 0, "loss": float("nan"), "curves": {"x": "1 2"}}
    assert verify.differences(("a", 0), then, {**then, "new": 1, "curves": {"x": "1 2", "y": "3"}}) == []
    assert verify.differences(("a", 0), then, {**then, "loss": 0.0}) == ["a, seed 0: loss: stored NaN, now 0.0"]
    (line,) = verify.differences(("a", 0), {**then, "loss": 0}, {**then, "loss": 0.0, "curves": {"x": "1"}})
    assert line == "a, seed 0: loss: stored 0, now 0.0, and 1 more"


@pytest.mark.parametrize("unlike", ["processor", "torch"])
def test_where_the_machine_may_be_the_reason_it_says_so(unlike: str, small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here(one_bit, monkeypatch)
    with_other_code(small, **{unlike: "another"})
    assert f"its {unlike}: another, here: {machine()[unlike]}" in check().text
    assert "python -m mmlib results --verify small --against REVISION" in check().text
    content = results.read(small)
    del content[unlike]
    results.write(small, content)
    assert f"its {unlike}: not recorded, here" in check().text
    note = {"kept": 1, "made_with": {**machine(), unlike: "an older one"}}
    results.write(small, {**content, **machine(), "stamps": [note]})
    assert f"its {unlike}: an older one, here" in check().text


@pytest.mark.parametrize(
    ("there", "here_now", "told"), [("AVX2", "AVX512", True), ("AVX512", "AVX2", False), ("AVX2", "AVX2", False)]
)
def test_the_way_back_to_older_vector_instructions(
    there: str, here_now: str, told: bool, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here(one_bit, monkeypatch)
    with_other_code(small, processor=f"a processor, {there}")
    monkeypatch.setattr(verify, "machine", lambda: {**machine(), "processor": f"another processor, {here_now}"})
    assert ("ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 python -m mmlib results --verify small" in check().text) is told


def many(runs: int, changed: int = 0, code: str = "x") -> verify.Task:
    """Something to verify with ten seeds a setting; the first ``changed`` settings are described in another way."""
    labels = [f"setting {i}" for i in range(runs // 10)]
    stored = [{"label": label, "seed": seed} for label in labels for seed in range(10)]
    content = {"runs": stored, "configuration": {label: {"method": "a"} for label in labels}}
    now = {label: {"method": "b" if i < changed else "a"} for i, label in enumerate(labels)}
    return verify.Task("many", Path("many.json"), content, {}, (), {"mmlib/train.py": code}, now)


@pytest.mark.parametrize("runs", [10, 100, 110, 200, 560])
def test_the_sample_is_at_least_five_and_five_percent(runs: int) -> None:
    drawn = many(runs).sample()
    assert len(drawn) == len(set(drawn)) == max(5, math.ceil(runs * 5 / 100))
    assert set(drawn) <= set(many(runs).stored())


def test_the_new_hash_draws_the_sample() -> None:
    assert many(200).sample() == many(200).sample()
    assert len({tuple(many(200, code=str(i)).sample()) for i in range(20)}) == 20
    often = [run for i in range(100) for run in many(50, code=str(i)).sample()]
    assert set(often) == set(many(50).stored())  # nobody is safe


def test_settings_described_in_another_way_are_always_drawn() -> None:
    for code in map(str, range(20)):
        drawn = many(560, changed=20, code=code).sample()
        assert {f"setting {i}" for i in range(20)} <= {label for label, _ in drawn}
        assert drawn[:28] == many(560, code=code).sample()


def test_a_renamed_class_is_verified_and_described_anew(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [JOINT.with_("joint", method=Renamed), *STUDIES["small"].settings()[1:]]
    monkeypatch.setitem(STUDIES, "small", STUDIES["small"]._replace(settings=lambda: rows))
    assert "verify it: python -m mmlib results --verify small" in str(results.stale(small))
    made = here(as_it_is, monkeypatch)
    assert check().good
    assert "joint" in {label for label, _ in made}
    assert results.read(small)["configuration"] == describe(rows)
    assert results.stale(small) is None


def test_other_settings_are_refused(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_other_code(small)
    before = small.read_bytes()
    monkeypatch.setitem(STUDIES, "small", Study(lambda: [JOINT], 3, ("val_loss",)))
    assert check().text == "ValueError: its settings have changed; make it again: python -m mmlib results small"
    monkeypatch.setitem(STUDIES, "small", STUDIES["small"]._replace(keep=("val_loss", "train_loss")))
    assert not check().good
    assert small.read_bytes() == before


def test_without_a_name_all_that_are_stale(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("second", "third", "damaged"):
        monkeypatch.setitem(STUDIES, name, Study(lambda: [JOINT], 1))
    second, damaged = (results.make(name, workers=1, progress=False) for name in ("second", "damaged"))
    assert check() == verify.Report("small", True, "current, nothing to verify")
    with_other_code(small)
    with_other_code(second)
    damaged.write_text("{")
    here(one_bit, monkeypatch)
    capsys.readouterr()
    assert main(["results", "--verify", "--workers", "1"]) == 1  # third was never made: it is not stale
    captured = capsys.readouterr()
    assert "second: 1 of 1 runs made again, bit for bit the same; stamped" in captured.out
    at_the_end = captured.err.strip().splitlines()
    assert at_the_end[0] == "2 not done:"
    assert at_the_end[1].startswith(f"damaged: ValueError: {damaged}: edited by hand or damaged")
    assert at_the_end[2].startswith("small: ")
    assert results.stale(second) is None
    assert damaged.read_text() == "{"
    (report,) = verify.verify(["third"], workers=1, progress=False)
    assert "does not exist; make it with: python -m mmlib results third" in report.text
    damaged.unlink()
    small.unlink()
    assert main(["results", "--verify"]) == 0
    assert "no result is stale" in capsys.readouterr().out


def test_interrupted_or_failing_leaves_the_file(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with_other_code(small)
    before = small.read_bytes()

    def interrupt(run: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    def fail(run: dict[str, Any]) -> None:
        raise RuntimeError("no memory")

    here(interrupt, monkeypatch)
    assert main(["results", "--verify", "--workers", "1"]) == 130
    assert "interrupted; results verified so far are stamped" in capsys.readouterr().err
    here(fail, monkeypatch)
    assert check().text == "RuntimeError: no memory"
    assert small.read_bytes() == before


# against another revision


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(repository: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).write_text(text)
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "a state")
    return git(repository, "rev-parse", "HEAD")


#: the least that a revision has, with the studies where they once stood: its runs are the stored ones, slightly wrong or not
TINY = """
import json, sys
from pathlib import Path
from types import SimpleNamespace as Some

CONTENT = json.loads(Path({path!r}).read_text())
def compare(settings, seeds, *, workers, cache, progress):
    (label, seed) = (settings[0].label, seeds[0])
    (run,) = [r for r in CONTENT["runs"] if (r["label"], r["seed"]) == (label, seed)]
    columns = run.pop("curves")
    history = [dict(zip(columns, map(float, row))) for row in zip(*(text.split() for text in columns.values()))]
    return Some(runs=[run | {{"history": history, "test_loss": run["test_loss"] + {extra}}}])
def setting(label):
    return Some(label=label, code=lambda: CONTENT["code"], describe=lambda: CONTENT["configuration"][label])
STUDIES = {{"small": Some(settings=lambda: [setting(label) for label in CONTENT["configuration"]])}}
"""


def tiny(content: Path, extra: float = 0.0) -> dict[str, str]:
    compares = TINY.format(path=str(content), extra=extra)
    return {"mmlib/__init__.py": "", "mmlib/compare.py": compares, "mmlib/studies.py": "from mmlib.compare import STUDIES\n"}


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q")
    monkeypatch.setattr(revision, "repository", lambda: folder)
    return folder


def test_against_a_revision(small: Path, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_other_code(small)
    copy = shutil.copy(small, tmp_path / "made-by-the-revision.json")
    wrong = commit(repository, tiny(copy, extra=0.25))
    right = commit(repository, tiny(copy))
    content = results.read(small)
    for run in content["runs"]:  # as if it came from another processor: nobody here can make these numbers
        run["test_loss"] += 1.0
    results.write(small, content)
    before = small.read_bytes()
    assert "--against REVISION" not in check().text
    assert "runs made again differ" in check().text

    report = check(against=wrong)
    assert not report.good
    assert f"test_loss: {wrong[:12]} " in report.text
    assert small.read_bytes() == before
    report = check(against=right[:10])
    assert report.good, report
    assert results.read(small)["stamps"][0]["against"] == right
    assert results.stale(small) is None
    assert git(repository, "worktree", "list").count("\n") == 0  # the folder of the other code is gone


def test_the_revision_must_be_the_one_that_made_the_result(small: Path, repository: Path, tmp_path: Path) -> None:
    with_other_code(small)
    at = commit(repository, tiny(Path(shutil.copy(small, tmp_path / "made.json"))))
    with_other_code(small, code={"mmlib/train.py": "yet another"})
    before = small.read_bytes()
    report = check(against="HEAD")
    assert not report.good
    assert f"--against: revision {at[:12]} is not the code that made small.json (" in report.text
    assert small.read_bytes() == before
    commit(repository, {"mmlib/studies.py": "raise RuntimeError('broken')\n"})
    assert "RuntimeError: broken" in check(against="HEAD").text
    assert git(repository, "worktree", "list").count("\n") == 0


@pytest.mark.slow
def test_against_this_library_as_it_was(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole way: a copy of this library, whose code differs in a name that nothing uses, makes the runs a second time."""
    monkeypatch.setenv("MMLIB_RESULTS", str(tmp_path / "results"))
    study = 'Setting("joint", data="two_speed", data_options={"samples": 120}, fit_options={"epochs": 1, "device": "cpu"})'
    shutil.copytree(fingerprint.PACKAGE, repository / "mmlib", ignore=shutil.ignore_patterns("__pycache__"))
    studies, train = (repository / "mmlib" / name for name in ("book/studies/__init__.py", "train.py"))
    added = f'\nfrom mmlib.compare import Setting\n\nSTUDIES["small"] = Study(lambda: [{study}], 2)\n'
    older = train.read_text() + "\nUNUSED = 1\n"
    at = commit(repository, {"mmlib/book/studies/__init__.py": studies.read_text() + added, "mmlib/train.py": older})

    row = Setting("joint", data="two_speed", data_options={"samples": 120}, fit_options={"epochs": 1, "device": "cpu"})
    monkeypatch.setitem(STUDIES, "small", Study(lambda: [row], 2))
    path = results.make("small", workers=1, progress=False)
    content = results.read(path)
    content["code"]["mmlib/train.py"] = fingerprint.file_hash(train)
    results.write(path, {**content, "processor": "another"})
    report = check(against="HEAD")
    assert report.good, report
    assert results.read(path)["stamps"][0]["against"] == at
    assert results.read(path)["code"] == code_of([row])
