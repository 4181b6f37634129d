"""What matplotlib writes for a file, made fit to stand inside a page: ink that follows the page, ids that do not clash.

`mmlib.book.plots` is the module to use; this one holds its string work.
"""

from __future__ import annotations

import hashlib
import html
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

#: The colour of text and axes while a figure is drawn; `mmlib.book.plots.picture` turns it, and black, into ``currentColor``.
INK = "#010203"

# As wide as drawn, narrower where the page is. The line joins are those of matplotlib's style sheet, which would leak out.
_STYLE = (
    "max-width:100%;height:auto;overflow:visible;background:none;font-family:system-ui,'DejaVu Sans',sans-serif;"
    "stroke-linejoin:round;stroke-linecap:butt"
)
_shown: Counter[str] = Counter()


@dataclass(frozen=True)
class Picture:
    """A finished figure: inline SVG with its description. A notebook shows it where it ends a cell."""

    svg: str
    alt: str
    caption: str | None = None

    @property
    def html(self) -> str:
        caption = f"<figcaption>{html.escape(self.caption)}</figcaption>" if self.caption else ""
        return f'<figure class="mm-figure" style="margin:0.5em 0">{self.svg}{caption}</figure>'

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return f"Figure: {self.alt}"


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
    # two decimals of a point are enough, and half the size
    svg = re.sub(r'(?<= d=")[^"]*', lambda m: re.sub(r"\d+\.\d{3,}", lambda n: f"{float(n[0]):.2f}", m[0]), svg)
    svg = re.sub(r"\s*\n\s*", " ", re.sub(r">\s+<", "><", svg)).strip()
    head, body = svg[: svg.index(">") + 1], svg[svg.index(">") + 1 :]
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', head)
    assert box is not None, "matplotlib wrote an SVG without a viewBox"
    width, height = (round(float(v) * 4 / 3) for v in box.groups())  # points to CSS pixels
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" {box[0]} '
        f'width="{width}" height="{height}" role="img" aria-label="{html.escape(alt)}" fill="currentColor" style="{_STYLE}">'
        f"{body}"
    )
