"""The book's exercises: ``check("4.2", answer)`` says right, or which mistake an answer looks like, and gives nothing away.

One module a chapter holds what is right and what goes wrong; what is right is computed, by the library where it can be.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from mmlib.book.exercises.answers import Checked, Exercise, judge

CHAPTERS = range(1, 15)


def exercises(chapter: int) -> dict[str, Exercise | None]:
    """The exercises of a chapter by number, such as "4.2"; None for an open one, which has no answer.

    Raises:
        ValueError: a chapter that there is not.
    """
    if chapter not in CHAPTERS:
        raise ValueError(f"chapter: expected {CHAPTERS[0]} to {CHAPTERS[-1]}, found {chapter}")
    found: dict[str, Exercise | None] = import_module(f"{__name__}.chapter_{chapter:02}").EXERCISES
    return found


def check(number: str, answer: Any = ...) -> Checked:
    """Look at an answer to an exercise; the last line of a cell shows what this says.

    Args:
        number: of the exercise, such as "4.2".
        answer: a number, a word, or several of them, as a tuple, list, array or tensor. Without one, what is asked for.

    Some answers are computed by a training of your own. It is run here, too, with the same seeds, and found in the cache if you
    ran it before.

    Raises:
        ValueError: an exercise that there is not.

    >>> check("4.1", 0.737)
    4.1: not yet. That is the growth of the gap over the fall of the training loss. Which loss does the ratio ask for?
    >>> check("4.1", "much")
    4.1: expected a number, found 'much'
    """
    chapter, dot, _ = str(number).partition(".")
    if not (dot and chapter.isdecimal() and int(chapter) in CHAPTERS):
        raise ValueError(f"number: expected chapter and exercise, such as '4.2', found {number!r}")
    known = exercises(int(chapter))
    if number not in known:
        raise ValueError(f"number: unknown exercise {number!r}; chapter {chapter} has {', '.join(known)}")
    exercise = known[number]
    if exercise is None:
        return Checked(number, None, "an open exercise: whoever has an argument and a run of ten seeds behind it is right.")
    return judge(number, exercise, answer)
