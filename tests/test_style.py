"""The one style sheet of the book: rules that a page can need stay, and the rest goes."""

from __future__ import annotations

from pathlib import Path

import mmlib_style
import pytest
from mmlib_style import bundle, bundled, ordered, pruned, words

KNOWN = {"a", "here", "fade", "tooltip-", "main"}


@pytest.mark.parametrize(
    ("css", "left"),
    [
        (".here{color:red}", ".here{color:red}"),
        (".gone{color:red}", ""),
        (".gone, .here > a { x: y }", " .here > a { x: y }"),
        ("#main .here:hover::after{x:y}#other{x:y}", "#main .here:hover::after{x:y}"),
        (".here:not(.gone){x:y}", ".here:not(.gone){x:y}"),  # it is there because the other is not
        (":is(.gone, .here) a{x:y}", ":is(.gone, .here) a{x:y}"),
        (".tooltip-top{x:y}.tool{x:y}", ".tooltip-top{x:y}"),  # a script puts such names together
        ('a[href=".gone"]{x:y}', 'a[href=".gone"]{x:y}'),
        (r".col-1\/2{x:y}", r".col-1\/2{x:y}"),  # no word: no way to know
        ("a{content:'}'}.gone{x:y}", "a{content:'}'}"),
        ("/* a */.gone{x:y}/*! whose it is */.here{x:y}", "/*! whose it is */.here{x:y}"),
        ("@media print{.gone{x:y}}@media (x){.here{x:y}.gone{x:y}}", "@media (x){.here{x:y}}"),
        ("@supports (x){@media y{.gone{x:y}}}", ""),
        ('@charset "utf-8";.here{x:y}', '@charset "utf-8";.here{x:y}'),
        ("@font-face{src:url(a)}@keyframes gone{from{x:y}}", "@font-face{src:url(a)}@keyframes gone{from{x:y}}"),
        (":root{--x:1}*{x:y}", ":root{--x:1}*{x:y}"),
    ],
)
def test_rules_that_no_page_can_need_go(css: str, left: str) -> None:
    assert pruned(css, KNOWN) == left


def test_pruning_twice_changes_nothing_more() -> None:
    css = ".here{a:b}.gone{a:b}@media x{.gone{a:b}.here{a:b}}"
    assert pruned(pruned(css, KNOWN), KNOWN) == pruned(css, KNOWN)


def test_a_broken_style_sheet_is_an_error() -> None:
    with pytest.raises(ValueError, match="expected a closing brace"):
        pruned(".here{color:red", KNOWN)


def test_every_word_could_be_a_class() -> None:
    assert words(['<p class="a b-c">x</p>', "el.classList.add(`tip-${x}`)"]) >= {"a", "b-c", "x", "tip-"}


def test_order_agrees_with_each_list() -> None:
    a, b, c, d = map(Path, "abcd")
    assert ordered([[a, b, d], [a, c, d], [b, c]]) == [a, c, b, d]
    assert ordered([[a, b], [a, b, c]]) == [a, b, c]


def test_addresses_and_imports_are_followed(tmp_path: Path) -> None:
    (tmp_path / "katex").mkdir()
    (tmp_path / "katex" / "k.css").write_text("@font-face{src:url(fonts/x.woff2)}.a{b:url('data:x')}", "utf8")
    (tmp_path / "basic.css").write_text('.here{c:url("i.png")}', "utf8")
    (tmp_path / "theme.css").write_text('@import "basic.css";\n.main{c:url(#id)}', "utf8")
    css = bundled([tmp_path / "theme.css", tmp_path / "katex" / "k.css"], KNOWN, tmp_path)
    assert css == ".here{c:url(\"i.png\")}.main{c:url(#id)}@font-face{src:url(katex/fonts/x.woff2)}.a{b:url('data:x')}"


def make_site(out: Path) -> None:
    (out / "_static").mkdir(parents=True)
    (out / "sub").mkdir()
    (out / "_static" / "one.css").write_text(".here{a:b}.gone{a:b}", "utf8")
    (out / "_static" / "two.css").write_text(".late{a:b}", "utf8")
    (out / "_static" / "s.js").write_text("x.classList.add('late')", "utf8")
    (out / "_static" / "idle.js").write_text("x.classList.add('gone')", "utf8")  # no page loads it
    (out / "_static" / "template.html").write_text('<link rel="stylesheet" href="{{ x }}">', "utf8")
    links = '<link href="{0}_static/one.css?digest=1" rel="stylesheet" />\n<link rel="stylesheet" href="{0}_static/two.css">'
    head = f"<head>{links}</head>"
    (out / "a.html").write_text(head.format("") + '<script src="_static/s.js?v=1"></script><p class="here">', "utf8")
    (out / "sub" / "b.html").write_text(head.format("../") + '<link rel="icon" href="i.svg">', "utf8")


def test_pages_share_one_style_sheet(tmp_path: Path) -> None:
    make_site(tmp_path)
    bundle(tmp_path)
    [sheet] = (tmp_path / "_static").glob("book-*.css")
    assert sheet.read_text("utf8") == ".here{a:b}.late{a:b}"
    assert (
        (tmp_path / "a.html").read_text("utf8").startswith(f'<head><link rel="stylesheet" href="_static/{sheet.name}" /></head>')
    )
    other = (tmp_path / "sub" / "b.html").read_text("utf8")
    assert other == f'<head><link rel="stylesheet" href="../_static/{sheet.name}" /></head><link rel="icon" href="i.svg">'
    assert "{{ x }}" in (tmp_path / "_static" / "template.html").read_text("utf8")


def test_a_page_of_an_earlier_build_gets_the_new_style_sheet(tmp_path: Path) -> None:
    make_site(tmp_path)
    bundle(tmp_path)
    [old] = (tmp_path / "_static").glob("book-*.css")
    (tmp_path / "_static" / "one.css").write_text(".here{a:c}", "utf8")
    (tmp_path / "a.html").write_text('<link rel="stylesheet" href="_static/one.css"><p class="here">', "utf8")
    bundle(tmp_path)
    [new] = (tmp_path / "_static").glob("book-*.css")
    assert new != old
    assert new.read_text("utf8") == ".here{a:c}"
    for page in (tmp_path / "a.html", tmp_path / "sub" / "b.html"):
        assert new.name in page.read_text("utf8")


def test_the_themes_own_sheets_can_be_read() -> None:
    theme = pytest.importorskip("pydata_sphinx_theme")
    sheet = next(Path(theme.__file__).parent.rglob("static/styles/pydata-sphinx-theme.css")).read_text("utf8")
    everything = words([sheet])
    same = pruned(sheet, everything)
    assert same.count("{") >= 0.99 * mmlib_style._COMMENT.sub("", sheet).count("{")
    assert len(pruned(sheet, {"highlight"})) < 0.5 * len(sheet)
