"""The playground in Chromium: by mouse and by keyboard, on a phone, from a file; its curves move as the stories promise."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.browser.chromium import Chromium

SCRIPT = Path(__file__).resolve().parents[2] / "book/assets/playground/playground.js"
HEADINGS = dict(re.findall(r'^    (\w+): "([a-z-]+)",$', SCRIPT.read_text("utf8"), re.MULTILINE))
PAGE = "book/playground.html"


def wait(browser: Chromium, condition: str = "!playground.playing") -> None:
    for _ in range(150):
        if browser.run(condition):
            return
        browser.pump(0.2)
    raise TimeoutError(condition)


def click(browser: Chromium, element: str) -> None:
    """With the mouse, in the middle of an element."""
    box = browser.run(
        f"(() => {{ const e = {element}; e.scrollIntoView({{block: 'center', behavior: 'instant'}});"
        "const r = e.getBoundingClientRect();"
        "return [r.x + r.width / 2, r.y + r.height / 2]; })()"
    )
    browser.click(*box)


def score_of(browser: Chromium, head: str) -> float:
    return float(browser.run(f"playground.run.history.at(-1).test.{head}.accuracy"))


def says(browser: Chromium) -> str:
    return str(browser.run("document.querySelector('.pg-says').textContent"))


@pytest.fixture
def opened(browser: Chromium, address: str) -> Chromium:
    browser.visit("about:blank")
    browser.visit(f"{address}/{PAGE}")
    return browser


def test_played_by_mouse_one_modality_starves_and_the_page_says_so(opened: Chromium) -> None:
    assert "Nothing is learned yet" in says(opened)
    click(opened, "document.querySelector('.pg-main')")
    wait(opened, "playground.run.done && !playground.playing")
    assert score_of(opened, "slow") < 0.6 < 0.7 < score_of(opened, "fast")
    assert "Slow starves" in says(opened)
    # the curves are as long as the run, and end where its numbers are
    ends = opened.run(
        "[...document.querySelectorAll('.pg-wide .pg-line')].filter(e => e.tagName === 'path')"
        ".map(e => e.getAttribute('d').split('L').length)"
    )
    assert ends == [31, 31, 31]
    told = opened.run("document.querySelector('.pg-wide svg').getAttribute('aria-label')")
    assert f"slow {round(100 * score_of(opened, 'slow'))} %" in told
    assert opened.errors() + opened.outside() == []


def test_played_by_keyboard(opened: Chromium) -> None:
    opened.run("document.querySelector('.pg-main').focus()")
    opened.press("Tab", 9)  # to the next button
    assert opened.run("document.activeElement.textContent") in (
        "One epoch",
        "Play",
    )  # keyDown alone moves no focus in some builds
    opened.run("document.querySelector('.pg-bar').children[1].focus()")
    press_enter(opened)
    assert opened.run("playground.run.epochs") == 1
    opened.run("document.getElementById('pg-lr').focus()")
    before = opened.run("playground.run.config.lr")
    opened.press("ArrowRight", 39)
    assert opened.run("playground.run.config.lr") > before
    assert opened.run("playground.run.epochs") == 0  # another setting begins anew
    assert opened.run("document.getElementById('pg-lr').getAttribute('aria-valuetext')") == str(
        opened.run("playground.run.config.lr")
    )
    assert f"lr={opened.run('playground.run.config.lr')}" in opened.run("location.hash")
    opened.run("document.querySelector('.pg-main').focus()")
    press_enter(opened)
    wait(opened, "playground.run.done && !playground.playing")
    assert opened.run("document.querySelector('.pg-hidden').textContent").startswith("Epoch 30 of 30. ")  # the live text


def press_enter(browser: Chromium) -> None:
    browser.call("Input.dispatchKeyEvent", type="keyDown", key="Enter", code="Enter", windowsVirtualKeyCode=13, text="\r")
    browser.call("Input.dispatchKeyEvent", type="keyUp", key="Enter", code="Enter", windowsVirtualKeyCode=13)


def test_every_story_has_a_heading_a_button_and_its_end(opened: Chromium) -> None:
    stories: dict[str, Any] = opened.run("Playground.STORIES")
    assert set(HEADINGS) == set(stories)
    assert len(stories) > 8
    for name, story in stories.items():
        heading = json.dumps(HEADINGS[name])
        assert opened.run(f"!!document.getElementById({heading})"), HEADINGS[name]
        click(opened, f"document.getElementById({heading}).querySelector('.pg-story')")
        wait(opened, "playground.run.done && !playground.playing")
        assert opened.run("Playground.describe(playground.run).kind") in story["ends"].split(), name
    assert opened.errors() == []


def test_what_was_played_before_stays_as_a_thin_line(opened: Chromium) -> None:
    for _ in range(2):
        click(opened, "document.querySelector('.pg-main')")
        wait(opened, "playground.run.done && !playground.playing")
    assert opened.run("document.querySelectorAll('.pg-wide path.pg-past').length") == 1


def test_an_address_holds_the_setting(browser: Chromium, address: str) -> None:
    browser.visit("about:blank")
    browser.visit(f"{address}/{PAGE}#method=ogm&alpha=2.5&seed=12&lr=0.02&samples=9999&optimizer=nonsense&x=%3Cb%3E")
    config = browser.run("playground.run.config")
    assert config | {"method": "ogm", "alpha": 2.5, "seed": 12, "lr": 0.02, "samples": 1000, "optimizer": "adam"} == config
    assert browser.run("document.getElementById('pg-method').value") == "ogm"
    assert not browser.run("playground.playing")
    browser.run(
        "document.getElementById('pg-seed').value = '13'; document.getElementById('pg-seed').dispatchEvent(new Event('change'))"
    )
    kept = browser.run("location.hash")
    assert "seed=13" in kept
    assert "alpha=2.5" in kept
    browser.visit("about:blank")
    browser.visit(f"{address}/{PAGE}{kept}")
    assert browser.run("playground.run.config") == config | {"seed": 13}
    assert browser.errors() == []


def test_a_link_to_a_story_plays_it(browser: Chromium, address: str) -> None:
    browser.visit("about:blank")
    browser.visit(f"{address}/{PAGE}#{HEADINGS['alone']}")
    wait(browser, "playground.run.done && !playground.playing")
    assert browser.run("playground.run.config.method") == "slow"
    assert score_of(browser, "slow") > 0.9
    assert browser.run("document.querySelectorAll('.pg-plane:not([hidden])').length") == 1


def test_controls_of_other_methods_are_out_of_the_way(opened: Chromium) -> None:
    for method, there in {"joint": [], "ogm": ["alpha"], "mla": ["ridge"], "multi_loss": ["weight", "predict"]}.items():
        choose(opened, method)
        names = ["alpha", "weight", "blendFast", "predict", "ridge"]
        shown = [n for n in names if opened.run(f"document.getElementById('pg-{n}').offsetHeight > 0")]
        assert shown == there


def test_the_table_has_the_curves(opened: Chromium) -> None:
    opened.run("document.querySelector('.pg-table').open = true")
    click(opened, "document.querySelector('.pg-main')")
    wait(opened, "playground.run.done && !playground.playing")
    rows = opened.run("[...document.querySelectorAll('.pg-table tbody tr')].map(r => [...r.cells].map(c => c.textContent))")
    assert len(rows) == 31
    assert len(rows[0]) == opened.run("document.querySelectorAll('.pg-table th').length")
    assert float(rows[-1][3]) == pytest.approx(score_of(opened, "slow"), abs=5e-4)


def test_it_moves_while_it_plays_unless_the_reader_wants_no_motion(browser: Chromium, address: str) -> None:
    for motion, most in (("no-preference", None), ("reduce", 2)):
        browser.visit("about:blank")
        browser.visit(f"{address}/{PAGE}")
        browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-reduced-motion", "value": motion}])
        browser.run(
            "window.drawn = 0; new MutationObserver(() => { window.drawn += 1; })"
            ".observe(document.querySelector('.pg-wide'), { childList: true }); document.querySelector('.pg-main').click()"
        )
        wait(browser, "playground.run.done && !playground.playing")
        drawn = browser.run("window.drawn")
        assert drawn <= most if most else drawn > 10


def test_it_can_be_paused_and_goes_on(opened: Chromium) -> None:
    opened.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-reduced-motion", "value": "no-preference"}])
    opened.run(
        "(e => { e.value = '200'; e.dispatchEvent(new Event('input')); e.dispatchEvent(new Event('change')); })"
        "(document.getElementById('pg-epochs'))"
    )
    opened.run("document.querySelector('.pg-main').click()")
    wait(opened, "playground.run.epochs > 0")
    opened.run("document.querySelector('.pg-main').click()")
    at = opened.run("playground.run.epochs")
    opened.pump(0.5)
    assert opened.run("playground.run.epochs") == at < opened.run("playground.run.config.epochs")
    opened.run("document.querySelector('.pg-main').click()")
    wait(opened, "playground.run.done && !playground.playing")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_it_fits_a_phone_and_its_buttons_a_finger(browser: Chromium, address: str, dark: bool) -> None:
    browser.visit("about:blank")
    browser.visit(f"{address}/{PAGE}", dark=dark, width=360, height=740)
    browser.run("document.querySelector('.pg-bar').children[1].click()")
    assert browser.run("document.documentElement.scrollWidth") <= 360
    right = browser.run(
        "Math.max(...[...document.querySelectorAll('#mm-playground :is(button, svg, canvas, input, select)')]"
        ".map(e => e.getBoundingClientRect().right))"
    )
    assert right <= 360
    heights = browser.run("[...document.querySelectorAll('#mm-playground button')].map(e => e.offsetHeight)")
    assert min(heights) >= 40
    ink = browser.run("getComputedStyle(document.querySelector('.pg-wide figcaption')).color")
    assert (sum(map(float, re.findall(r"[\d.]+", ink)[:3])) > 380) == dark


def test_it_works_from_a_file(browser: Chromium, site: Path) -> None:
    browser.visit("about:blank")
    browser.visit(f"file://{site}/{PAGE}")
    browser.run("document.querySelector('.pg-bar').children[1].click()")
    assert browser.run("playground.run.epochs") == 1
    choose(browser, "mla")
    assert "method=mla" in browser.run("location.hash")
    assert browser.errors() == []


def choose(browser: Chromium, method: str) -> None:
    change = f"(e => {{ e.value = '{method}'; e.dispatchEvent(new Event('change')); }})"
    browser.run(f"{change}(document.getElementById('pg-method'))")


@pytest.mark.parametrize("address_of", ["%", "=&=", "method=", "lr=1e999&seed=-3", "a=" + "b" * 5000])
def test_any_address_gives_a_playground(address_of: str, browser: Chromium, address: str) -> None:
    browser.visit("about:blank")
    browser.visit(f"{address}/{PAGE}#{address_of}")
    browser.run("document.querySelector('.pg-bar').children[1].click()")
    assert browser.run("playground.run.epochs") == 1
    assert browser.errors() == []
