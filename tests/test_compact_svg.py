"""A figure in fewer bytes looks the same."""

from __future__ import annotations

import io
import re

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

mpl.use("Agg")
import matplotlib.pyplot as plt

from mmlib.book.compact_svg import compact, path
from mmlib.book.inline_svg import inline

PLACES = st.tuples(*[st.floats(-500, 900, allow_nan=False).map(lambda v: round(v, 4))] * 2)


def points(d: str) -> list[tuple[float, float]]:
    """Where a path of M, L, H, V, Q and C, absolute or relative, and z goes: the end of each piece."""
    tokens = re.findall(r"[a-zA-Z]|-?(?:\d+\.?\d*|\.\d+)", d)
    at, start, out, i, command = (0.0, 0.0), (0.0, 0.0), [], 0, ""
    while i < len(tokens):
        if tokens[i].isalpha():
            command, i = tokens[i], i + 1
        if command in "zZ":
            at = start
            continue
        kind, relative = command.upper(), command.islower()
        take = {"M": 2, "L": 2, "H": 1, "V": 1, "Q": 4, "C": 6}[kind]
        numbers, i = [float(n) for n in tokens[i : i + take]], i + take
        x, y = (at if relative else (0.0, 0.0)) if take > 1 or relative else at
        if kind == "H":
            at = (x + numbers[0] if relative else numbers[0], at[1])
        elif kind == "V":
            at = (at[0], y + numbers[0] if relative else numbers[0])
        else:
            at = (x + numbers[-2], y + numbers[-1])
        if kind == "M":
            start = at
        out.append(at)
    return out


@given(st.lists(PLACES, min_size=2, max_size=30), st.sampled_from([1, 2]))
def test_a_path_goes_where_it_went_and_rounding_does_not_add_up(places: list[tuple[float, float]], digits: int) -> None:
    d = f"M {places[0][0]} {places[0][1]} " + " ".join(f"L {x} {y}" for x, y in places[1:])
    assert np.abs(np.array(points(path(d, digits))) - np.array(places)).max() <= 0.5 * 10**-digits + 1e-9


@given(st.lists(st.tuples(PLACES, PLACES, PLACES), min_size=1, max_size=10))
def test_curves_end_where_they_ended(pieces: list[tuple[tuple[float, float], ...]]) -> None:
    d = "M 1 2 " + " ".join("C " + " ".join(f"{x} {y}" for x, y in piece) for piece in pieces)
    ends = [(1.0, 2.0), *(piece[-1] for piece in pieces)]
    assert np.abs(np.array(points(path(d))) - np.array(ends)).max() <= 0.05 + 1e-9


@pytest.mark.parametrize(
    ("d", "short"),
    [
        ("M 10 20 L 10 25 L 12 25 z", "M10 20v5h2z"),
        ("M 0 0 L 0.04 0.04 ", "M0 0h0"),
        ("M 1 1 L 2 3 L 3 5 L 2 4", "M1 1l1 2 1 2-1-1"),
        ("M -0.5 0.25 Q 1 1 2 2 L 3 4", "M-.5 .2q1.5 .8 2.5 1.8l1 2"),
        ("M 1 1 L 2 2 z M 5 5 L 6 6", "M1 1l1 1zM5 5l1 1"),
        ("M 1e2 1 L 1.5e2 2", "M100 1l50 1"),
    ],
)
def test_paths_by_hand(d: str, short: str) -> None:
    assert path(d) == short


def test_what_is_no_such_path_is_an_error() -> None:
    with pytest.raises(ValueError, match="path: expected M, L, Q, C or z"):
        path("A 1 1 0 0 1 2 2")


def drawn() -> str:
    fig, ax = plt.subplots(figsize=(4, 3))
    ax.plot(np.linspace(0, 1, 50), np.sin(np.linspace(0, 9, 50)), "o-", label="a < b & c")
    ax.fill_between([0, 1], [0, 0], [0.5, 0.2], alpha=0.3)
    ax.imshow(np.eye(3), extent=(0, 0.2, 0, 0.2))
    ax.set(xlabel="x", ylabel="two words", title=r"$\Delta G$")
    ax.legend()
    buffer = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "x"}):
        fig.savefig(buffer, format="svg", metadata={"Date": None})
    plt.close(fig)
    svg = buffer.getvalue()
    return re.sub(r"<metadata>.*?</metadata>|<style\b.*?</style>", "", svg[svg.index("<svg") :], flags=re.DOTALL)


def test_a_figure_keeps_its_shapes_and_words_in_fewer_bytes() -> None:
    svg = drawn()
    short = inline(svg, "x")
    assert len(short) < 0.75 * len(svg)
    for tag in ("<use", "<text", "<image", "<clipPath"):
        assert short.count(tag) == svg.count(tag)
    said, says = ([t.strip() for t in re.findall(r">([^<>]+)</t(?:ext|span)>", one) if t.strip()] for one in (svg, short))
    assert said == says
    assert "a &lt; b &amp; c" in short
    assert not re.search(r"<g>|rotate\(-?0|xlink", short)
    assert "rotate(-90" in short  # the label of the axis stands on its side
    assert set(re.findall(r'href="#([^"]+)"', short)) <= set(re.findall(r' id="([^"]+)"', short))


def test_marks_of_one_look_share_it_but_for_their_opacity() -> None:
    mark, other = (
        '<use href="#m" x="{}" y="2" style="fill: #123456; opacity: 0.5"/>',
        '<use href="#m" x="9" y="9" style="fill: red"/>',
    )
    marks = "".join(mark.format(x) for x in (1, 2, 3))
    short = compact(f"<svg><g>{marks}</g>{other}{other}</svg>")
    use = '<use href="#m" x="{}" y="2" style="opacity:0.5" />'
    red = '<use href="#m" x="9" y="9" style="fill:red" />'
    assert short == f'<svg><g style="fill:#123456">{"".join(use.format(x) for x in (1, 2, 3))}</g>{red}{red}</svg>'


def test_what_nobody_sees_goes_unless_others_refer_to_it() -> None:
    svg = (
        '<svg viewBox="0 0 9 9"><defs><path id="m" d="M 0 0 L 1.234 1"/></defs><clipPath id="c"><rect x="1.26" y="2"/></clipPath>'
        '<g><g><path d="M 0 0 L 9 9" style="fill: none"/></g></g><g clip-path="url(#c)"><path d="M 1 1 L 2 2" style="fill: none; '
        'stroke: #fff"/></g><text transform="translate(1.26 2) rotate(-0 3 4)" x="1.23">A <tspan>b</tspan> c</text></svg>'
    )
    assert compact(svg) == (
        '<svg viewBox="0 0 9 9"><defs><path id="m" d="M0 0l1.23 1" /></defs><clipPath id="c"><rect x="1.26" y="2" /></clipPath>'
        '<g clip-path="url(#c)"><path d="M1 1l1 1" style="fill:none;stroke:#fff" /></g>'
        '<text transform="translate(1.3 2)" x="1.2">A <tspan>b</tspan> c</text></svg>'
    )
