"""What an exercise asks for, and how an answer is judged."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import torch

#: numbers (float), or words (str)
Values = tuple[Any, ...]
#: one value, several, or a function that computes them, called when an answer is there
Answer = float | str | Sequence[float] | Sequence[str] | Callable[[], Any]


@dataclass(frozen=True)
class Mistake:
    """A typical wrong answer, and what to say to it: a question that leads on, not the answer."""

    answer: Answer
    says: str


@dataclass(frozen=True)
class Exercise:
    """What is asked, what is right, and what goes wrong.

    Attributes:
        asks: the form of the answer, such as "three numbers: image, audio, text".
        right: the answer.
        mistakes: typical ones, the first that fits is named.
        so: what follows from the right answer, in a sentence.
        otherwise: what to look at where no mistake is known.
        within: how far a number may be off.
        words: the words to choose from, where the answer is words.
    """

    asks: str
    right: Answer
    mistakes: tuple[Mistake, ...] = ()
    so: str = ""
    otherwise: str = ""
    within: float = 0.005
    words: tuple[str, ...] = ()


@dataclass(frozen=True, repr=False)
class Checked:
    """What was said to an answer; ``right`` is None where there was none to judge."""

    number: str
    right: bool | None
    says: str

    def __repr__(self) -> str:
        return f"{self.number}: {self.says}"


def values(answer: Any) -> Values:
    """An answer as a tuple of numbers or of words; computed, if it is a function.

    Raises:
        TypeError: it is neither.
    """
    given: Any = answer() if callable(answer) else answer
    if isinstance(given, torch.Tensor | np.ndarray):
        given = given.tolist()
    if isinstance(given, str | Real):
        given = (given,)
    found: list[Any] = [value.item() if isinstance(value, torch.Tensor | np.ndarray | np.generic) else value for value in given]
    words = [value.strip().lower() for value in found if isinstance(value, str)]
    if len(words) == len(found):
        return tuple(words)
    if not all(isinstance(value, Real) and not isinstance(value, bool) for value in found):
        raise TypeError("neither numbers nor words")
    return tuple(map(float, found))


def same(one: Values, other: Values, within: float) -> bool:
    """Whether two answers agree, number by number or word by word."""
    if len(one) != len(other) or isinstance(one[0], str) != isinstance(other[0], str):
        return False
    if isinstance(one[0], str):
        return one == other
    return all(abs(a - b) <= within for a, b in zip(one, other, strict=True))


def judge(number: str, exercise: Exercise, answer: Any) -> Checked:
    """Right, a known mistake, a slip that any exercise knows (order, sign, per cent, upside down), or not yet."""
    if answer is ... or answer is None:
        return Checked(number, None, f"put your answer in the place of the dots: {exercise.asks}.")
    try:
        given = () if callable(answer) else values(answer)
    except TypeError:
        given = ()
    if not given:
        return Checked(number, None, f"expected {exercise.asks}, found {answer!r}")
    words = isinstance(given[0], str)
    strange = [word for word in given if words and word not in exercise.words]
    if words != bool(exercise.words) or strange:
        among = f" (among {', '.join(exercise.words)})" if exercise.words else ""
        return Checked(number, None, f"expected {exercise.asks}{among}, found {answer!r}")
    if not words and not all(math.isfinite(value) for value in given):
        return Checked(number, None, f"expected {exercise.asks}, all finite, found {answer!r}")
    right = values(exercise.right)
    if len(given) != len(right):
        return Checked(number, None, f"expected {exercise.asks}, found {len(given)}: {answer!r}")
    if same(given, right, exercise.within):
        return Checked(number, True, f"right. {exercise.so}".strip())
    for mistake in exercise.mistakes:
        if same(given, values(mistake.answer), exercise.within):
            return Checked(number, False, f"not yet. {mistake.says}")
    return Checked(number, False, f"not yet. {slip(given, right, exercise.within) or exercise.otherwise}".strip())


def slip(given: Values, right: Values, within: float) -> str:
    """What an answer looks like that is right but for its order, its sign, its unit, its digits, or which way up it is."""
    if isinstance(given[0], str):
        return "The right words, in another order." if sorted(given) == sorted(right) else ""
    g, r = np.array(given, float), np.array(right, float)

    def fits(changed: Any) -> bool:
        return bool(np.all(np.abs(changed - r) <= within))

    if len(g) > 1 and fits(np.sort(g)[np.argsort(np.argsort(r))]):
        return "The right numbers, in another order."
    if fits(-g):
        return "The size is right. What about the sign?"
    if fits(g / 100):
        return "That looks like per cent: a share is asked for."
    with np.errstate(divide="ignore"):
        if np.all(g != 0) and fits(1 / g):
            return "The other way up: what is divided by what?"
    if np.all(np.abs(g - r) <= 5 * within):
        return "Very near: give more digits."
    return ""
