"""The built pages in Chromium: nothing fails, nothing is asked of anyone, sliders move, light and dark, wide and narrow."""

from __future__ import annotations

import gzip
import io
import json
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from mmlib_book import vendored
from PIL import Image

from tests.browser.chromium import Chromium
from tests.site.pages import documents

CHANGED = 1e-4  # of the pixels: a digit in a picture, or more
LOOK = (Path(__file__).parent / "look.js").read_text("utf8")


def complaints(browser: Chromium) -> list[str]:
    """Errors of the page, and its requests to other machines; of the latter none are expected unless npm was absent."""
    if vendored():
        return browser.errors() + browser.outside()
    return [error for error in browser.errors() if not any(url in error for url in browser.outside())]


@pytest.fixture(params=[False, True], ids=["light", "dark"])
def dark(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.mark.parametrize("name", ["index", *documents()])
def test_page_opens_without_an_error_or_a_request_to_anyone(name: str, dark: bool, browser: Chromium, address: str) -> None:
    browser.visit(f"{address}/{name}.html", dark=dark)
    assert browser.requests()
    assert complaints(browser) == []
    browser.run(LOOK)
    assert browser.run("document.documentElement.dataset.theme") == ("dark" if dark else "light")
    assert all(ratio >= 4.5 for ratio in browser.run("look.contrasts()"))
    if vendored() and browser.run("document.querySelectorAll('article .math').length"):
        assert browser.run("[...document.querySelectorAll('article .math')].every(e => e.querySelector('.katex math'))")
        seen = "[...document.querySelectorAll('.katex-html')].filter(e => e.getClientRects().length)"  # others are folded away
        assert browser.run(f"{seen}.every(e => e.getBoundingClientRect().height > 0)")
        browser.run("document.querySelector('article .katex-html').scrollIntoView()")  # what is far away is not laid out yet
        loaded_font = "[...document.fonts].some(f => f.family.startsWith('KaTeX') && f.status === 'loaded')"
        for _ in range(20):
            if browser.run(loaded_font):
                break
            browser.pump(0.1)
        assert browser.run(loaded_font)
    assert browser.run("document.querySelectorAll('.katex-error, mjx-merror').length") == 0
    icons = "[...document.querySelectorAll('svg.svg-inline--fa')].filter(e => e.getClientRects().length)"
    assert browser.run(f"{icons}.length") > 2
    assert browser.run(f"{icons}.every(e => e.getBoundingClientRect().height > 8)")
    loaded = [url for url in browser.requests() if "fontawesome" in url or "mathjax" in url or "searchindex" in url]
    assert not vendored() or not loaded


@pytest.mark.parametrize("name", documents())
def test_page_fits_a_phone(name: str, browser: Chromium, address: str) -> None:
    browser.visit(f"{address}/{name}.html", width=360, height=740)
    browser.run(LOOK)
    assert browser.run("document.documentElement.scrollWidth") <= 360
    assert browser.run("look.tooWide()") == 0
    for _ in range(40):  # the page asks in its pauses what scrolls
        if browser.run("look.unreached()") == 0:
            break
        browser.pump(0.1)
    assert browser.run("look.unreached()") == 0


@pytest.mark.parametrize("width", [360, 1200])
@pytest.mark.parametrize("name", documents())
def test_no_code_is_wider_than_its_column(name: str, width: int, browser: Chromium, address: str) -> None:
    browser.visit(f"{address}/{name}.html", width=width, height=740)
    browser.run("document.querySelectorAll('details').forEach(e => { e.open = true }), 1")
    code = "[...document.querySelectorAll('.bd-article .cell_input pre, .bd-article div[class*=highlight-] pre')]"
    assert browser.run(f"{code}.filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.textContent.slice(0, 80))") == []


FIRST = 300_000  #: bytes, compressed: what a reader waits for who opens a page first of all


@pytest.mark.parametrize("name", documents())
def test_a_first_visit_loads_little(name: str, browser: Chromium, address: str, site: Path) -> None:
    browser.visit(f"{address}/{name}.html", width=412, height=823)
    files = {site / urlsplit(url).path.lstrip("/") for url in browser.requests() if url.startswith(address)}
    sent = {
        f: len(f.read_bytes() if f.suffix in (".woff2", ".png") else gzip.compress(f.read_bytes())) for f in files if f.is_file()
    }
    assert len(sent) > 5
    if vendored():
        assert sum(sent.values()) < FIRST, sorted(((n, f.name) for f, n in sent.items()), reverse=True)[:5]


def test_a_page_keeps_its_place_while_it_loads(browser: Chromium, address: str) -> None:
    """What a reader looks at does not jump: the shift that browsers measure, with the bound that they call good."""
    for name in ("book/intro", "book/playground", "notebooks/05_ogm_ge"):
        browser.visit(f"{address}/{name}.html", width=412, height=823)
        observed = "list => {for (const e of list.getEntries()) sum += e.value}"
        begun = f"new PerformanceObserver({observed}).observe({{type: 'layout-shift', buffered: true}})"
        shift = f"new Promise(done => {{let sum = 0; {begun}; setTimeout(() => done(sum), 500)}})"
        assert browser.run(shift) < 0.1, name


def test_every_sound_can_be_played(browser: Chromium, address: str) -> None:
    found = 0
    for name in documents():
        browser.visit(f"{address}/{name}.html")
        count = browser.run("document.querySelectorAll('audio').length")
        for k in range(count):
            audio = f"document.querySelectorAll('audio')[{k}]"
            browser.run(f"{audio}.preload = 'auto'; {audio}.load()")
            for _ in range(50):
                if browser.run(f"{audio}.readyState") >= 3:
                    break
                browser.pump(0.1)
            assert browser.run(f"{audio}.duration") > 0.1
        found += count
    assert found > 3


def test_hints_and_solutions_are_folded_until_they_are_asked_for(browser: Chromium, address: str) -> None:
    browser.visit(f"{address}/notebooks/06_mla.html")
    folded = "[...document.querySelectorAll('.mm-hint, .solution')].map(e => e.querySelector('p:not(.admonition-title)'))"
    seen = f"{folded}.map(e => !!e && getComputedStyle(e).height !== '0px' && e.checkVisibility({{visibilityProperty: true}}))"
    count = browser.run(f"{folded}.length")
    assert count >= 8
    before = browser.run(f"{seen}")
    browser.run("document.querySelectorAll('.mm-hint .toggle-button, .solution .toggle-button').forEach(e => e.click())")
    browser.pump(0.5)
    after = browser.run(f"{seen}")
    assert not any(before)
    assert all(after)


def test_printed_pages_hold_what_is_far_down(browser: Chromium, address: str) -> None:
    browser.visit(f"{address}/notebooks/05_ogm_ge.html")
    browser.call("Emulation.setEmulatedMedia", media="print")
    try:
        last = "document.querySelector('article > section > section:last-of-type')"
        assert browser.run(f"getComputedStyle({last}).contentVisibility") == "visible"
        assert browser.run("[...document.querySelectorAll('.mm-frames input')].every(e => e.getClientRects().length === 0)")
    finally:
        browser.call("Emulation.setEmulatedMedia", media="")


def changed(a: np.ndarray, b: np.ndarray) -> float:
    """The share of pixels that differ visibly."""
    return float((np.abs(a - b).max(-1) > 40).mean())


def settled(browser: Chromium, number: int) -> None:
    """What lies above a slider is laid out when one comes near: wait until it stays where it is."""
    before = None
    for _ in range(30):
        now = browser.run(f"look.box({number}).y")
        if now == before:
            return
        before = now
        browser.pump(0.2)
    raise AssertionError(f"slider {number} does not come to rest")


def move_and_look(browser: Chromium, number: int) -> None:
    """Move one slider by keyboard from end to end, and see another picture each time."""

    def state() -> dict[str, object]:
        return dict(browser.run(f"look.state({number})"))

    def seen() -> np.ndarray:
        """The pixels [H, W, 3] of the pictures' place, once they have settled."""
        last = b""
        for _ in range(20):
            last, before = browser.picture(clip=clip), last
            if last == before:
                break
        return np.asarray(Image.open(io.BytesIO(last)).convert("RGB"), int)

    browser.run(f"look.input({number}).focus()")
    browser.press("Home", 36)
    settled(browser, number)
    box = browser.run(f"look.box({number})")  # of the first picture; the same part of the page is compared throughout
    clip = {k: float(int(box[k])) for k in ("x", "y", "width", "height")}
    now = state()
    assert now["visible"] == [0]
    labels, pictures = list(now["labels"]), [seen()]  # type: ignore[call-overload]
    for step in range(1, len(labels)):
        browser.press("ArrowRight", 39)
        now = state()
        assert now["visible"] == [step] == [now["value"]]
        assert now["said"] == now["written"] == labels[step]
        pictures.append(seen())
    assert len(pictures) > 1, "a slider with one position"
    assert all(changed(a, b) > CHANGED for a, b in pairwise(pictures)), "two neighbouring positions look the same"
    browser.press("ArrowLeft", 37)
    assert state()["visible"] == [len(pictures) - 2]
    assert changed(seen(), pictures[-2]) < CHANGED


@pytest.mark.parametrize("name", documents())
def test_each_slider_moves_by_keyboard_and_its_picture_changes(name: str, dark: bool, browser: Chromium, address: str) -> None:
    browser.visit(f"{address}/{name}.html", dark=dark)
    browser.run(LOOK)
    for number in range(browser.run("look.sliders().length")):
        move_and_look(browser, number)
    assert complaints(browser) == []


def test_the_book_has_a_slider_that_moves_by_mouse_in_a_page_opened_from_a_file(browser: Chromium, site: Path) -> None:
    found = 0
    for name in documents():
        browser.visit(f"file://{site}/{name}.html")
        browser.run(LOOK)
        assert complaints(browser) == []
        if browser.run("look.sliders().length"):
            found += 1
            browser.run("look.input(0).scrollIntoView({block: 'center'})")
            settled(browser, 0)
            place = browser.run("look.place(look.input(0))")
            for share in (0.01, 0.99):
                browser.click(place["left"] + share * place["width"], place["top"] + place["height"] / 2)
                state = browser.run("look.state(0)")
                assert state["visible"] == [0 if share < 0.5 else state["frames"] - 1]
    assert found > 0


def test_sliders_on_one_page_do_not_move_each_other(browser: Chromium, address: str) -> None:
    for name in documents():
        browser.visit(f"{address}/{name}.html")
        browser.run(LOOK)
        if browser.run("look.sliders().length") > 1:
            before = browser.run("look.state(1)")
            browser.run("look.input(0).focus()")
            browser.press("End", 35)
            assert browser.run("look.state(1)") == before


def test_a_slider_works_where_a_notebook_puts_its_html(browser: Chromium) -> None:
    """JupyterLab and Colab set an output's HTML into a page that is already open, where scripts of its own would not run."""
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    from mmlib.book import plots, widgets

    made = []
    with plots.style():
        for k in range(3):
            fig, ax = plt.subplots()
            ax.bar(["a", "b"], [k, 3 - k], color=plots.colour("image"))
            made.append(fig)
        slider = widgets.frames(made, ["low", "middle", "high"], "Two bars.", name="height", start=1)
    browser.visit("about:blank")
    browser.run(LOOK)
    browser.run(f"document.body.innerHTML = {json.dumps(slider.html * 2)}")
    for number in range(2):
        move_and_look(browser, number)
    assert complaints(browser) == []
