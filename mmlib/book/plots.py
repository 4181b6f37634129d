"""One style for every figure: a colour, a marker and a line style per modality, drawn for light and dark pages.

Figures are shown as inline SVG whose ink is ``currentColor``: one output reads well in the book's light and dark
theme, in JupyterLab and on Colab. Where a notebook is not trusted, and its SVG is taken away, a PNG appears instead.
Every figure says in words what it shows. matplotlib is imported when first used.

A chapter calls `use` once, draws with matplotlib and the helpers below, and ends a cell with
``show(fig, alt="What one sees, in words.")``.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mmlib.book.inline_svg import INK, Picture, check_alt, inline

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Look:
    """How a modality or a method is drawn: told apart by hue and, in grey print, by marker, dashes or hatching."""

    colour: str
    marker: str
    dashes: Any  #: a matplotlib line style
    hatch: str


#: Every colour has at least 3:1 against white and against the dark pages, and the modalities of one data set stay apart
#: under protanopia, deuteranopia and tritanopia (tests/test_plots.py). Blue and vermillion are Okabe and Ito's. Colours
#: that suit both backgrounds are about equally light: grey print relies on marker, dashes and hatching.
LOOKS: dict[str, Look] = {
    "image": Look("#0072B2", "o", "-", "//"),
    "audio": Look("#D55E00", "s", "--", "\\\\"),
    "text": Look("#9A28F0", "^", "-.", ".."),
    "fast": Look("#A88400", "o", "-", "//"),
    "slow": Look("#5F6CF2", "s", "--", "\\\\"),
    "video": Look("#C2409C", "^", "-.", ".."),
    "joint": Look(INK, "D", (0, (8, 1.5)), "xx"),
    "late_fusion": Look("#B37558", "P", ":", "oo"),
    "best_single": Look("#777380", "v", (0, (3, 1, 1, 1, 1, 1)), ""),
    "gradient_blending": Look("#0089A8", "<", "-", "//"),
    "ogm": Look("#6F7F00", "p", "-.", ".."),
    "ogm_ge": Look("#C4405A", ">", "--", "\\\\"),
    "mla": Look("#8A6FC0", "h", (0, (5, 1)), "oo"),
}
COLOURS: dict[str, str] = {name: look.colour for name, look in LOOKS.items()}
_FALLBACK = [
    Look("#0089A8", "<", "-", "//"),
    Look("#C4405A", ">", "--", "\\\\"),
    Look("#6F7F00", "p", "-.", ".."),
    Look("#8A6FC0", "h", ":", "oo"),
    Look("#A06A2C", "*", (0, (8, 1.5)), "xx"),
]
_others: dict[str, Look] = {}
STILL_DPI = 144  #: of the PNG: one and a half pixels for each of CSS


def look(name: str) -> Look:
    """The look of a modality or method; a name without one gets the next of a cycle and keeps it in this process."""
    if name in LOOKS:
        return LOOKS[name]
    return _others.setdefault(name, _FALLBACK[len(_others) % len(_FALLBACK)])


def colour(name: str) -> str:
    """The colour of a modality or method, as in `look`."""
    return look(name).colour


def rc() -> dict[str, Any]:
    """The settings of `style` and `use`, for `matplotlib.rcParams`."""
    from cycler import cycler

    ink = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "grid.color", "hatch.color")
    return {
        **dict.fromkeys(ink, INK),
        "axes.prop_cycle": cycler(color=[lk.colour for lk in (*LOOKS.values(), *_FALLBACK) if lk.colour != INK]),
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


def interval_bars(
    ax: Axes,
    labels: Sequence[str],
    centre: Any,
    low: Any,
    high: Any,
    *,
    looks: Sequence[str] | None = None,
    sort: bool = True,
    reference: float | None = None,
    fmt: str | None = "{:.2f}",
) -> None:
    """Points with their interval, one row per label, the largest on top.

    Args:
        labels: K names for the rows.
        centre, low, high: [K]; the mean and the ends of its 95 % interval.
        looks: K names of modalities or methods whose colour and marker to use; ink without them.
        sort: order by ``centre``; otherwise the first label is on top.
        reference: a value to compare with, drawn as a dashed line.
        fmt: how the mean is printed beside its point; None prints nothing.

    Raises:
        ValueError: lengths that disagree.
    """
    centre, low, high = _same_length(len(labels), centre=centre, low=low, high=high)
    if looks is not None and len(looks) != len(labels):
        raise ValueError(f"looks: expected {len(labels)} names, one per label, found {len(looks)}")
    order = np.argsort(centre, kind="stable") if sort else np.arange(len(labels))[::-1]
    if reference is not None:
        ax.axvline(reference, color=INK, linestyle=(0, (4, 3)), linewidth=1, alpha=0.6)
    for row, i in enumerate(order):
        lk = look(looks[i]) if looks is not None else LOOKS["joint"]
        ax.plot([low[i], high[i]], [row, row], color=lk.colour, linewidth=2.2, solid_capstyle="butt")
        ax.plot([centre[i]], [row], color=lk.colour, marker=lk.marker, markersize=7)
        if fmt is not None:
            text = fmt.format(centre[i])
            ax.annotate(text, (centre[i], row), (0, 6), textcoords="offset points", ha="center", fontsize="small")
    ax.set_yticks(range(len(labels)), [labels[i] for i in order])
    ax.set_ylim(-0.6, len(labels) - 0.3)
    ax.grid(False, axis="y")


def curves(
    ax: Axes, x: Any, mean: Any, low: Any = None, high: Any = None, *, label: str, modality: str | None = None, dashes: Any = None
) -> None:
    """A line with a band for its interval.

    Args:
        x, mean: [N].
        low, high: [N]; the ends of the 95 % interval; no band without them.
        label: for the legend.
        modality: the modality or method whose look to use; by default ``label``.
        dashes: a line style instead of the modality's own, such as ":" for training and "-" for validation.

    Raises:
        ValueError: lengths that disagree, or one end of the interval without the other.
    """
    lk = look(modality or label)
    (x, mean) = _same_length(len(x), x=x, mean=mean)
    if (low is None) != (high is None):
        raise ValueError("low, high: expected both ends of the interval or neither, found one")
    if low is not None:
        low, high = _same_length(len(x), low=low, high=high)
        ax.fill_between(x, low, high, color=lk.colour, alpha=0.2, linewidth=0)
    every = max(1, len(x) // 8)
    ax.plot(x, mean, color=lk.colour, linestyle=dashes or lk.dashes, marker=lk.marker, markevery=every, label=label)


def heatmap(
    ax: Axes,
    values: Any,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    fmt: str = "{:+.2f}",
    limit: float | None = None,
    strong: Any = None,
) -> None:
    """A table of cells, orange below zero and blue above, each with its value printed.

    Args:
        values: [R, C]; NaN leaves a cell empty, marked with a dash.
        rows, columns: R and C labels; the first row is on top.
        fmt: how a value is printed.
        limit: the size at which the colour is strongest; by default that of the largest value.
        strong: [R, C] booleans, cells to print in bold with a frame, such as those whose interval excludes zero.

    Raises:
        ValueError: a shape that disagrees with the labels.
    """
    import matplotlib.colors
    from matplotlib.patches import Rectangle

    values, shape = np.asarray(values, float), (len(rows), len(columns))
    bold = np.zeros(shape, bool) if strong is None else np.asarray(strong, bool)
    for name, array in (("values", values), ("strong", bold)):
        if array.shape != shape:
            raise ValueError(f"{name}: expected shape {list(shape)}, as many as rows and columns, found {list(array.shape)}")
    known = np.abs(values[np.isfinite(values)])
    limit = limit or (float(known.max()) if known.size and known.max() > 0 else 1.0)
    # orange to blue through near white: apart under every colour blindness, and both ends dark enough to see in grey
    stops = ["#A34700", "#E79B5C", "#F7F5F2", "#6FACD5", "#005A8F"]
    colours = matplotlib.colors.LinearSegmentedColormap.from_list("orange_blue", stops)
    for (r, c), value in np.ndenumerate(values):
        fill = colours(0.5 + 0.5 * float(np.clip(value / limit, -1, 1))) if np.isfinite(value) else "none"
        ax.add_patch(Rectangle((c - 0.5, r - 0.5), 1, 1, facecolor=fill, edgecolor=fill, linewidth=0.5))
        if bold[r, c]:
            ax.add_patch(Rectangle((c - 0.46, r - 0.46), 0.92, 0.92, facecolor="none", edgecolor=text_on(fill), linewidth=1.4))
        text = fmt.format(value).replace("-", "−") if np.isfinite(value) else "–"
        weight = "bold" if bold[r, c] else "normal"
        ax.text(c, r, text, ha="center", va="center", color=text_on(fill), weight=weight, fontsize="small")
    ax.set(xlim=(-0.5, shape[1] - 0.5), ylim=(shape[0] - 0.5, -0.5))
    ax.set_xticks(range(shape[1]), list(columns))
    ax.set_yticks(range(shape[0]), list(rows))
    ax.tick_params(length=0)
    ax.grid(False)
    ax.spines[:].set_visible(False)


def luminance(colour: Any) -> float:
    """Relative luminance of a colour, 0 (black) to 1 (white); WCAG 2.2."""
    import matplotlib.colors

    channels = np.array(matplotlib.colors.to_rgb(colour))
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ np.array([0.2126, 0.7152, 0.0722]))


def contrast(a: Any, b: Any) -> float:
    """Contrast ratio of two colours, 1 to 21; WCAG 2.2."""
    dark, light = sorted((luminance(a), luminance(b)))
    return (light + 0.05) / (dark + 0.05)


def text_on(background: Any) -> str:
    """The colour of text on a background: near-black or white, whichever reads better; ink on no background."""
    if isinstance(background, str) and background == "none":
        return INK
    return max(("#111111", "#FFFFFF"), key=lambda text: contrast(text, background))


def _same_length(n: int, **arrays: Any) -> list[Any]:
    out = []
    for name, values in arrays.items():
        array = np.asarray(values, float)
        if array.shape != (n,):
            raise ValueError(f"{name}: expected shape [{n}], found {list(array.shape)}")
        out.append(array)
    return out
