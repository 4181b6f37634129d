"""Drawings of networks, for the chapters, and the pictures of the book's first page and of links to it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mmlib.book.inline_svg import INK, Picture
from mmlib.book.plots import colour, interval_bars, picture, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def _box(ax: Axes, x: float, y: float, width: float, height: float, text: str, edge: str = INK) -> None:
    from matplotlib.patches import FancyBboxPatch

    corner, shape = (x - width / 2, y - height / 2), "round,pad=0.04"
    ax.add_patch(FancyBboxPatch(corner, width, height, boxstyle=shape, facecolor="none", edgecolor=edge))
    ax.text(x, y, text, ha="center", va="center", fontsize="small")


def _arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float], edge: str = INK, dashed: bool = False) -> None:
    line = {"arrowstyle": "-|>", "color": edge, "linestyle": (0, (3, 2)) if dashed else "-", "shrinkA": 0, "shrinkB": 0}
    ax.annotate("", end, start, arrowprops=line)


def joint_training(modalities: Sequence[str]) -> Figure:
    """Joint training: one encoder per modality, one head, one loss whose gradient (dashed) goes back to all."""
    import matplotlib.pyplot as plt

    with style():
        fig, ax = plt.subplots(figsize=(6.2, 0.9 * len(modalities) + 0.4))
        middle = (len(modalities) - 1) / 2
        for i, name in enumerate(modalities):
            y = len(modalities) - 1 - i
            ax.text(0, y, name, ha="center", va="center", color=colour(name), weight="bold")
            _arrow(ax, (0.45, y), (0.9, y), colour(name))
            _box(ax, 1.5, y, 1.1, 0.5, "encoder", colour(name))
            towards = middle + 0.18 * (y - middle)
            _arrow(ax, (2.15, y + 0.1), (3.05, towards + 0.1), colour(name))
            _arrow(ax, (3.05, towards - 0.1), (2.15, y - 0.1), colour(name), dashed=True)
        _box(ax, 3.6, middle, 1.0, 0.9, "fusion\nand head")
        _arrow(ax, (4.2, middle + 0.1), (4.75, middle + 0.1))
        _arrow(ax, (4.75, middle - 0.1), (4.2, middle - 0.1), dashed=True)
        _box(ax, 5.3, middle, 1.0, 0.6, "one loss")
        ax.set(xlim=(-0.5, 6.0), ylim=(-0.5, len(modalities) - 0.5))
        ax.axis("off")
    return fig


def shared_training(processes: int = 2) -> Figure:
    """Several processes, one batch: each encodes its samples; features (solid) are exchanged, and all that follows is the same in
    every process. Gradients (dashed) of the features go back to whoever encoded them; those of the weights are summed."""
    import matplotlib.pyplot as plt

    with style():
        fig, ax = plt.subplots(figsize=(6.6, 1.25 * processes + 0.5))
        whole = "fusion, heads,\nloss, method:\nthe whole batch"
        for i in range(processes):
            y = 1.3 * (processes - 1 - i)
            ax.text(0.1, y, f"samples of\nprocess {i + 1}", ha="center", va="center", fontsize="small")
            _arrow(ax, (0.62, y), (1.0, y))
            _box(ax, 1.55, y, 1.0, 0.62, "encoders")
            _box(ax, 5.4, y, 1.3, 0.8, whole)
            for j in range(processes):
                target = 1.3 * (processes - 1 - j)
                _arrow(ax, (2.12, y + 0.1), (4.68, target + 0.1 - 0.06 * (j - i)))
            _arrow(ax, (4.68, y - 0.22), (2.12, y - 0.22), dashed=True)
        ax.annotate(
            "", (1.55, 0.36), (1.55, 1.3 * (processes - 1) - 0.36),
            arrowprops={"arrowstyle": "<|-|>", "color": INK, "linestyle": (0, (3, 2))},
        )  # fmt: skip
        ax.text(1.48, 0.65 * (processes - 1), "gradients of weights\nare summed", ha="right", va="center", fontsize="small")
        ax.text(3.4, 1.3 * (processes - 1) + 0.42, "features are exchanged", ha="center", va="center", fontsize="small")
        ax.set(xlim=(-0.5, 6.2), ylim=(-0.55, 1.3 * (processes - 1) + 0.6))
        ax.axis("off")
    return fig


def hook(caption: str | None = None) -> Picture:
    """The figure of the introduction, from the stored result `naive_fusion`: one modality each against three at once."""
    import matplotlib.pyplot as plt

    from mmlib.book import results

    stored = results.load("naive_fusion")
    rows = {"image": "image alone", "text": "text alone", "audio": "audio alone", "joint": "joint, concat"}
    shown = ["handwriting alone", "written word alone", "voice alone", "all three, one network"]
    score = {look: stored.interval(label) for look, label in rows.items()}
    with style():
        fig, ax = plt.subplots(figsize=(6.2, 2.5))
        mean, low, high = zip(*score.values(), strict=True)
        interval_bars(ax, shown, mean, low, high, looks=list(rows), reference=score["image"].mean)
        ax.set(xlabel="test accuracy on people and languages never met", xlim=(0.4, 1))
        alt = "; ".join(f"{name} {100 * score[look].mean:.0f} %" for name, look in zip(shown, rows, strict=True))
        return picture(fig, f"Test accuracy: {alt}. All three modalities in one network are worse than the handwriting.", caption)


def cover() -> bytes:
    """The picture that stands beside a link to the book: a PNG of 1200 x 630 pixels, from the stored result `naive_fusion`."""
    import matplotlib.pyplot as plt

    from mmlib.book import results

    stored = results.load("naive_fusion")
    rows = {"image": "image alone", "text": "text alone", "audio": "audio alone", "joint": "joint, concat"}
    shown = ["handwriting alone", "written word alone", "voice alone", "all three,\none network"]
    with style():
        fig, ax = plt.subplots(figsize=(12, 6.3), layout="none")
        ax.set_position((0.25, 0.15, 0.7, 0.52))
        mean, low, high = zip(*(stored.interval(label) for label in rows.values()), strict=True)
        interval_bars(ax, shown, mean, low, high, looks=list(rows), reference=mean[0], fmt=None)
        for line in ax.lines:
            line.set_linewidth(2.5 * line.get_linewidth())
            line.set_markersize(2.2 * line.get_markersize())
        ax.tick_params(labelsize=19)
        ax.set_xlabel("test accuracy on people and languages never met", fontsize=17)
        ax.set_xlim(0.4, 1)
        fig.text(0.03, 0.87, "Balanced multimodal learning", fontsize=37, weight="bold")
        fig.text(0.03, 0.77, "More senses, worse network: why, and what helps. An executable book.", fontsize=21)
        buffer = io.BytesIO()
        fig.savefig(buffer, format="png", dpi=100, facecolor="white", metadata={"Software": None})
        plt.close(fig)
    return buffer.getvalue()
