"""What matplotlib writes for a file, made fit to stand inside a page: ink that follows the page, ids that do not clash.

`mmlib.book.plots` is the module to use; this one holds its string work.

A notebook that JupyterLab does not trust loses every ``<svg>``, ``<style>`` and script of its HTML but not their text, and
its HTML is shown before any PNG beside it. So a notebook's HTML has a *still*, the PNG, inside. A style shows the SVG where
it is, and the still where it was taken away. The book drops the stills (`without_stills`).
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from mmlib.book.compact_svg import compact

#: The colour of text and axes while a figure is drawn; `mmlib.book.plots.picture` turns it, and black, into ``currentColor``.
INK = "#010203"

# As wide as drawn, narrower where the page is. The line joins are those of matplotlib's style sheet, which would leak out.
_STYLE = (
    "max-width:100%;height:auto;overflow:visible;background:none;font-family:system-ui,'DejaVu Sans',sans-serif;"
    "stroke-linejoin:round;stroke-linecap:butt"
)
# What is hidden without the style is the text of an SVG whose tags are gone. One page may have outputs of both kinds.
_LIVE = '<div class="mm-live" style="display:none">'
_STYLE_OF_STILLS = "<style>.mm-live:has(svg){display:block!important}.mm-live:has(svg)~.mm-still{display:none}</style>"
_STILLS = re.compile(
    rf"{_LIVE}(.*?)</div>{re.escape(_STYLE_OF_STILLS)}" + r'(?:<img class="mm-still"[^>]*>)?(?:<p class="mm-still">[^<]*</p>)?',
    re.DOTALL,
)
#: in CSS pixels: a wider figure scrolls on a phone, where it would be too small to read (the book's style sheet)
WIDE = 620
_shown: Counter[str] = Counter()


@dataclass(frozen=True)
class Picture:
    """A finished figure: inline SVG with its description. A notebook shows it where it ends a cell."""

    svg: str
    alt: str
    caption: str | None = None
    png: bytes = b""  #: the same, for viewers that take no SVG; none if empty

    @property
    def html(self) -> str:
        """For a page: the SVG and its caption."""
        return self._html(self.svg)

    def notebook_html(self, note: str = "", still: bool = True) -> str:
        """For a notebook: the PNG and a note appear where the viewer takes the SVG away; without ``still`` nothing does."""
        parts = [f"{_LIVE}{self.svg}</div>{_STYLE_OF_STILLS}"]
        if still and self.png:
            width = re.search(r'<svg [^>]*\bwidth="(\d+)"', self.svg)
            size = f' width="{width[1]}"' if width else ""
            data = base64.b64encode(self.png).decode()
            parts.append(f'<img class="mm-still" alt="{html.escape(self.alt)}"{size} src="data:image/png;base64,{data}">')
        if still and note:
            parts.append(f'<p class="mm-still">{html.escape(note)}</p>')
        return self._html("".join(parts))

    def _html(self, content: str) -> str:
        caption = f"<figcaption>{html.escape(self.caption)}</figcaption>" if self.caption else ""
        return f'<figure class="mm-figure" style="margin:0.5em 0">{content}{caption}</figure>'

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        return bundle(self.notebook_html(), repr(self), self.png)

    def __repr__(self) -> str:
        return f"Figure: {self.alt}"


def bundle(page: str, text: str, png: bytes) -> dict[str, Any]:
    """What a notebook keeps of a figure: HTML, the PNG for converters that know no HTML, and text."""
    image = {"image/png": base64.b64encode(png).decode()} if png else {}
    return {"text/html": page, **image, "text/plain": text}


def without_stills(page: str) -> str:
    """HTML that a notebook kept, as the book shows it: without the PNGs for viewers that take no SVG."""
    return _STILLS.sub(r"\1", page)


def check_alt(alt: Any) -> str:
    """``alt`` without outer blanks; ValueError if it says nothing."""
    if not isinstance(alt, str) or not alt.strip():
        raise ValueError(f"alt: expected a sentence that says what the figure shows, found {alt!r}")
    return alt.strip()


def inline(svg: str, alt: str) -> str:
    """What matplotlib writes for a file, made fit to stand inside a page."""
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->|<style\b.*?</style>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r"#(?:010203|000000)\b|\bblack\b(?=[;\"])", "currentColor", svg)
    svg = re.sub(r" ?font-family: [^;\"]*;?", "", svg)  # the reader's own font, set once below
    # ids that nothing refers to go; the others must differ between all figures of a page
    digest = hashlib.sha256((svg + alt).encode()).hexdigest()[:8]
    _shown[digest] += 1
    prefix = f"m{digest}" + (f"-{_shown[digest]}" if _shown[digest] > 1 else "")
    used = set(re.findall(r"url\(#([^)]+)\)|href=\"#([^\"]+)\"", svg))
    names = {name: f"{prefix}-{i}" for i, name in enumerate(sorted({a or b for a, b in used}))}
    svg = re.sub(r' id="([^"]+)"', lambda m: f' id="{names[m[1]]}"' if m[1] in names else "", svg)
    svg = re.sub(r"url\(#([^)]+)\)", lambda m: f"url(#{names[m[1]]})", svg)
    svg = re.sub(r"href=\"#([^\"]+)\"", lambda m: f'href="#{names[m[1]]}"', svg)
    svg = compact(svg)
    head, body = svg[: svg.index(">") + 1], svg[svg.index(">") + 1 :]
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', head)
    assert box is not None, "matplotlib wrote an SVG without a viewBox"
    width, height = (round(float(v) * 4 / 3) for v in box.groups())  # points to CSS pixels
    wide = ' class="mm-wide"' if width > WIDE else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg"{wide} {box[0]} '
        f'width="{width}" height="{height}" role="img" aria-label="{html.escape(alt)}" fill="currentColor" style="{_STYLE}">'
        f"{body}"
    )
