"""Pages that load little: formulas set when the book is built, icons as shapes, nothing that a page has no use for."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import mmlib_book
import mmlib_light
import pytest

SPAN = '<span class="math notranslate nohighlight">{}</span>'
DIV = '<div class="math notranslate nohighlight" id="eq"><span class="eqno">(1)</span>{}</div>'
PAGE = (
    '<html><head>\n<script>window.MathJax = {{"options": {{}}}}</script>\n'
    '<script defer src="_static/mathjax/tex.js?v=1"></script>\n'
    "</head><body><p>{}</p></body></html>"
)
KATEX = mmlib_book.VENDOR / mmlib_light.KATEX
needs_katex = pytest.mark.skipif(not mmlib_book.vendored(), reason="no KaTeX, or no node: python tools/vendor.py")


def test_formulas_are_found_as_they_were_written() -> None:
    display = "\\[\\begin{split}a \\\\[4pt]\n&amp;= b\\end{split}\\]"
    page = PAGE.format(SPAN.format(r"\(a &lt; b\)") + " and " + DIV.format(display))
    assert mmlib_light.formulas(page) == [("a < b", False), ("\\begin{split}a \\\\[4pt]\n&= b\\end{split}", True)]


def test_a_page_with_its_math_set_asks_for_a_style_and_no_script() -> None:
    made = {("a < b", False): '<span class="katex">AB</span>', ("c", True): '<span class="katex-display">C</span>'}
    page = PAGE.format(SPAN.format(r"\(a &lt; b\)") + ". " + DIV.format(r"\[c\]"))
    better = mmlib_light.with_math(page, made, "../_static/katex/katex.min.css")
    assert "MathJax" not in better
    assert "<script" not in better
    assert better.count('href="../_static/katex/katex.min.css"') == 1
    # the full stop stays with its formula, the number with the equation
    inline = SPAN.format('<span class="katex">AB</span>')
    assert f'<span class="mm-unbroken">{inline}.</span>' in better
    assert '<span class="eqno">(1)</span><span class="katex-display">C</span>' in better
    assert mmlib_light.with_math(better, {}, "../_static/katex/katex.min.css") == better  # nothing is left to do


def test_a_long_formula_may_break() -> None:
    tex = "a + b + c + d + e + f + g + h + i + j + k"
    page = PAGE.format(SPAN.format(rf"\({tex}\)") + ",")
    assert "mm-unbroken" not in mmlib_light.with_math(page, {(tex, False): "X"}, "k.css")


def test_a_long_line_of_math_can_be_scrolled_by_keyboard() -> None:
    long = r"a = \frac{b + c}{d + e} \quad f = \frac{g + h}{i + j}"
    page = PAGE.format(DIV.format(rf"\[{long}\]") + DIV.format(r"\[x\]"))
    made = {(long, True): '<span class="katex-display">L</span>', ("x", True): '<span class="katex-display">X</span>'}
    better = mmlib_light.with_math(page, made, "k.css")
    assert '<span class="katex-display" tabindex="0">L</span>' in better
    assert '<span class="katex-display">X</span>' in better


def test_a_page_without_math_loads_no_style_for_it() -> None:
    assert "k.css" not in mmlib_light.with_math(PAGE.format("plain, also of katex"), {}, "k.css")


@needs_katex
def test_katex_writes_what_is_seen_and_what_is_read_aloud() -> None:
    asked = [(r"\frac{a}{b}", False), (r"\begin{split}a &= b \\ &= c\end{split}", True), (r"\frac{a}{b}", False)]
    made = mmlib_light.set_in_type(asked, KATEX)
    assert set(made) == set(asked)
    for (tex, display), page in made.items():
        assert "<math" in page
        assert 'aria-hidden="true"' in page
        assert ("katex-display" in page) == display
        assert "annotation" in page  # the TeX itself, to be copied
        assert tex.split("{")[0].lstrip("\\") in page


@needs_katex
def test_a_formula_that_cannot_be_read_is_named() -> None:
    with pytest.raises(ValueError, match=r"math: .*\\frac\{a"):
        mmlib_light.set_in_type([("x", False), (r"\frac{a", False)], KATEX)


def test_an_icon_becomes_its_shape() -> None:
    page = (
        '<head><script defer src="_static/scripts/fontawesome.js?digest=1"></script></head>'
        '<i class="theme-switch fa-solid fa-sun   fa-lg" data-mode="light" aria-hidden="true"></i>'
        '<span class="fa-solid fa-bars"></span><i class="fas fa-pencil-alt"></i><i class="fab fa-github"></i>'
    )
    better = mmlib_light.with_icons(page)
    assert "<i " not in better
    assert "fontawesome.js" not in better
    drawn = re.findall(r'<svg class="svg-inline--fa ([^"]*)"([^>]*)><path fill="currentColor" d="([^"]+)"/></svg>', better)
    assert len(drawn) == 4
    assert drawn[0][0] == "theme-switch fa-solid fa-sun fa-lg"
    assert 'data-mode="light"' in drawn[0][1]
    assert len({path for _, _, path in drawn}) == 4
    assert all(attributes.count("aria-hidden") == 1 for _, attributes, _ in drawn)
    assert mmlib_light.with_icons(better) == better


def test_an_icon_that_the_theme_does_not_have_is_an_error() -> None:
    with pytest.raises(KeyError):
        mmlib_light.with_icons('<i class="fas fa-no-such-thing"></i>')


HEAD = (
    '<head><link rel="preload" as="script" href="_static/scripts/bootstrap.js?v=1" />'
    '<script src="_static/design-tabs.js?v=1"></script><script src="_static/searchtools.js"></script>'
    '<script src="_static/language_data.js"></script><script src="searchindex.js"></script></head>'
)


def test_a_page_loads_what_it_needs() -> None:
    plain = mmlib_light.lighter(f"{HEAD}<body>text</body>", searches=False)
    assert plain == "<head></head><body>text</body>"
    tabs = '<div class="sd-tab-set"></div>'
    full = mmlib_light.lighter(f"{HEAD}<body>{tabs}</body>", searches=True)
    assert full == f"{HEAD}<body>{tabs}</body>"


def test_scripts_wait_until_the_page_is_read() -> None:
    sets = "<script>DOCUMENTATION_OPTIONS.pagename = 'a';</script>"
    head = f'<head><script src="a.js"></script><script defer src="b.js"></script><script async src="c.js"></script>{sets}</head>'
    late = mmlib_light.lighter(f"{head}<body></body>", searches=False)
    tags = ['<script defer src="a.js">', '<script defer src="b.js">', '<script async src="c.js">']
    assert re.findall(r"<script[^>]*>", late)[:3] == tags
    assert "addEventListener(\"DOMContentLoaded\", () => { DOCUMENTATION_OPTIONS.pagename = 'a'; })</script>" in late
    assert mmlib_light.lighter(late, searches=False) == late
    assert mmlib_light.lighter(f"{head}<body></body>", searches=True) == f"{head}<body></body>"


def test_sounds_are_files_that_wait_until_they_are_played(tmp_path: Path) -> None:
    sound, data = b"RIFF....WAVE", "UklGRi4uLi5XQVZF"
    page = f'<audio controls src="data:audio/wav;base64,{data}" aria-label="seven"></audio>' * 2
    better = mmlib_light.with_sounds(page, tmp_path / "sounds", "../_static/sounds")
    [file] = (tmp_path / "sounds").iterdir()
    assert file.suffix == ".wav"
    assert file.read_bytes() == sound
    assert better == f'<audio preload="none" controls src="../_static/sounds/{file.name}" aria-label="seven"></audio>' * 2
    assert mmlib_light.with_sounds(better, tmp_path / "sounds", "../_static/sounds") == better


def test_the_theme_still_asks_what_is_mended_here() -> None:
    """The theme's own script, as installed: where it changes, so must the repair."""
    theme = pytest.importorskip("pydata_sphinx_theme")
    script = next(Path(theme.__file__).parent.rglob("static/scripts/pydata-sphinx-theme.js")).read_text("utf8")
    assert script.count(mmlib_light._ASKS_ALL) == 1
    assert script.replace(mmlib_light._ASKS_ALL, mmlib_light._ASKS_LATER).count("mmAsking=mmAsk.size") == 1


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
def test_what_scrolls_can_be_reached_by_keyboard_soon_and_not_at_once() -> None:
    page = (
        "globalThis.window=globalThis;const asked=[],block=w=>({get scrollWidth(){asked.push(w);return w},clientWidth:20,"
        "scrollHeight:1,clientHeight:1}),all=[block(10),block(30)];"
        f"[all,all].forEach(some=>some.{mmlib_light._ASKS_LATER});const first=asked.length;"
        "setTimeout(()=>console.log(JSON.stringify([first,asked,all.map(e=>e.tabIndex)])),400)"
    )
    done = subprocess.run(["node", "-e", page], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [0, [10, 30], [-1, 0]]


def test_all_pages_of_a_site_are_treated_once(tmp_path: Path) -> None:
    (tmp_path / "notebooks").mkdir()
    for name in ("search.html", "notebooks/a.html"):
        (tmp_path / name).write_text(f"{HEAD}<body></body>")
    mmlib_light.lighten(tmp_path, None)
    assert "searchtools" in (tmp_path / "search.html").read_text()
    page = tmp_path / "notebooks/a.html"
    assert "searchtools" not in page.read_text()
    before = page.stat().st_mtime_ns
    mmlib_light.lighten(tmp_path, None)
    assert page.stat().st_mtime_ns == before
    if mmlib_book.vendored():
        page.write_text(PAGE.format(SPAN.format(r"\(x\)")))
        mmlib_light.lighten(tmp_path, KATEX)
        assert 'href="../_static/katex/katex.min.css"' in page.read_text()
