"""Sphinx extension of this book: pages that load little. Works on the written pages, after the theme has had its say.

- math is set when the book is built: KaTeX, run once by node, writes HTML and MathML; no script is left for the reader. Without
  npm and node (`mmlib_book.vendored`) the pages keep Sphinx's MathJax, from a CDN;
- icons are the shapes themselves, inline, instead of Font Awesome's one and a half megabytes of script;
- scripts wait until the page is read;
- sounds are files that wait until they are played;
- what a page has no use for goes: the search index outside the search page, styles of parts that it does not have.
"""

from __future__ import annotations

import base64
import hashlib
import html
import importlib.util
import json
import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

KATEX = "katex/katex.min.js"  #: below the folder of npm assets; only the build reads it
KATEX_CSS = "katex/katex.min.css"
SOUNDS = "sounds"  #: below the folder of static files

#: what Sphinx writes of a formula: inline in \(..\), displayed in \[..\]
FORMULA = re.compile(r'(<(span|div) class="math notranslate nohighlight"[^>]*>)(.*?)(</\2>)([,.;:!?)]*)', re.DOTALL)
SHORT = 40  #: characters of TeX; a longer formula may have to be broken itself
DELIMITED = re.compile(r"\\\((?P<inline>.*?)\\\)|\\\[(?P<display>.*?)\\\]", re.DOTALL)
MATHJAX = re.compile(
    r"<script>window\.MathJax = .*?</script>\s*|<script\b[^>]*\bsrc=\"[^\"]*mathjax[^\"]*\"[^>]*></script>\s*", re.DOTALL
)
# one process for the whole book; an error is an error of the build
_SET = """
const katex = require(process.argv[1]);
const formulas = JSON.parse(require("fs").readFileSync(0, "utf8"));
const set = ([tex, displayMode]) => {
  try { return katex.renderToString(tex, { displayMode, strict: "ignore" }); } catch (error) { return { error: error.message }; }
};
process.stdout.write(JSON.stringify(formulas.map(set)));
"""

ICON = re.compile(r'<(i|span)\s+class="([^"]*\bfa-[a-z][^"]*)"([^>]*)>\s*</\1>')
_STYLES = {"fa-solid", "fa-regular", "fa-brands", "fa-lg", "fa-fw"}
_SHAPE = re.compile(r'(?:"([\w-]+)"|\b(\w+)):\[(\d+),(\d+),\[([^\]]*)\],"[0-9a-f]+","([^"]+)"\]')
FONT_AWESOME = re.compile(r'<script\b[^>]*\bsrc="[^"]*fontawesome\.js[^"]*"[^>]*></script>\s*')
SEARCH = re.compile(r'<script\b[^>]*\bsrc="[^"]*(?:searchtools|language_data|searchindex)\.js[^"]*"[^>]*></script>\s*')
SOUND = re.compile(r'<audio\b(?P<more>[^>]*?) src="data:audio/(?P<kind>[\w-]+);base64,(?P<data>[^"]+)"')
BLOCKING = re.compile(r"<script(?P<more>(?![^>]*\b(?:defer|async)\b)[^>]*\bsrc=)")
#: the theme's script asks every block of the page whether it scrolls (a keyboard must reach those that do), so that all is laid
#: out at once; now it asks in the pauses of the browser, in the order of the page
THEME_SCRIPT = "scripts/pydata-sphinx-theme.js"  #: below the folder of static files
_SCROLLS = "e.tabIndex=e.scrollWidth>e.clientWidth||e.scrollHeight>e.clientHeight?0:-1"
_ASKS_ALL = f"forEach(e=>{{{_SCROLLS}}})"
_ASKS_LATER = (
    "forEach(e=>{(window.mmAsk??=new Set).add(e);"
    "const pause=window.requestIdleCallback??(f=>setTimeout(()=>f({timeRemaining:()=>9}),50));"
    "window.mmAsking??=pause(function next(time){for(const e of mmAsk){if(time.timeRemaining()<4)break;mmAsk.delete(e);"
    f"{_SCROLLS}}}window.mmAsking=mmAsk.size?pause(next):null}})}})"
)
PRELOAD = re.compile(r'<link\b[^>]*\brel="preload"[^>]*\bas="script"[^>]*>\s*')  # they would come before the text
#: what reads a script above it, in the middle of the page
READS = re.compile(r"<script>(?P<code>DOCUMENTATION_OPTIONS\.[^<]*)</script>")
#: (what loads it, what a page that needs it has in its body)
UNUSED: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r'<script\b[^>]*\bsrc="[^"]*design-tabs\.js[^"]*"[^>]*></script>\s*'), 'class="sd-tab'),
)


def formulas(page: str) -> list[tuple[str, bool]]:
    """The formulas of a page, in TeX, and whether each stands in a line of its own."""
    found = []
    for element in FORMULA.finditer(page):
        for formula in DELIMITED.finditer(element[3]):
            display = formula["display"]
            found.append((html.unescape(formula["inline"] if display is None else display), display is not None))
    return found


def set_in_type(asked: list[tuple[str, bool]], katex: Path) -> dict[tuple[str, bool], str]:
    """Formula -> HTML with MathML inside.

    Raises:
        ValueError: a formula that KaTeX cannot read; the message has it.
    """
    distinct = list(dict.fromkeys(asked))
    given = json.dumps(distinct)
    done = subprocess.run(["node", "-e", _SET, str(katex)], input=given, capture_output=True, text=True, check=True)
    made: list[Any] = json.loads(done.stdout)
    for (tex, _), result in zip(distinct, made, strict=True):
        if isinstance(result, dict):
            raise ValueError(f"math: {result['error']} in {tex.strip()}")
    return dict(zip(distinct, made, strict=True))


def with_math(page: str, made: dict[tuple[str, bool], str], css: str) -> str:
    """A page with its formulas set; without MathJax, and with KaTeX's style where there is a formula."""

    def formula(match: re.Match[str]) -> str:
        display = match["display"]
        if display is None:
            return made[html.unescape(match["inline"]), False]
        whole = made[html.unescape(display), True]
        if len(display) < SHORT:
            return whole
        # on a phone it scrolls by itself, which a keyboard must reach
        return whole.replace('<span class="katex-display">', '<span class="katex-display" tabindex="0">', 1)

    def element(match: re.Match[str]) -> str:
        whole = match[1] + DELIMITED.sub(formula, match[3]) + match[4]
        if match[5] and len(match[3]) < SHORT:  # a line must not begin with the full stop behind a formula
            return f'<span class="mm-unbroken">{whole}{match[5]}</span>'
        return whole + match[5]

    page = MATHJAX.sub("", FORMULA.sub(element, page))
    if 'class="katex' in page and f'href="{css}"' not in page:
        page = page.replace("</head>", f'<link rel="stylesheet" type="text/css" href="{css}" />\n  </head>', 1)
    return page


@cache
def shapes() -> dict[str, tuple[str, str, str]]:
    """Name of an icon -> width, height, path; of names with several styles the solid one, which the theme's script has last."""
    theme = importlib.util.find_spec("pydata_sphinx_theme")
    assert theme is not None
    assert theme.origin is not None
    script = next(Path(theme.origin).parent.rglob("static/scripts/fontawesome.js")).read_text("utf8")
    found: dict[str, tuple[str, str, str]] = {}
    aliases: dict[str, str] = {}
    for match in _SHAPE.finditer(script):
        name = match[1] or match[2]
        found[name] = match[3], match[4], match[6]
        aliases |= dict.fromkeys(re.findall(r'"([\w-]+)"', match[5]), name)
    return {alias: found[name] for alias, name in aliases.items()} | found


def with_icons(page: str) -> str:
    """A page whose icons are drawn where they stand.

    Raises:
        KeyError: an icon that the theme does not have.
    """

    def drawn(match: re.Match[str]) -> str:
        classes = match[2].split()
        (name,) = [c for c in classes if c.startswith("fa-") and c not in _STYLES]
        width, height, path = shapes()[name.removeprefix("fa-")]
        attributes = re.sub(r'\s*aria-hidden="[^"]*"', "", match[3])
        return (
            f'<svg class="svg-inline--fa {" ".join(classes)}"{attributes} aria-hidden="true" focusable="false" '
            f'viewBox="0 0 {width} {height}"><path fill="currentColor" d="{path}"/></svg>'
        )

    return FONT_AWESOME.sub("", ICON.sub(drawn, page))


def with_sounds(page: str, folder: Path, address: str) -> str:
    """A page whose sounds stand in files of ``folder``, at that address, and are fetched when they are played."""

    def moved(match: re.Match[str]) -> str:
        content = base64.b64decode(match["data"])
        name = f"{hashlib.sha256(content).hexdigest()[:16]}.{match['kind'].removeprefix('x-')}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
        return f'<audio preload="none"{match["more"]} src="{address}/{name}"'

    return SOUND.sub(moved, page)


def lighter(page: str, searches: bool) -> str:
    """A page without what it has no use for. ``searches``: whether it is the search page."""
    page = with_icons(page)
    if not searches:  # the search page's own script stands between those that it needs
        page = SEARCH.sub("", page)
        page = PRELOAD.sub("", page)
        page = BLOCKING.sub(r"<script defer\g<more>", page)
        page = READS.sub(r'<script>document.addEventListener("DOMContentLoaded", () => { \g<code> })</script>', page)
    body = page[page.find("<body") :]
    for loads, needed in UNUSED:
        if needed not in body:
            page = loads.sub("", page)
    return page


def lighten(out: Path, katex: Path | None) -> None:
    """All written pages. ``katex``: KaTeX's script; without it math stays as Sphinx wrote it."""
    pages = {path: path.read_text("utf8") for path in sorted(out.rglob("*.html"))}
    made: dict[tuple[str, bool], str] = {}
    if katex is not None:
        asked = [formula for page in pages.values() for formula in formulas(page)]
        made = set_in_type(asked, katex) if asked else {}
    if (script := out / "_static" / THEME_SCRIPT).exists():
        script.write_text(script.read_text("utf8").replace(_ASKS_ALL, _ASKS_LATER), "utf8")
    for path, page in pages.items():
        static = os.path.relpath(out / "_static", path.parent).replace(os.sep, "/")
        better = lighter(page, searches=path == out / "search.html")
        better = with_sounds(better, out / "_static" / SOUNDS, f"{static}/{SOUNDS}")
        if katex is not None:
            better = with_math(better, made, f"{static}/{KATEX_CSS}")
        if better != page:
            path.write_text(better, "utf8")


def can_set(vendor: Path) -> bool:
    """Whether math can be set here: KaTeX was fetched, and there is node to run it."""
    return (vendor / KATEX).exists() and (vendor / KATEX_CSS).exists() and shutil.which("node") is not None
