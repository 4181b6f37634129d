"""Sphinx extension of this book: repairs and checks of what Jupyter Book 1 writes.

- pages load nothing from elsewhere, and little at all (`mmlib_light`): math is set when the book is built, by what
  ``tools/vendor.py`` has put into book/assets/vendor; without it the pages set it by MathJax from a CDN, and the build says
  so. The scripts of sphinx-thebe go;
- every image says what it shows: one without alternative text is a warning, and warnings are errors here;
- the cache of executed notebooks goes when the library or a stored result has changed;
- accessibility faults of the theme are mended, and a misreading of docstrings;
- the written pages are searched for addresses that they would load.
"""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from mmlib_execution import prepare_cache
from mmlib_light import KATEX, can_set, lighten
from mmlib_style import bundle
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util import logging

logger = logging.getLogger(__name__)

VENDOR = Path(__file__).resolve().parents[1] / "assets" / "vendor"

#: (what the theme and its helpers write, what they should write)
REPAIRS: list[tuple[str | re.Pattern[str], str]] = [
    # an element outside all landmarks
    ('<div id="pst-primary-sidebar" class=', '<div id="pst-primary-sidebar" role="complementary" aria-label="Book" class='),
    # the accessible name lacks the visible text
    # light or dark from the first line on, and not when the theme's script is there
    (
        'document.documentElement.dataset.theme = localStorage.getItem("theme") || "auto";',
        (
            "document.documentElement.dataset.theme = ((asked) => asked !== 'auto' ? asked : "
            "matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light')(localStorage.getItem('theme') || 'auto');"
        ),
    ),
    # a picture of 8 kB beside a word that says the same
    (re.compile(r'<img alt="Colab logo"[^>]*>'), ""),
    (re.compile(r'(<button class="btn search-button-field[^>]*?) aria-label="[^"]*"'), r"\1"),
    # docutils: a deprecated role, and a list without items
    (' role="doc-biblioentry"', ""),
    ('<div role="list" class="citation-list">', '<div class="citation-list">'),
    ('<summary aria-label="Toggle hidden content">', "<summary>"),
    (re.compile(r'(<i class="theme-switch [^>]*?) +title="[^"]*"'), r'\1 aria-hidden="true"'),
    # sphinx-exercise: the same id for each exercise of a page
    (re.compile(r'<section id="(exercise|solution)-content">'), r'<section class="\1-content">'),
    # tables: those of pandas scroll sideways, out of the keyboard's reach; a header cell without a header is none
    (re.compile(r"<div>(?=\s*<style scoped>)"), '<div class="wide-table" tabindex="0" role="group" aria-label="Table">'),
    ("<th></th>", "<td></td>"),
    ('<th class="head"><p></p></th>', '<td class="head"></td>'),
]
#: what makes a browser load something while it opens the page
LOADS = re.compile(
    r"""<(?:script|img|iframe|source|video|audio|embed)\b[^>]*\bsrc=["'](https?:)?//[^"']*"""
    r"""|<link\b(?=[^>]*rel=["'](?:stylesheet|preload|icon|shortcut icon|modulepreload|preconnect)["'])"""
    r"""[^>]*href=["'](https?:)?//[^"']*"""
    r"""|@import\s+(?:url\()?["']?(https?:)?//[^"')]*""",
    re.IGNORECASE,
)
#: images and inline figures written as HTML, which `need_alt` does not see
IMAGES = re.compile(r"<img\b[^>]*>|<svg\b[^>]*\brole=[\"']img[\"'][^>]*>", re.IGNORECASE)


def vendored() -> bool:
    """Whether the npm assets are there, and node to use them: then no page asks anyone for anything."""
    return can_set(VENDOR)


def serve_locally(app: Sphinx, config: Config) -> None:
    """Serve KaTeX's style and fonts with the pages, or say that the pages will ask a CDN."""
    if vendored():
        config.html_static_path = [*config.html_static_path, str(VENDOR)]
    else:
        logger.info("NOTE: KaTeX is not in %s, or there is no node: the pages set their math by MathJax from a CDN.", VENDOR)
        logger.info("      Run 'python tools/vendor.py' (it needs npm) to have it set when the book is built.")


def renew_cache(app: Sphinx, config: Config) -> None:
    """Before any notebook is read: forget outputs that an older library made."""
    path = config.nb_execution_cache_path or Path(app.outdir).parent / ".jupyter_cache"  # myst-nb's own default
    if config.nb_execution_mode == "cache" and not prepare_cache(Path(path)):
        logger.info("notebooks: nothing executed yet with this state of mmlib and book/results")


def drop_thebe(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """Leave out sphinx-thebe's scripts, which are declared twice and come from elsewhere; add the page's description."""

    def from_thebe(file: Any) -> bool:
        name, body = getattr(file, "filename", file), getattr(file, "attributes", {}).get("body", "")
        return "thebe" in f"{name} {body}".lower()

    for key in ("script_files", "css_files"):
        context[key][:] = [file for file in context[key] if not from_thebe(file)]
    tags = context.get("metatags", "")
    if app.config.mmlib_book_description and 'name="description"' not in tags:
        tags += f'\n<meta name="description" content="{html.escape(app.config.mmlib_book_description)}" />'
    context["metatags"] = tags


def need_alt(app: Sphinx, doctree: nodes.document) -> None:
    """Warn of every image that does not say what it shows."""
    for image in doctree.findall(nodes.image):
        if not str(image.get("alt", "")).strip():
            logger.warning(
                "image without alternative text: %s (a figure of ours: mmlib.book.plots.show(fig, alt=...); "
                "any other output: the cell's metadata mystnb.image.alt)",
                image.get("uri", ""),
                location=image,
                type="mmlib_book",
                subtype="alt",
            )


def plain_attributes(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Undo napoleon's reading of "One row per epoch: ..." on a property as its type and its description."""
    marks = [i for i, line in enumerate(lines) if line.startswith(":type: ")]
    if what in ("attribute", "property") and marks:
        sentence = lines.pop(marks[0]).removeprefix(":type: ")
        lines[0] = f"{sentence}: {lines[0]}"


def repair(page: str) -> str:
    """A page with the theme's accessibility faults mended."""
    for fault, better in REPAIRS:
        page = fault.sub(better, page) if isinstance(fault, re.Pattern) else page.replace(fault, better)
    return page


def problems(page: str, allow_cdn: bool = False) -> list[str]:
    """What is wrong with a finished page: addresses it loads from elsewhere, images of its article without a description."""
    found = [] if allow_cdn else [f"loads {match.group(0)[:160]}" for match in LOADS.finditer(page)]
    article = page[page.find("<article") : page.find("</article>")]
    for match in IMAGES.finditer(article):
        attribute = "alt" if match.group(0).lower().startswith("<img") else "aria-label"
        if not re.search(rf"""\b{attribute}=(["'])\s*(?!\1)\S""", match.group(0)):
            found.append(f"image without a description ({attribute}): {match.group(0)[:160]}")
    return found


def doorway(first: str, title: str, icon: str) -> str:
    """The page at the address of the site itself: it leads on to the first page. With an icon, as a browser would ask for one."""
    first, title = html.escape(first), html.escape(title)
    link = f'<link rel="icon" href="{html.escape(icon)}">' if icon else ""
    onward = f'<meta http-equiv="refresh" content="0; url={first}">'
    head = f'<head><meta charset="utf-8"><title>{title}</title>{link}{onward}</head>'
    return f'<!doctype html>\n<html lang="en">{head}<body><a href="{first}">{title}</a></body></html>\n'


def finish(app: Sphinx, exception: Exception | None) -> None:
    """Write the page at the door, then repair and check all pages."""
    if exception is not None or app.builder.format != "html":
        return
    out = Path(app.outdir)
    icon = Path(app.config.html_favicon or "").name
    entry = doorway(f"{app.config.master_doc}.html", app.config.html_title or app.config.project, icon and f"_static/{icon}")
    (out / "index.html").write_text(entry, "utf8")
    lighten(out, VENDOR / KATEX if vendored() else None)
    for path in sorted(out.rglob("*.html")):
        page = path.read_text("utf8")
        better = repair(page)
        if better != page:
            path.write_text(better, "utf8")
        for problem in problems(better, allow_cdn=not vendored()):
            logger.warning("%s: %s", path.relative_to(out), problem, type="mmlib_book", subtype="page")
    bundle(out)


def setup(app: Sphinx) -> dict[str, Any]:
    app.setup_extension("sphinx.ext.autodoc")
    app.add_config_value("mmlib_book_description", "", "html", str)
    app.connect("config-inited", serve_locally, priority=100)
    app.connect("config-inited", renew_cache)
    app.connect("html-page-context", drop_thebe, priority=900)
    app.connect("doctree-read", need_alt)
    app.connect("autodoc-process-docstring", plain_attributes, priority=900)  # after napoleon
    app.connect("build-finished", finish, priority=900)  # the theme writes a style sheet then, too
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
