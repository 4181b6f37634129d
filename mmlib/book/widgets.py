"""A slider over pictures made beforehand: it moves in a static page without a kernel, and in live notebooks.

The output is plain HTML: a range input, the pictures as inline SVG, and one line of script in the input itself. It needs
no library, so it works from a file, on a site, in JupyterLab and on Colab, with mouse, touch and keyboard. A notebook
that JupyterLab does not trust shows the picture at the start, as a PNG, and says what makes the slider move.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mmlib.book.inline_svg import Picture, bundle, check_alt
from mmlib.book.plots import picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Everything is found from the input upwards: no ids, so any number of sliders can share a page.
_MOVE = (
    "const w=this.closest('.mm-frames'),f=w.querySelectorAll('.mm-frame'),i=+this.value;"
    "f.forEach((e,k)=>{e.hidden=k!==i});const t=f[i].dataset.label;"
    "w.querySelector('output').textContent=t;this.setAttribute('aria-valuetext',t)"
)

_NOTE = "The slider moves once the notebook is trusted (JupyterLab: File, Trust Notebook) or its cells have been run."


@dataclass(frozen=True)
class Frames:
    """Pictures behind a slider, as made by `frames`; a notebook shows it where it ends a cell."""

    pictures: tuple[Picture, ...]
    labels: tuple[str, ...]
    name: str
    start: int

    @property
    def html(self) -> str:
        """For a page."""
        return self._html([pic.html for pic in self.pictures])

    def notebook_html(self) -> str:
        """For a notebook: where scripts and SVG are taken away, the picture at the start is left."""
        return self._html([pic.notebook_html(_NOTE, still=i == self.start) for i, pic in enumerate(self.pictures)])

    def _html(self, pictures: Sequence[str]) -> str:
        label, last = html.escape(self.labels[self.start]), len(self.pictures) - 1
        shown = "".join(
            f'<div class="mm-frame" data-label="{html.escape(text)}"{"" if i == self.start else " hidden"}>{pic}</div>'
            for i, (pic, text) in enumerate(zip(pictures, self.labels, strict=True))
        )
        return (
            f'<div class="mm-frames"><label style="display:block">{html.escape(self.name)}: '
            f'<output aria-live="polite" style="font-weight:bold">{label}</output>'
            f'<input type="range" min="0" max="{last}" step="1" value="{self.start}" autocomplete="off" '
            f'aria-label="{html.escape(self.name)}" aria-valuetext="{label}" oninput="{html.escape(_MOVE)}" '
            f'style="display:block;width:100%;max-width:34em;margin:0.4em 0;cursor:pointer"></label>{shown}</div>'
        )

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        return bundle(self.notebook_html(), repr(self), self.pictures[self.start].png)

    def __repr__(self) -> str:
        rows = [f"  {text}: {pic.alt}" for text, pic in zip(self.labels, self.pictures, strict=True)]
        return "\n".join([f"Slider over {self.name}", *rows])


def frames(
    figures: Sequence[Figure | Picture], labels: Sequence[object], alt: str | Sequence[str], name: str = "step", start: int = 0
) -> Frames:
    """A slider that shows one of several figures.

    Args:
        figures: K matplotlib figures of one size, or K results of `mmlib.book.plots.picture`.
        labels: K texts or numbers, what the slider says at each position.
        alt: what the figures show, in words: one sentence for all, to which the label is added, or one per figure.
        name: what the slider moves through, such as "epoch".
        start: the position shown first, 0 to K - 1.

    Raises:
        ValueError: no figures, labels or descriptions of another number, an empty description, a start outside.
    """
    if not figures:
        raise ValueError("figures: expected at least one, found none")
    texts = tuple(str(label) for label in labels)
    if len(texts) != len(figures):
        raise ValueError(f"labels: expected {len(figures)}, one per figure, found {len(texts)}")
    if not name.strip():
        raise ValueError(f"name: expected what the slider moves through, found {name!r}")
    alts = [f"{check_alt(alt)} ({name}: {text})" for text in texts] if isinstance(alt, str) else list(alt)
    if len(alts) != len(figures):
        raise ValueError(f"alt: expected one text or {len(figures)}, one per figure, found {len(alts)}")
    if not 0 <= start < len(figures):
        raise ValueError(f"start: expected 0 to {len(figures) - 1}, found {start}")
    pairs = enumerate(zip(figures, alts, strict=True))
    made = tuple(f if isinstance(f, Picture) else picture(f, a, still=i == start) for i, (f, a) in pairs)
    return Frames(made, texts, name, start)
