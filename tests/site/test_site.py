"""What the built pages promise, as far as it can be seen without a browser. They are built by `make test` or `make book`."""

from __future__ import annotations

import gzip
import json
import re
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

import address
import pytest
import yaml
from mmlib_book import LOADS, problems, vendored

from tests.site.pages import ROOT, Page, chapters, documents


@cache
def read(path: Path) -> Page:
    return Page(path)


@pytest.fixture(params=documents())
def page(request: pytest.FixtureRequest, site: Path) -> Page:
    path = site / f"{request.param}.html"
    assert path.exists(), f"{request.param} is named in _toc.yml but was not built"
    return read(path)


@pytest.fixture(params=chapters())
def chapter(request: pytest.FixtureRequest, site: Path) -> tuple[str, Page]:
    return request.param, read(site / f"{request.param}.html")


def test_the_book_has_its_parts(site: Path) -> None:
    names = documents()
    assert names[0] == "book/intro"
    assert {
        "notebooks/01_data",
        "notebooks/02_naive_fusion",
        "notebooks/06_mla",
        "notebooks/10_real_voices",
        "notebooks/11_real_recordings",
    } <= set(chapters())
    assert {"book/data_card", "book/architecture", "book/api", "book/bibliography"} <= set(names)
    for file in ("index.html", "search.html", "searchindex.js"):
        assert (site / file).stat().st_size > 0


def test_the_door_leads_to_the_first_page_and_has_an_icon(site: Path) -> None:
    """Without one a browser asks for /favicon.ico, in vain."""
    door = (site / "index.html").read_text("utf8")
    onward, icon = re.search(r'url=([^"]+)', door), re.search(r'rel="icon" href="([^"]+)"', door)
    assert onward is not None
    assert onward[1] == "book/intro.html"
    assert icon is not None
    assert (site / icon[1]).is_file()


def test_page_says_what_it_is(page: Page) -> None:
    (html,) = page.all("html")
    assert html["lang"] == "en"
    assert len(page.all("h1", inside="article")) == 1
    (description,) = page.all("meta", name="description")
    assert len(description["content"]) > 40
    assert page.all("title")


def test_page_loads_nothing_from_elsewhere(page: Page) -> None:
    assert not problems(page.source, allow_cdn=not vendored())
    assert "thebe" not in "".join(a.get("src", "") for a in page.all("script")).lower()


def test_style_sheets_load_nothing_from_elsewhere(site: Path) -> None:
    for path in site.rglob("*.css"):
        text = path.read_text("utf8", errors="replace")
        assert not LOADS.search(text), path
        assert not re.search(r"url\(\s*['\"]?(?:https?:)?//", text), path


def test_math_is_set_and_its_style_is_served_with_the_pages(page: Page, site: Path) -> None:
    if not vendored():
        pytest.skip("npm was not found when the book was built: its pages set their math by MathJax from a CDN")
    written = page.source.count('class="math notranslate nohighlight"')
    assert page.source.count("<math ") >= written
    assert not re.search(r"\\\(|\\\[(?!\d)", re.sub(r"<(pre|code|script|annotation)\b.*?</\1>", "", page.source, flags=re.DOTALL))
    [style] = (site / "_static").glob("book-*.css")
    assert ".katex" in style.read_text("utf8")
    assert "url(katex/fonts/KaTeX_Main-Regular.woff2)" in style.read_text("utf8")
    assert list((site / "_static" / "katex" / "fonts").glob("*.woff2"))


ASSETS = 100_000  #: bytes, compressed: all scripts and styles of a page, of which the theme has most
PAGE = 200_000  #: the page itself, with its figures


def test_page_loads_little_beside_its_own_text(page: Page) -> None:
    """What a reader waits for at the first page of all; fonts of formulas (some 60 kB) and the page itself come on top."""
    names = [a["src"] for a in page.all("script") if "src" in a]
    names += [a["href"] for a in page.all("link") if a.get("rel") == "stylesheet"]
    files = {(page.path.parent / urlsplit(name).path).resolve() for name in names if not urlsplit(name).netloc}
    assert len(files) > 5
    assert sum(file.suffix == ".css" for file in files) == 1
    assert sum(len(gzip.compress(file.read_bytes())) for file in files) < ASSETS
    assert len(gzip.compress(page.source.encode())) < PAGE
    assert vendored() is False or not any("mathjax" in name or "fontawesome" in name for name in names)


def test_every_picture_is_described(page: Page) -> None:
    for image in page.all("img", inside="article"):
        alt = image.get("alt", "").strip()
        assert alt, image
        assert not re.search(r"\.(png|svg|jpe?g)$|^<Figure", alt), f"a file's name is no description: {alt}"
    for drawing in page.all("svg", inside="article", role="img"):
        assert len(drawing.get("aria-label", "").strip()) > 10, drawing


def test_ids_are_unique(page: Page) -> None:
    repeated = {name for name in page.ids if page.ids.count(name) > 1}
    assert not repeated


def test_links_lead_somewhere(page: Page, site: Path) -> None:
    for link in page.all("a"):
        target = urlsplit(link.get("href", ""))
        if target.scheme or target.netloc or not (target.path or target.fragment):
            continue
        path = (page.path.parent / unquote(target.path)).resolve() if target.path else page.path
        path = path / "index.html" if path.is_dir() else path
        assert path.exists(), f"{page.path.relative_to(site)}: {link['href']} leads nowhere"
        if target.fragment and path.suffix == ".html":
            there = set(read(path).ids) | {a["name"] for a in read(path).all("a") if a.get("name")}
            assert unquote(target.fragment) in there, f"{page.path.relative_to(site)}: {link['href']} has no such place"


def test_files_a_page_needs_are_there(page: Page, site: Path) -> None:
    sources = [a["src"] for tag in ("script", "img", "audio", "source") for a in page.all(tag) if a.get("src")]
    sources += [a["href"] for a in page.all("link") if a.get("rel") in ("stylesheet", "icon", "shortcut icon") and a.get("href")]
    for source in sources:
        target = urlsplit(source)
        if target.scheme in ("", "file") and target.path:
            assert (page.path.parent / unquote(target.path)).exists(), f"{page.path.relative_to(site)} needs {source}"


def test_controls_have_names(page: Page) -> None:
    for control in page.all("input", inside="article"):
        assert control.get("aria-label", "").strip() or "label" in page.source, control
    for slider in page.all("input", type="range"):
        assert slider["aria-label"].strip()
        assert slider["aria-valuetext"].strip()


def test_chapter_opens_on_colab_from_its_own_address(chapter: tuple[str, Page]) -> None:
    name, page = chapter
    links = [a["href"] for a in page.all("a", inside="article") if "colab.research" in a.get("href", "")]
    assert address.colab(f"{name}.ipynb", address.read()) in links


def test_chapter_shows_figures_and_no_trace_of_a_failure(chapter: tuple[str, Page]) -> None:
    name, page = chapter
    assert page.all("svg", inside="article", role="img") or page.all("img", inside="article"), f"{name} shows no figure"
    article = page.source[page.source.find("<article") : page.source.find("</article>")]
    for trace in ("Traceback (most recent call last)", "output traceback", "output stderr", "&lt;Figure size"):
        assert trace not in article, f"{name}: {trace}"


def test_introduction_shows_the_stored_result(site: Path) -> None:
    from mmlib.book import drawings

    described = [svg["aria-label"] for svg in read(site / "book/intro.html").all("svg", inside="article", role="img")]
    assert described == [drawings.hook().alt]


SLIDERS = 8  #: one each in chapters 1 to 6, 8 and 9
SLIDER = 150_000  #: bytes of one, with all its pictures, as text


def test_sliders_are_there_and_none_is_heavy(site: Path) -> None:
    sizes = []
    for name in chapters():
        pieces = (site / f"{name}.html").read_text("utf8").split('<div class="mm-frames">')[1:]
        sizes += [len(piece[: piece.rfind("</figure>")].split('<div class="cell')[0].encode()) for piece in pieces]
    assert len(sizes) >= SLIDERS
    assert max(sizes) < SLIDER


def test_links_to_elsewhere_are_well_formed(page: Page) -> None:
    for link in page.all("a"):
        target = urlsplit(link.get("href", ""))
        if target.netloc or target.scheme:
            assert target.scheme in ("https", "http", "mailto"), link
            assert target.scheme != "http" or target.hostname in ("127.0.0.1", "localhost"), link
            assert target.scheme == "mailto" or re.fullmatch(r"[\w-]+(\.[\w-]+)+", target.hostname or ""), link
            assert " " not in link["href"], link


def test_a_page_says_to_others_what_it_is(page: Page, site: Path) -> None:
    said = {a["property"]: a["content"] for a in page.all("meta") if "property" in a}
    name = page.path.relative_to(site).with_suffix("").as_posix()
    assert said["og:url"].endswith(f"/{name}.html")
    assert said["og:url"].startswith("https://")
    assert said["og:title"].strip()
    assert len(said["og:description"]) > 40
    assert (site / "_static" / said["og:image"].rsplit("/", 1)[1]).stat().st_size > 10_000


def test_the_map_of_the_site_has_every_page(site: Path) -> None:
    listed = re.findall(
        r"<loc>https://[^/]+/(?:[^/]+/)?((?:book|notebooks)/[^<]+)\.html</loc>", (site / "sitemap.xml").read_text("utf8")
    )
    assert sorted(listed) == sorted(documents())
    assert "sitemap.xml" in (site / "robots.txt").read_text("utf8")
    assert "There is no page" in (site / "404.html").read_text("utf8")


def test_the_colophon_weighs_every_page_and_times_every_notebook(site: Path) -> None:
    text = (site / "book" / "colophon.html").read_text("utf8")
    assert text.count("<th scope='row'>") >= len(documents()) + 5
    for name in chapters():
        assert name in text
    assert (site / "_static" / "references.bib").read_text("utf8").count("@") > 20


def test_some_chapter_has_a_slider(site: Path) -> None:
    assert any(read(site / f"{name}.html").all("input", type="range") for name in chapters())


def test_the_library_page_documents_the_public_names(site: Path) -> None:
    import mmlib

    documented = set(read(site / "book/api.html").ids)
    missing = []
    for name in mmlib.__all__:
        thing = getattr(mmlib, name)
        module = getattr(thing, "__module__", "")
        homes = {f"{module}.{name}", f"{module.rpartition('.')[0]}.{name}"}  # its file, or the package that offers it
        if not ({f"mmlib.{name}", f"module-mmlib.{name}", *homes} & documented) and not _any_of(f"mmlib.{name}.", documented):
            missing.append(name)
    assert not missing, f"book/api.md lacks {missing}"


def _any_of(prefix: str, names: set[str]) -> bool:
    return any(name.startswith(prefix) for name in names)


def test_every_reference_is_listed(site: Path) -> None:
    entries = re.findall(r"^@\w+\{", (ROOT / "book/references.bib").read_text("utf8"), re.MULTILINE)
    listed = read(site / "book/bibliography.html").source.count('<div class="citation"')
    assert len(entries) == listed > 5


def test_search_finds_methods_and_names_of_the_library(site: Path) -> None:
    index = (site / "searchindex.js").read_text("utf8").lower()
    for word in ("mmpareto", "gradientblend", "late_fusion", "normalise", "shapley", "qmf", "blend_weights", "from_arrays"):
        assert word in index, word


def test_search_finds_the_pages(site: Path) -> None:
    index = (site / "searchindex.js").read_text("utf8")
    content = json.loads(index[index.index("{") : index.rindex("}") + 1])
    assert set(documents()) <= set(content["docnames"])


def test_the_configuration_is_read_by_the_release_that_built_the_pages() -> None:
    config = yaml.safe_load((ROOT / "_config.yml").read_text("utf8"))
    assert config["repository"]["url"] == address.read()
    assert config["execute"]["execute_notebooks"] == "cache"
