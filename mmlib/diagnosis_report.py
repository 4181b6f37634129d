"""A diagnosis as a figure and as a page of its own."""

from __future__ import annotations

import html
import io
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mmlib.diagnosis import Diagnosis

#: column of `mmlib.diagnosis.Diagnosis.frame` -> what it says in a page
COLUMNS = {
    "alone": "accuracy alone",
    "train_alone": "the same on training data",
    "ogr": "overfitting-to-generalisation ratio",
    "in_joint": "accuracy of its share of the joint head",
    "probe_alone": "linear probe, trained alone",
    "probe_joint": "linear probe, trained jointly",
    "without": "joint training where it is missing",
    "length_start": "length of features at the start",
    "length": "length of features at the end",
    "ratio": "discrepancy ratio",
    "gradient": "norm of its encoder's gradient",
}
STYLE = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
th, td { padding: .3rem .8rem; border-bottom: 1px solid #8888; text-align: right; }
th:first-child, td:first-child { text-align: left; }
figure { margin: 1.5rem 0; background: #fff; padding: .5rem; max-width: 40rem; }
svg { width: 100%; height: auto; }
"""


def draw(found: Diagnosis) -> Figure:
    """Three panels: the accuracy of the networks with their intervals; each modality alone on training and on new data; the
    length of its features before and after joint training."""
    import matplotlib.pyplot as plt
    from matplotlib.ticker import LogLocator

    names, networks = list(found.modalities), list(found.networks)
    tall = [0.9 + 0.3 * len(networks), *(2 * [0.9 + 0.3 * len(names)])]
    fig, (top, *below) = plt.subplots(3, 1, figsize=(6.4, sum(tall)), height_ratios=tall, layout="constrained")
    blue, red = "#0072B2", "#D55E00"
    for y, interval in enumerate(found.networks.values()):
        top.plot([interval.low, interval.high], [y, y], color=blue, linewidth=3, alpha=0.5)
        top.plot(interval.mean, y, "D", color=blue)
    top.set_yticks(range(len(networks)), networks)
    top.set(xlabel="validation accuracy", title="The networks", ylim=(len(networks) - 0.5, -0.5))
    panels = (
        ("train_alone", "alone", "training data", "new data", "Each modality alone", "accuracy"),
        ("length_start", "length", "before", "after", "Features in joint training", "mean length"),
    )
    for ax, (first, second, one, two, title, what) in zip(below, panels, strict=True):
        before, after = ([found.modalities[m][column] for m in names] for column in (first, second))
        ax.hlines(range(len(names)), before, after, color="#777380", linewidth=1)
        ax.plot(before, range(len(names)), "o", color=red, markerfacecolor="none", label=one)
        ax.plot(after, range(len(names)), "o", color=blue, label=two)
        ax.set(title=title, xlabel=what, ylim=(len(names) - 0.5, -0.5))
        ax.set_yticks(range(len(names)), names)
        ax.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
        if what == "mean length" and min(*before, *after) > 0:
            ax.set_xscale("log")
            ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            ax.xaxis.set_major_formatter("{x:g}")
            ax.minorticks_off()
    return fig


def write_html(found: Diagnosis, path: str | os.PathLike[str], title: str = "Diagnosis", overwrite: bool = False) -> Path:
    """A page that needs no other file: the finding, its reasons, what to try first, figure and tables.

    Raises:
        FileExistsError: the file is there, and ``overwrite`` is not set.
    """
    import matplotlib.pyplot as plt

    to = Path(path)
    if to.exists() and not overwrite:
        raise FileExistsError(f"path: {to} exists; pass overwrite=True, or give another name")
    fig = draw(found)
    stream = io.StringIO()
    fig.savefig(stream, format="svg", metadata={"Date": None})
    plt.close(fig)
    svg = stream.getvalue()
    svg = svg[svg.index("<svg") :].replace("<svg", '<svg role="img" aria-label="The numbers of the tables below, drawn"', 1)
    how = f"Validation accuracy of {found.samples} samples, mean of {found.seeds} seeds; 95 % intervals over samples and seeds."
    accuracies = [[name, f"{i.mean:.3f}", f"{i.low:.3f} to {i.high:.3f}"] for name, i in found.networks.items()]
    gains = [[name, *i.points.rstrip(")").split(" points (")] for name, i in found.gains.items()]
    evidence = [[COLUMNS[c], *(_number(e[c]) for e in found.modalities.values())] for c in COLUMNS]
    body = [
        f"<h1>{html.escape(title)}</h1>",
        f"<p><strong>Finding: {found.finding}.</strong></p>",
        "<ul>" + "".join(f"<li>{html.escape(reason)}</li>" for reason in found.reasons) + "</ul>",
        f"<p>Try first: {html.escape(found.first)}.</p>",
        f"<figure>{svg}</figure>",
        "<h2>Networks</h2>",
        _table(["network", "accuracy", "95 % interval"], accuracies),
        f"<p>{how}</p>",
        "<h2>Against joint training</h2>",
        _table(["network", "points", "95 % interval"], gains),
        "<h2>Modalities</h2>",
        _table(["", *found.modalities], evidence),
    ]
    page = (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head>\n<body>\n'
    )
    to.write_text(page + "\n".join(body) + "\n</body></html>\n", encoding="utf-8")
    return to


def _number(x: float) -> str:
    return "–" if math.isnan(x) else "∞" if math.isinf(x) else f"{x:.3g}"


def _table(head: list[str], lines: list[list[str]]) -> str:
    first = "".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in head)
    rest = "".join(
        f'<tr><th scope="row">{html.escape(line[0])}</th>' + "".join(f"<td>{html.escape(c)}</td>" for c in line[1:]) + "</tr>"
        for line in lines
    )
    return f"<table><thead><tr>{first}</tr></thead><tbody>{rest}</tbody></table>"
