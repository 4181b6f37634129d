"""Sphinx extension of this book: what others ask a site for, and what a book says of itself.

- a picture, a title and a sentence for whoever links to a page (Open Graph); a map of the site; a page for addresses that
  there are not; the bibliography as a file. All name the site where GitHub serves the repository of pyproject.toml;
- two directives for the colophon: ``versions``, of the packages that the pages were made with, and ``weights``, how many bytes
  each page is, filled in when all pages are written.
"""

from __future__ import annotations

import gzip
import html
import re
import shutil
import sys
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar
from xml.sax.saxutils import escape

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parents[2]
COVER = "cover.png"  #: below the folder of static files
REFERENCES = "references.bib"
WEIGHTS = "<!-- the weights of the pages -->"
#: what decides numbers and pages
PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "pandas", "matplotlib", "jupyter-book", "sphinx")


def base_address(repository: str) -> str:
    """Where GitHub serves the pages of a repository: https://OWNER.github.io/REPO/.

    >>> base_address("https://github.com/someone/book")
    'https://someone.github.io/book/'
    """
    owner, name = repository.removesuffix("/").removesuffix(".git").split("/")[-2:]
    return f"https://{owner.lower()}.github.io/" + ("" if name.lower() == f"{owner.lower()}.github.io" else f"{name}/")


def set_base(app: Sphinx, config: Config) -> None:
    """The address of the site follows from that of the repository, which stands in one place."""
    sys.path.insert(0, str(ROOT / "tools"))
    import address

    config.html_baseurl = base_address(address.read())


def describe(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """What a page is, for those who link to it."""
    title = re.sub(r"<[^>]+>", "", context.get("title", "")) or app.config.project
    said = {
        "og:type": "article",
        "og:site_name": app.config.html_title or app.config.project,
        "og:title": html.unescape(title),
        "og:description": summary(doctree) or app.config.mmlib_book_description,
        "og:url": f"{app.config.html_baseurl}{pagename}.html",
        "og:image": f"{app.config.html_baseurl}_static/{COVER}",
        "og:image:alt": "Test accuracy: one network with three modalities does worse than the best of them alone",
        "twitter:card": "summary_large_image",
    }
    tags = "".join(f'\n<meta property="{name}" content="{html.escape(value)}" />' for name, value in said.items())
    if (own := summary(doctree)) and 'name="description"' not in context.get("metatags", ""):
        tags += f'\n<meta name="description" content="{html.escape(own)}" />'
    context["metatags"] = context.get("metatags", "") + tags


def summary(doctree: nodes.document | None) -> str:
    """The first sentences of a chapter's opening, or of a page's first paragraph, up to some 200 characters."""
    if doctree is None:
        return ""
    quotes = list(doctree.findall(nodes.block_quote))[:1]
    for place in [*quotes, doctree]:
        for paragraph in place.findall(nodes.paragraph):
            text = re.sub(r"^(In this chapter|On this page)\.\s*", "", re.sub(r"\s+", " ", paragraph.astext()).strip())
            if len(text) > 60:
                sentences = re.split(r"(?<=[.?!])\s+", text)
                out = sentences[0]
                for sentence in sentences[1:]:
                    if len(out) + len(sentence) > 200:
                        break
                    out += f" {sentence}"
                return out
    return ""


class Versions(SphinxDirective):
    """A table of the packages that these pages were made with."""

    def run(self) -> list[nodes.Node]:
        rows = [("Python", ".".join(map(str, sys.version_info[:3]))), ("mmlib", metadata.version("mmlib"))]
        rows += [(name, metadata.version(name)) for name in PACKAGES]
        body = "".join(f"<tr><th scope='row'>{name}</th><td>{html.escape(version)}</td></tr>" for name, version in rows)
        return [nodes.raw("", f'<table class="table"><tbody>{body}</tbody></table>', format="html")]


class Weights(SphinxDirective):
    """A table of what each page weighs."""

    option_spec: ClassVar[dict[str, object]] = {}

    def run(self) -> list[nodes.Node]:
        return [nodes.raw("", WEIGHTS, format="html")]


def packed(path: Path) -> int:
    """Bytes as a server sends them, compressed."""
    return len(gzip.compress(path.read_bytes()))


def weights(out: Path, documents: list[str], titles: dict[str, str]) -> str:
    """The table of `Weights`, in HTML; the pages have to be finished."""
    style = sum(packed(path) for path in (out / "_static").glob("book-*.css"))
    rows = []
    for name in documents:
        page = (out / f"{name}.html").read_text("utf8")
        scripts = {(out / name).parent / s.partition("?")[0] for s in re.findall(r'<script\b[^>]*\bsrc="([^":]+)"', page)}
        shared = style + sum(packed(path) for path in scripts if path.is_file())
        rows.append((titles[name], packed(out / f"{name}.html"), shared))
    body = "".join(
        f"<tr><th scope='row'>{html.escape(title)}</th><td>{page / 1000:.0f}</td><td>{shared / 1000:.0f}</td></tr>"
        for title, page, shared in rows
    )
    head = "<tr><th scope='col'>page</th><th scope='col'>the page, kB</th><th scope='col'>scripts and styles, kB</th></tr>"
    return f'<table class="table"><thead>{head}</thead><tbody>{body}</tbody></table>'


def sitemap(base: str, documents: list[str]) -> str:
    """The map of the site (sitemaps.org, protocol 0.9)."""
    entries = "".join(f"<url><loc>{escape(f'{base}{name}.html')}</loc></url>\n" for name in documents)
    head = '<?xml version="1.0" encoding="UTF-8"?>\n<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n'
    return f"{head}{entries}</urlset>\n"


def lost(base: str, first: str, title: str) -> str:
    """The page for an address that there is not. It may be shown at any depth, so that its links are whole addresses."""
    title, base = html.escape(title), html.escape(base)
    style = (
        "body{font:1.1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:15vh auto;padding:0 1rem}"
        "html{color-scheme:light dark;background:Canvas;color:CanvasText}"
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Not here: {title}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="robots" content="noindex">'
        f"<style>{style}</style></head><body><main><h1>There is no page at this address</h1>"
        f"<p>A chapter may have moved. The book is still there:</p>"
        f'<ul><li><a href="{base}{first}.html">{title}</a></li><li><a href="{base}search.html">Search</a></li>'
        f'<li><a href="{base}book/playground.html">The playground</a></li></ul></main></body></html>\n'
    )


def complete(app: Sphinx, exception: Exception | None) -> None:
    """Once all pages are finished (after `mmlib_book.finish`)."""
    if exception is not None or app.builder.format != "html":
        return
    from mmlib.book import drawings

    out, base, first = Path(app.outdir), str(app.config.html_baseurl), str(app.config.master_doc)
    documents = [name for name in app.env.found_docs if (out / f"{name}.html").exists()]
    documents.sort(key=lambda name: (name != first, name))
    title = app.config.html_title or app.config.project
    (out / "sitemap.xml").write_text(sitemap(base, documents), "utf8")
    (out / "robots.txt").write_text(f"User-agent: *\nAllow: /\nSitemap: {base}sitemap.xml\n", "utf8")
    (out / "404.html").write_text(lost(base, first, title), "utf8")
    (out / "_static" / COVER).write_bytes(drawings.cover())
    shutil.copy(ROOT / "book" / REFERENCES, out / "_static" / REFERENCES)
    titles = {name: app.env.titles[name].astext() for name in documents}
    for name in documents:
        path = out / f"{name}.html"
        if WEIGHTS in (page := path.read_text("utf8")):
            path.write_text(page.replace(WEIGHTS, weights(out, documents, titles)), "utf8")


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("versions", Versions)
    app.add_directive("weights", Weights)
    app.connect("config-inited", set_base)
    app.connect("html-page-context", describe, priority=850)  # before the description of the whole book is taken
    app.connect("build-finished", complete, priority=950)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
