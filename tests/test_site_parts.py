"""What others ask a site for, and the book as one PDF: the parts that need no build."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import make_pdf
import mmlib_site
import pytest
import yaml
from docutils.core import publish_doctree
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    ("repository", "base"),
    [
        ("https://github.com/Someone/book", "https://someone.github.io/book/"),
        ("https://github.com/someone/book.git", "https://someone.github.io/book/"),
        ("https://github.com/Someone/someone.github.io", "https://someone.github.io/"),
    ],
)
def test_where_the_pages_are_follows_from_where_the_repository_is(repository: str, base: str) -> None:
    assert mmlib_site.base_address(repository) == base


def test_the_map_of_the_site_is_xml_and_names_every_page() -> None:
    tree = ElementTree.fromstring(mmlib_site.sitemap("https://a.github.io/b&c/", ["book/intro", "notebooks/01"]))
    space = "{http://www.sitemaps.org/schemas/sitemap/0.9}"
    assert [loc.text for loc in tree.iter(f"{space}loc")] == [
        "https://a.github.io/b&c/book/intro.html",
        "https://a.github.io/b&c/notebooks/01.html",
    ]


def test_the_page_for_lost_readers_leads_on_from_any_depth() -> None:
    page = mmlib_site.lost("https://a.github.io/b/", "book/intro", "A & B")
    links = re.findall(r'href="([^"]+)"', page)
    assert links
    assert all(link.startswith("https://a.github.io/b/") for link in links)
    assert "A &amp; B" in page
    assert not re.search(r"<script|<link|src=", page)  # it needs nothing else


def test_a_page_is_described_by_its_opening() -> None:
    page = publish_doctree(
        "Title\n=====\n\n`Open in Colab <https://x>`_\n\n"
        "    **In this chapter.** You set by hand how long the features of one modality are. You take it apart. "
        + "And much more of it follows here. " * 8
        + "\n\nText.\n"
    )
    said = mmlib_site.summary(page)
    assert said.startswith("You set by hand how long the features of one modality are. You take it apart.")
    assert len(said) <= 200
    assert mmlib_site.summary(publish_doctree("Title\n=====\n\nShort.\n")) == ""
    assert mmlib_site.summary(None) == ""


def test_the_cover_is_a_picture_of_the_size_that_is_asked_for(tmp_path: Path) -> None:
    from mmlib.book import drawings

    (tmp_path / "cover.png").write_bytes(drawings.cover())
    with Image.open(tmp_path / "cover.png") as image:
        assert image.size == (1200, 630)
        assert len(image.convert("RGB").getcolors(1 << 20) or []) > 50


def test_weights_are_those_of_the_pages(tmp_path: Path) -> None:
    (tmp_path / "_static").mkdir()
    (tmp_path / "_static" / "book-1.css").write_bytes(b"x" * 1000)
    (tmp_path / "_static" / "s.js").write_text("".join(map(chr, range(33, 126))) * 40, "utf8")
    (tmp_path / "a.html").write_text('<script src="_static/s.js?v=1"></script>' + "<p>" * 9, "utf8")
    table = mmlib_site.weights(tmp_path, ["a"], {"a": "A < B"})
    shared = mmlib_site.packed(tmp_path / "_static" / "book-1.css") + mmlib_site.packed(tmp_path / "_static" / "s.js")
    assert f"<td>{mmlib_site.packed(tmp_path / 'a.html') / 1000:.0f}</td><td>{shared / 1000:.0f}</td>" in table
    assert "A &lt; B" in table


PAGES = {
    "book/intro": '<article class="bd-article" role="main"><h1 id="top">Hello</h1><a href="../notebooks/01.html#there">one</a>'
    '<a href="#top">up</a><a href="https://x.org/">out</a><img src="../_images/a.png"><script>x()</script></article>',
    "notebooks/01": '<article class="bd-article"><p id="there" aria-labelledby="a b">There</p><a href="02.html">gone</a>'
    '<a href="../book/intro.html">back</a><path clip-path="url(#c)"/><audio src="a.wav">x</audio></article>',
}


def test_pages_become_one_with_links_that_lead_inside() -> None:
    one, two = (make_pdf.part(name, page, list(PAGES)) for name, page in PAGES.items())
    assert 'id="page-book-intro"' in one
    assert 'href="#page-notebooks-01--there"' in one
    assert 'href="#page-book-intro--top"' in one
    assert 'id="page-book-intro--top"' in one
    assert 'href="https://x.org/"' in one
    assert 'src="_images/a.png"' in one
    assert "script" not in one
    assert 'id="page-notebooks-01--there" aria-labelledby="page-notebooks-01--a page-notebooks-01--b"' in two
    assert 'href="#page-book-intro"' in two
    assert 'href="notebooks/02.html"' in two
    assert "url(#page-notebooks-01--c)" in two
    assert "audio" not in two
    with pytest.raises(ValueError, match="expected an article"):
        make_pdf.part("x", "<p>", [])


def make_site(out: Path) -> None:
    for name, page in PAGES.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / f"{name}.html").write_text(f"{page}<p>MIT. <!-- pdf --></p>", "utf8")
    (out / "_static").mkdir()
    (out / "_static" / "book-1.css").write_text("body{}", "utf8")


def test_without_a_browser_or_without_pages_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make_pdf, "browser", lambda: None)
    with pytest.raises(FileNotFoundError, match="no browser on the PATH"):
        make_pdf.make(tmp_path, list(PAGES))
    monkeypatch.setattr(make_pdf, "browser", lambda: "true")
    with pytest.raises(FileNotFoundError, match="no built pages"):
        make_pdf.make(tmp_path, list(PAGES))
    make_site(tmp_path)
    monkeypatch.setattr(make_pdf, "browser", lambda: shutil.which("true"))
    with pytest.raises(RuntimeError, match="wrote no PDF"):
        make_pdf.make(tmp_path, list(PAGES))
    assert not (tmp_path / "whole-book.html").exists()


@pytest.mark.slow
def test_the_pdf_is_printed_and_the_pages_lead_to_it(tmp_path: Path) -> None:
    if make_pdf.browser() is None:
        pytest.skip("no Chromium or Chrome on this machine (Debian: apt-get install chromium)")
    make_site(tmp_path)
    made = make_pdf.make(tmp_path, list(PAGES))
    assert made.read_bytes()[:5] == b"%PDF-"
    assert len(made.read_bytes()) > 5000
    assert f'<a href="../{make_pdf.NAME}">' in (tmp_path / "notebooks" / "01.html").read_text("utf8")


def test_the_pdf_has_the_pages_of_the_book_in_order() -> None:
    names = make_pdf.documents()
    assert names[0] == "book/intro"
    assert names.index("notebooks/01_data") < names.index("notebooks/12_verdict") < names.index("book/colophon")


@pytest.mark.parametrize("path", sorted((ROOT / ".github").rglob("*.yml")), ids=lambda p: p.name)
def test_workflows_are_yaml_and_name_actions_by_their_commit(path: Path) -> None:
    text = path.read_text("utf8")
    read = yaml.safe_load(text)
    assert read
    for used in re.findall(r"uses: (\S+)", text):
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", used), used
    if "jobs" in read:
        assert read["permissions"]
        assert all(job["timeout-minutes"] <= 60 for job in read["jobs"].values())
