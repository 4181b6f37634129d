"""The slider: what its HTML promises. tests/browser moves it."""

from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import matplotlib as mpl
import pytest

from mmlib.book import plots, widgets

mpl.use("agg")
import matplotlib.pyplot as plt


class Elements(HTMLParser):
    """All start tags with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def __call__(self, tag: str, **having: str) -> list[dict[str, str | None]]:
        return [a for t, a in self.found if t == tag and all(a.get(k.rstrip("_")) == v for k, v in having.items())]


def figures(n: int) -> list[Any]:
    made = []
    for k in range(n):
        fig, ax = plt.subplots()
        ax.bar(["a", "b"], [k, n - k])
        made.append(fig)
    return made


def test_slider_shows_one_frame_and_says_which() -> None:
    slider = widgets.frames(figures(3), ["first", "<second>", 3], "Two bars", name="epoch", start=1)
    page = Elements(slider.html)
    (control,) = page("input")
    assert (control["type"], control["min"], control["max"], control["value"]) == ("range", "0", "2", "1")
    assert control["aria-label"] == "epoch"
    assert control["aria-valuetext"] == "<second>"
    assert control["oninput"]
    frames = page("div", class_="mm-frame") or [a for t, a in page.found if a.get("class") == "mm-frame"]
    assert ["hidden" in frame for frame in frames] == [True, False, True]
    assert [frame["data-label"] for frame in frames] == ["first", "<second>", "3"]
    alts = [a["aria-label"] for a in page("svg")]
    assert alts == [f"Two bars (epoch: {label})" for label in ("first", "<second>", "3")]
    (output,) = page("output")
    assert output["aria-live"] == "polite"
    assert not page("script")  # nothing that a notebook might refuse to run, and no library


def test_each_frame_can_have_its_own_description() -> None:
    slider = widgets.frames(figures(2), [1, 2], ["Low.", "High."])
    assert [p.alt for p in slider.pictures] == ["Low.", "High."]
    assert repr(slider) == "Slider over step\n  1: Low.\n  2: High."


def test_finished_pictures_are_taken_as_they_are() -> None:
    fig = figures(1)[0]
    picture = plots.picture(fig, "One.")
    assert widgets.frames([picture], ["x"], "ignored").pictures == (picture,)


def test_sliders_share_a_page_without_ids_that_clash() -> None:
    two = "".join(widgets.frames(figures(3), [1, 2, 3], "Bars").html for _ in range(2))
    ids = [a["id"] for _, a in Elements(two).found if "id" in a]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: widgets.frames([], [], "x"), "figures: expected at least one"),
        (lambda: widgets.frames(figures(2), ["a"], "x"), "labels: expected 2, one per figure, found 1"),
        (lambda: widgets.frames(figures(2), ["a", "b"], ["x"]), "alt: expected one text or 2"),
        (lambda: widgets.frames(figures(1), ["a"], " "), "alt: expected a sentence"),
        (lambda: widgets.frames(figures(2), ["a", "b"], ["x", ""]), "alt: expected a sentence"),
        (lambda: widgets.frames(figures(1), ["a"], "x", start=1), "start: expected 0 to 0, found 1"),
        (lambda: widgets.frames(figures(1), ["a"], "x", name=" "), "name: expected"),
    ],
)
def test_bad_input_is_named(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
    plt.close("all")
