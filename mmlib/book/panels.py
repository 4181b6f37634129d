"""What panels are made of: rows of intervals or of runs, curves with a band, tables of cells, labels at the ends of lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mmlib.book.inline_svg import INK
from mmlib.book.looks import ABOVE, BELOW, LOOKS, look, text_on

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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


def _same_length(n: int, **arrays: Any) -> list[Any]:
    out = []
    for name, values in arrays.items():
        array = np.asarray(values, float)
        if array.shape != (n,):
            raise ValueError(f"{name}: expected shape [{n}], found {list(array.shape)}")
        out.append(array)
    return out
