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
    "phone": Look("#0089A8", "o", "-", "//"),
    "watch": Look("#9A28F0", "s", "--", "\\\\"),
    "phone_accel": Look("#0089A8", "o", "-", "//"),
    "phone_gyro": Look("#CC2E62", "s", "--", "\\\\"),
    "watch_accel": Look("#8C7607", "^", "-.", ".."),
    "watch_gyro": Look("#9A28F0", "p", (0, (3, 1, 1, 1)), "++"),
    "gradient_blending": Look("#0089A8", "<", "-", "//"),
    "ogm": Look("#6F7F00", "p", "-.", ".."),
    "ogm_ge": Look("#C4405A", ">", "--", "\\\\"),
    "mla": Look("#8A6FC0", "h", (0, (5, 1)), "oo"),
    "modality_dropout": Look("#CC0A2B", "X", "--", "++"),
    "alternating": Look("#C66DF2", "d", (0, (5, 1)), "--"),
}
COLOURS: dict[str, str] = {name: look.colour for name, look in LOOKS.items()}
_FALLBACK = [
    Look("#D43DF2", "*", "-", "//"),
    Look("#806020", "H", "--", "\\\\"),
    Look("#F20C7F", "8", "-.", ".."),
    Look("#5C5CCC", "d", ":", "oo"),
    Look("#1D7356", "X", (0, (8, 1.5)), "xx"),
]
#: What a cell says of a difference, and its colour: the ends of `heatmap`.
ABOVE, BELOW, LEVEL = "#005A8F", "#A34700", "#777380"
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


def run_dots(
    ax: Axes,
    labels: Sequence[str],
    values: Sequence[Any],
    *,
    looks: Sequence[str],
    hollow: Sequence[str] = (),
    sort: bool = True,
    reference: float | None = None,
) -> None:
    """Every run as a dot, one row per label, with a bar at their mean: what an interval does not show. The largest on top.

    Args:
        labels: K names for the rows.
        values: K sequences of numbers, one number per run; rows may differ in length.
        looks: K names of modalities or methods whose colour and marker to use.
        hollow: labels whose marks are open.
        sort: order by the mean; otherwise the first label is on top.
        reference: a value to compare with, drawn as a dashed line.

    Raises:
        ValueError: lengths that disagree, or a row without runs.
    """
    rows = [np.asarray(v, float) for v in values]
    if not len(labels) == len(rows) == len(looks):
        raise ValueError(f"values, looks: expected {len(labels)} each, one per label, found {len(rows)} and {len(looks)}")
    for name, row in zip(labels, rows, strict=True):
        if row.ndim != 1 or not row.size:
            raise ValueError(f"values: expected a sequence of numbers for {name!r}, found shape {list(row.shape)}")
    means = np.array([row.mean() for row in rows])
    order = np.argsort(means, kind="stable") if sort else np.arange(len(labels))[::-1]
    if reference is not None:
        ax.axvline(reference, color=INK, linestyle=(0, (4, 3)), linewidth=1, alpha=0.6)
    for y, i in enumerate(order):
        lk = look(looks[i])
        fill = "none" if labels[i] in hollow else lk.colour
        style: dict[str, Any] = {"marker": lk.marker, "color": lk.colour, "markerfacecolor": fill, "alpha": 0.65}
        ax.plot(rows[i], np.full(rows[i].size, y), linestyle="none", markersize=5, **style)
        ax.plot(means[i], y, "|", color=INK, markersize=16, markeredgewidth=2)
    ax.set_yticks(range(len(labels)), [labels[i] for i in order])
    ax.set_ylim(-0.6, len(labels) - 0.4)
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


def label_ends(ax: Axes, names: dict[str, str] | None = None, gap: float = 11.0) -> None:
    """Write the label of every line beside its last point, in the place of a legend; call it when the panel is drawn.

    Labels keep ``gap`` points between their middles: where ends are close, the labels move apart as little as they can, and
    a thin line in the colour of the curve leads to each.

    Args:
        names: other words for some labels.
        gap: in points; a small print of 9 points needs 11.

    Raises:
        ValueError: no line of the panel has a label.
    """
    lines = [line for line in ax.get_lines() if not str(line.get_label()).startswith("_")]
    if not lines:
        raise ValueError("label_ends: expected lines with a label, found none")
    fig = ax.figure.get_figure(root=True)
    assert fig is not None
    fig.draw_without_rendering()  # settles the layout, so that distances on the page are known
    points = 72 / fig.dpi
    ends = [np.asarray(line.get_xydata(), float) for line in lines]
    ends = [xy[np.isfinite(xy).all(1)][-1] for xy in ends]
    heights = [float(ax.transData.transform(end)[1]) * points for end in ends]
    edge = float(ax.get_window_extent().x1) * points
    for line, end, height, place in zip(lines, ends, heights, spread(heights, gap), strict=True):
        beyond = max(0.0, edge - float(ax.transData.transform(end)[0]) * points) + 7
        label = str(line.get_label())
        moved = abs(place - height) > 2
        lead = {"arrowstyle": "-", "color": line.get_color(), "linewidth": 0.8, "shrinkA": 0, "shrinkB": 2} if moved else None
        ax.annotate(
            (names or {}).get(label, label),
            (float(end[0]), float(end[1])),
            (beyond + (5 if moved else 0), place - height),
            textcoords="offset points",
            va="center",
            fontsize="small",
            annotation_clip=False,
            arrowprops=lead,
        )


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """Places in the order of ``heights``, at least ``gap`` apart, moved by as little as they can (least squares)."""
    order = np.argsort(heights, kind="stable")
    # isotonic regression by pooling: a pool keeps the mean of what its members would like, less their steps of a gap
    pools: list[tuple[float, int]] = []
    for k, i in enumerate(order):
        pools.append((heights[i] - k * gap, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (a, n), (b, m) = pools[-2:]
            pools[-2:] = [((a * n + b * m) / (n + m), n + m)]
    free = [mean for mean, n in pools for _ in range(n)]
    places = [0.0] * len(order)
    for k, i in enumerate(order):
        places[i] = free[k] + k * gap
    return places


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
    stops = [BELOW, "#E79B5C", "#F7F5F2", "#6FACD5", ABOVE]
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
