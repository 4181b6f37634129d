"""The exercises: what the chapters ask, what `check` says to it, and the solutions, which are run."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
import torch

from mmlib.book import exercises
from mmlib.book.exercises.answers import Checked, Exercise, Mistake, judge, values
from tests.data_server import ABSENT, SHARED, serve

ROOT = Path(__file__).resolve().parents[1]
PATHS = {int(p.name[:2]): p for p in sorted((ROOT / "notebooks").glob("[01][0-9]_*.ipynb")) if not p.name.startswith("00")}
HEAD = re.compile(r"^<!-- exercise: [\w-]+ -->\n\*\*Exercise (\d+\.\d+)\. [^*]+\*\* \*\((\w+)\)\*", re.MULTILINE)
FOLDED = re.compile(r"<summary>(Hint|Solution)</summary>\n\n(.*?)\n</details>", re.DOTALL)
CODE = re.compile(r"```python\n(.*?)```", re.DOTALL)
KINDS = {"arithmetic", "proof", "experiment", "open"}
NEEDS = {"10.3"}  #: exercises with data from the web


def sections(chapter: int) -> Iterator[tuple[str, str, list[Any]]]:
    """Number, kind and cells of each exercise of a chapter."""
    cells = nbformat.read(PATHS[chapter], 4).cells
    start = next(i for i, cell in enumerate(cells) if cell.source.startswith("## Exercises"))
    starts = [i for i, cell in enumerate(cells) if i > start and cell.cell_type == "markdown" and HEAD.search(cell.source)]
    for i, end in zip(starts, [*starts[1:], len(cells)], strict=True):
        match = HEAD.search(cells[i].source)
        assert match is not None
        yield match[1], match[2], cells[i:end]


EVERY = [(number, kind, cells) for chapter in PATHS for number, kind, cells in sections(chapter)]
CLOSED = [number for number, kind, _ in EVERY if kind != "open"]


def solution(number: str) -> str:
    [cells] = [cells for n, _, cells in EVERY if n == number]
    texts = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    [text] = [text for fold, text in FOLDED.findall(texts) if fold == "Solution"]
    return str(text)


@pytest.fixture(scope="module", autouse=True)
def _one_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Runs of a solution are found by what judges them, and by what judges its mistakes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMLIB_CACHE", str(tmp_path_factory.mktemp("runs")))
        yield


@pytest.fixture(autouse=True)
def _cache_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of the cache that every other test has for itself."""
    monkeypatch.delenv("MMLIB_SEED_OFFSET", raising=False)


def test_there_is_a_chapter_of_answers_for_each_chapter() -> None:
    assert list(PATHS) == list(exercises.CHAPTERS)


@pytest.mark.parametrize("chapter", PATHS)
def test_each_chapter_has_every_kind_of_exercise_and_they_count_up(chapter: int) -> None:
    found = list(sections(chapter))
    assert {kind for _, kind, _ in found} == KINDS
    assert [number for number, _, _ in found] == [f"{chapter}.{k + 1}" for k in range(len(found))]
    known = exercises.exercises(chapter)
    assert list(known) == [number for number, _, _ in found]
    assert [number for number, e in known.items() if e is None] == [number for number, kind, _ in found if kind == "open"]


@pytest.mark.parametrize(("number", "kind", "cells"), EVERY, ids=[number for number, _, _ in EVERY])
def test_an_exercise_has_a_hint_a_cell_for_the_answer_and_a_solution(number: str, kind: str, cells: list[Any]) -> None:
    texts = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    folds = [fold for fold, _ in FOLDED.findall(texts)]
    if kind == "open":
        assert (folds, code) == ([], [])
        return
    assert folds == ["Hint", "Solution"]
    assert code == [f'check("{number}", ...)']
    assert CODE.findall(solution(number))[-1].rstrip().splitlines()[-1].startswith(f'check("{number}", ')


@pytest.mark.parametrize("number", CLOSED)
def test_the_solution_runs_by_itself_and_is_right(number: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with with_data(number, monkeypatch):
        code = CODE.findall(solution(number))
        assert len(code) == 1
        said: list[Checked] = []

        def check(number: str, answer: Any) -> None:
            said.append(exercises.check(number, answer))

        exec(compile(code[0], f"solution of {number}", "exec"), {"__name__": "__main__", "check": check})
        assert [(checked.number, checked.right) for checked in said] == [(number, True)], said
        exercise = exercises.exercises(int(number.partition(".")[0]))[number]
        assert exercise is not None
        right = values(exercise.right)
        told = {mistake.says for mistake in exercise.mistakes}
        assert len(told) >= 1
        for mistake in exercise.mistakes:
            wrong = values(mistake.answer)
            checked = exercises.check(number, wrong if len(wrong) > 1 else wrong[0])
            if wrong == right or (
                not exercise.words and np.allclose(np.array(wrong, float), np.array(right, float), rtol=0, atol=exercise.within)
            ):
                assert callable(mistake.answer), f"{mistake.says}: this is the right answer"
                continue  # an experiment that came out alike on these seeds
            assert checked.right is False
            said_of_it = checked.says.removeprefix("not yet. ")
            assert said_of_it in told
            if not callable(mistake.answer):  # of two experiments that came out alike the first is named
                assert said_of_it == mistake.says
        for says in (*told, exercise.otherwise):
            assert not gives_away(says, right), says


def gives_away(says: str, right: tuple[Any, ...]) -> bool:
    """Whether a sentence has the answer in it, to two digits."""
    if isinstance(right[0], str):
        return False
    found = [float(n) for n in re.findall(r"(?<![\w.])-?\d+\.\d{2,}", says)]
    return any(abs(n - r) < 0.005 for n in found for r in right if r != round(r))


@contextmanager
def with_data(number: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The real files at hand for an exercise that needs them, or a skip."""
    if number not in NEEDS:
        yield
        return
    if not SHARED.is_dir():
        pytest.skip(ABSENT)
    with serve(SHARED) as server:
        monkeypatch.setenv("MMLIB_DATA_MIRROR", server.url)
        yield


PAIR = Exercise("two numbers", (0.25, -2.0), (Mistake((0.5, -2.0), "Half of it."),), "Good.", "Look again.", within=0.01)


@pytest.mark.parametrize(
    ("answer", "right", "says"),
    [
        ((0.25, -2), True, "right. Good."),
        ([0.25, -2.0], True, "right. Good."),
        (np.array([0.25, -2.0]), True, "right. Good."),
        (torch.tensor([0.25, -2.0]), True, "right. Good."),
        ((torch.tensor(0.25), np.float32(-2)), True, "right. Good."),
        ((0.5, -2), False, "not yet. Half of it."),
        ((-2, 0.25), False, "not yet. The right numbers, in another order."),
        ((-0.25, 2), False, "not yet. The size is right. What about the sign?"),
        ((25, -200), False, "not yet. That looks like per cent: a share is asked for."),
        ((4, -0.5), False, "not yet. The other way up: what is divided by what?"),
        ((0.28, -2.02), False, "not yet. Very near: give more digits."),
        ((7, 7), False, "not yet. Look again."),
        (..., None, "put your answer in the place of the dots: two numbers."),
        (None, None, "put your answer in the place of the dots: two numbers."),
        (0.25, None, "expected two numbers, found 1: 0.25"),
        ((0.25, -2, 1), None, "expected two numbers, found 3: (0.25, -2, 1)"),
        ((0.25, math.nan), None, "expected two numbers, all finite, found (0.25, nan)"),
        ("many", None, "expected two numbers, found 'many'"),
        (True, None, "expected two numbers, found True"),
        ((), None, "expected two numbers, found ()"),
        ([[0.25], [-2.0]], None, "expected two numbers, found [[0.25], [-2.0]]"),
        ((0.25, "two"), None, "expected two numbers, found (0.25, 'two')"),
    ],
)
def test_what_is_said_to_an_answer(answer: Any, right: bool | None, says: str) -> None:
    assert judge("0.0", PAIR, answer) == Checked("0.0", right, says)


def test_what_is_no_answer_at_all_is_said_to_be_none() -> None:
    assert judge("0.0", PAIR, print).says.startswith("expected two numbers, found <built-in")
    assert judge("0.0", PAIR, object()).says.startswith("expected two numbers, found <object")


def test_words() -> None:
    words = Exercise("two words", ("yes", "no"), (Mistake(("no", "no"), "The first?"),), words=("yes", "no"))
    assert judge("0.0", words, (" Yes", "NO")).right is True
    assert judge("0.0", words, ("no", "no")).says == "not yet. The first?"
    assert judge("0.0", words, ("no", "yes")).says == "not yet. The right words, in another order."
    assert judge("0.0", words, ("perhaps", "no")).says == "expected two words (among yes, no), found ('perhaps', 'no')"
    assert judge("0.0", words, 3).says == "expected two words (among yes, no), found 3"


def test_check_names_what_there_is() -> None:
    with pytest.raises(ValueError, match=r"unknown exercise '4\.9'; chapter 4 has 4\.1, 4\.2"):
        exercises.check("4.9", 1)
    for number in ("4", "zero", "15.1", "0.1", 4, ""):
        with pytest.raises(ValueError, match="number: expected chapter and exercise"):
            exercises.check(number, 1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="chapter: expected 1 to 14, found 0"):
        exercises.exercises(0)
    assert exercises.check("4.5").right is None
    assert repr(exercises.check("4.1")) == "4.1: put your answer in the place of the dots: a number."
