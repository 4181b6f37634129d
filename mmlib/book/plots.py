"""One style for every figure: a colour, a marker and a line style per modality, drawn for light and dark pages.

Figures are shown as inline SVG whose ink is ``currentColor``: one output reads well in the book's light and dark
theme, in JupyterLab and on Colab. Where a notebook is not trusted, and its SVG is taken away, a PNG appears instead.
Every figure says in words what it shows. matplotlib is imported when first used.

A chapter calls `use` once, draws with matplotlib and the helpers below, and ends a cell with
``show(fig, alt="What one sees, in words.")``.

House style: a colour belongs to a modality or to a method, in every chapter the same one. What is neither (a setting, a
group of methods, a choice of normalisation) is drawn in ink, and told apart by its marker, by open and filled marks or by
dashes. In a table of cells blue is above and orange below (`heatmap`, `ABOVE`, `BELOW`, `LEVEL`). Lines are labelled where
they end (`label_ends`); a legend remains where lines overlap or panels share it.
"""

from __future__ import annotations

import io
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from mmlib.book.inline_svg import INK, Picture, check_alt, inline
from mmlib.book.looks import ABOVE, BELOW, COLOURS, FALLBACK, LEVEL, LOOKS, Look, colour, contrast, look, luminance, text_on
from mmlib.book.panels import curves, heatmap, interval_bars, label_ends, run_dots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: what chapters call, with what stands in `mmlib.book.looks` and `mmlib.book.panels`
__all__ = [
    "ABOVE", "BELOW", "COLOURS", "INK", "LEVEL", "LOOKS", "Look", "colour", "contrast", "curves", "heatmap", "interval_bars",
    "label_ends", "look", "luminance", "picture", "rc", "run_dots", "show", "style", "text_on", "use",
]  # fmt: skip


STILL_DPI = 144  #: of the PNG: one and a half pixels for each of CSS


def rc() -> dict[str, Any]:
    """The settings of `style` and `use`, for `matplotlib.rcParams`."""
    from cycler import cycler

    ink = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "grid.color", "hatch.color")
    return {
        **dict.fromkeys(ink, INK),
        "axes.prop_cycle": cycler(color=[lk.colour for lk in (*LOOKS.values(), *FALLBACK) if lk.colour != INK]),
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": "medium",
        "axes.titlelocation": "left",
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.alpha": 0.15,
        "grid.linewidth": 0.8,
        "figure.figsize": (5.0, 3.1),  # narrow, so that the text stays readable when a phone scales it down
        "figure.constrained_layout.use": True,
        "font.size": 11.0,
        "legend.frameon": False,
        "legend.fontsize": "small",
        "lines.linewidth": 1.8,
        "lines.markersize": 5.5,
        "svg.fonttype": "none",  # text stays text: it can be searched and takes the reader's font
        "svg.hashsalt": "mmlib",  # ids do not change from run to run
    }


def style() -> AbstractContextManager[None]:
    """A context in which figures are drawn in the book's style: ``with style(): ...``."""
    import matplotlib

    settings: Any = rc()  # matplotlib's own type lists every key
    return matplotlib.rc_context(settings)


def use() -> None:
    """Draw every figure from here on in the book's style."""
    import matplotlib

    settings: Any = rc()
    matplotlib.rcParams.update(settings)


def picture(fig: Figure, alt: str, caption: str | None = None, close: bool = True, still: bool = True) -> Picture:
    """Render a figure once, for `show` and for `mmlib.book.widgets.frames`.

    Args:
        fig: a matplotlib figure.
        alt: what the figure shows, in words, for readers who do not see it.
        caption: a line of text under the figure.
        close: close the figure, so that a notebook does not show it a second time.
        still: also keep a PNG, for viewers that take no SVG: notebooks that JupyterLab does not trust, converters.

    Raises:
        ValueError: ``alt`` is empty.
    """
    import matplotlib

    alt = check_alt(alt)
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "mmlib"}):
        fig.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    png = _png(fig) if still else b""
    if close:
        import matplotlib.pyplot as plt

        plt.close(fig)
    return Picture(inline(buffer.getvalue(), alt), alt, caption, png)


def _png(fig: Figure) -> bytes:
    """The figure on white, since its ink cannot follow the page; few colours, so that notebooks stay small."""
    from PIL import Image

    drawn, small = io.BytesIO(), io.BytesIO()
    fig.savefig(drawn, format="png", dpi=STILL_DPI, facecolor="white", metadata={"Software": None})
    with Image.open(drawn) as image:
        image.convert("RGB").quantize(64).save(small, format="png", optimize=True)
    return small.getvalue()


def show(fig: Figure, alt: str, caption: str | None = None) -> None:
    """Show a figure under the cell, as SVG that suits light and dark pages. Arguments as in `picture`."""
    from IPython.display import display

    display(picture(fig, alt, caption))
