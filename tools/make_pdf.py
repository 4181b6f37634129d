"""The whole book as one PDF, from the built pages: python tools/make_pdf.py (or make pdf).

All pages become one, in the order of the book, and Chromium prints it: so links between chapters lead to a place in the PDF, and
page numbers count through. The pages get a link to it.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml  # type: ignore[import-untyped]

ROOT = Path(__file__).resolve().parents[1]
NAME = "balanced-multimodal-learning.pdf"
PLACE = "<!-- pdf -->"
ARTICLE = re.compile(r'<article class="bd-article"[^>]*>(.*?)</article>', re.DOTALL)
#: attributes that hold ids, and addresses
IDS = re.compile(r'\b(id|for|aria-labelledby|aria-describedby|aria-controls)="([^"]+)"')
ADDRESSES = re.compile(r'\b(href|src)="([^"]*)"')
PARTS = re.compile(r"url\(#([^)]+)\)")
DROPPED = re.compile(
    r"<script\b.*?</script>|<link\b[^>]*>|<audio\b.*?</audio>|<a class=\"headerlink\".*?</a>|<input\b[^>]*>", re.DOTALL
)
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
STYLE = """
@page { size: A4; margin: 18mm 16mm 20mm; @bottom-center { content: counter(page); font: 9pt system-ui, sans-serif; } }
html { font-size: 11pt; }
body { max-width: none; }
main { display: block; padding: 0; }
.mm-part { break-before: page; }
.mm-part > section > section { content-visibility: visible !important; }
pre, figure, table, .admonition, .mm-claim { break-inside: avoid; }
pre { white-space: pre-wrap; font-size: 8.5pt; }
table { font-size: 8.5pt; }
svg { max-width: 100%; height: auto; }
.tag_hide-input > details, .tag_hide-input > .cell_input, .copybtn { display: none; }
"""


def documents(root: Path = ROOT) -> list[str]:
    """The pages of _toc.yml, in order."""
    toc = yaml.safe_load((root / "_toc.yml").read_text("utf8"))
    return [toc["root"], *(chapter["file"] for part in toc["parts"] for chapter in part["chapters"])]


def part(name: str, page: str, known: list[str]) -> str:
    """The article of a page, fit to stand beside the others: its ids begin with its name, its links lead into the whole.

    Raises:
        ValueError: the page has no article.
    """
    match = ARTICLE.search(page)
    if match is None:
        raise ValueError(f"{name}: expected an article, found none")
    here = anchor(name)
    article = DROPPED.sub("", match[1])
    article = IDS.sub(lambda m: f'{m[1]}="{" ".join(f"{here}--{one}" for one in m[2].split())}"', article)
    article = PARTS.sub(lambda m: f"url(#{here}--{m[1]})", article)

    def lead(m: re.Match[str]) -> str:
        path, _, place = m[2].partition("#")
        if re.match(r"[a-z+]+:", m[2]) or (not path and not place):
            return m[0]
        if not path:
            return f'{m[1]}="#{here}--{place}"'
        target = _resolved(name, path)
        page_name = target.removesuffix(".html")
        if page_name in known:
            return f'{m[1]}="#{anchor(page_name)}' + (f"--{place}" if place else "") + '"'
        return f'{m[1]}="{target}"'

    return f'<div class="mm-part bd-article" id="{here}">{ADDRESSES.sub(lead, article)}</div>'


def anchor(name: str) -> str:
    """Where a page begins in the whole."""
    return "page-" + re.sub(r"\W+", "-", name)


def _resolved(name: str, path: str) -> str:
    parts = name.split("/")[:-1]
    for piece in path.split("/"):
        if piece == "..":
            parts = parts[:-1]
        elif piece != ".":
            parts.append(piece)
    return "/".join(parts)


def whole(site: Path, names: list[str]) -> str:
    """All pages as one, in HTML, to be printed from the folder of the site."""
    pages = [(site / f"{name}.html").read_text("utf8") for name in names]
    [style] = (site / "_static").glob("book-*.css")
    parts = "\n".join(part(name, page, names) for name, page in zip(names, pages, strict=True))
    looks = f'<link rel="stylesheet" href="_static/{style.name}"><style>{STYLE}</style>'
    return (
        '<!doctype html>\n<html lang="en" data-theme="light" data-mode="light"><head><meta charset="utf-8">'
        f"<title>Balanced multimodal learning</title>{looks}</head>"
        f'<body><main class="bd-main">{parts}</main></body></html>\n'
    )


def browser() -> str | None:
    """A Chromium or Chrome on the PATH."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def make(site: Path, names: list[str]) -> Path:
    """Print the book, and give its pages a link to the file.

    Raises:
        FileNotFoundError: no browser, or no built pages. RuntimeError: the browser wrote nothing.
    """
    executable = browser()
    if executable is None:
        raise FileNotFoundError(f"no browser on the PATH: one of {', '.join(BROWSERS)} (Debian: apt-get install chromium)")
    if not (site / f"{names[0]}.html").is_file():
        raise FileNotFoundError(f"{site}: no built pages; run make book first")
    source, target = site / "whole-book.html", site / NAME
    source.write_text(whole(site, names), "utf8")
    try:
        with tempfile.TemporaryDirectory() as profile:
            flags = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}", "--no-pdf-header-footer"]
            flags += ["--generate-pdf-document-outline", "--virtual-time-budget=20000", f"--print-to-pdf={target}"]
            done = subprocess.run([executable, *flags, source.as_uri()], capture_output=True, text=True, timeout=600)
    finally:
        source.unlink()
    if not target.is_file() or target.read_bytes()[:5] != b"%PDF-":
        raise RuntimeError(f"{executable} wrote no PDF:\n{done.stderr[-2000:]}")
    for name in names:
        path = site / f"{name}.html"
        up = "../" * name.count("/")
        path.write_text(path.read_text("utf8").replace(PLACE, f'<a href="{up}{NAME}">The book as a PDF</a>.'), "utf8")
    return target


def main() -> str | None:
    try:
        made = make(ROOT / "_build" / "html", documents())
    except (FileNotFoundError, RuntimeError) as error:
        return str(error)
    print(f"The book as a PDF: {made} ({made.stat().st_size / 1e6:.1f} MB)")
    return None


if __name__ == "__main__":
    sys.exit(main())
