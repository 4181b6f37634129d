"""The style: colours that stay apart and legible, figures that describe themselves and fit any page."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from itertools import combinations, pairwise

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmlib.book import looks, panels, plots
from mmlib.book.inline_svg import Picture

mpl.use("agg")
import matplotlib.pyplot as plt

#: backgrounds of the two themes' pages and of notebook cells in the dark
PAGES = ("#FFFFFF", "#121212", "#14181E")
# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB
VISION = {
    "usual": np.eye(3),
    "protanopia": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]),
    "deuteranopia": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]),
    "tritanopia": np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]]),
}
DATA_SETS = [
    ("image", "audio", "text"),
    ("fast", "slow"),
    ("audio", "video"),
    ("phone_accel", "phone_gyro", "watch_accel", "watch_gyro"),
    ("phone", "watch"),
]
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def lab(colour: str, vision: str) -> np.ndarray:
    """CIE L*a*b* of a colour as someone with that vision sees it."""
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = TO_XYZ @ np.clip(VISION[vision] @ linear, 0, 1) / [0.9505, 1, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def apart(a: str, b: str) -> float:
    """The smallest colour difference (CIE 1976) under any vision; about 2 is just noticeable."""
    return min(float(np.linalg.norm(lab(a, v) - lab(b, v))) for v in VISION)


@pytest.fixture(autouse=True)
def _styled() -> Iterator[None]:
    with plots.style():
        yield
    plt.close("all")


def svg_of(picture: Picture) -> ElementTree.Element:
    return ElementTree.fromstring(picture.svg)


def test_every_colour_is_legible_on_light_and_dark_pages() -> None:
    for look in [*plots.LOOKS.values(), *looks.FALLBACK]:
        if look.colour != plots.INK:
            for page in PAGES:
                assert plots.contrast(look.colour, page) >= 3, (look.colour, page)


@pytest.mark.parametrize("together", DATA_SETS)
def test_colours_of_one_data_set_stay_apart_under_colour_blindness(together: tuple[str, ...]) -> None:
    for a, b in combinations(together, 2):
        assert apart(plots.colour(a), plots.colour(b)) > 17, (a, b)
    for a, b in combinations((*together, "late_fusion", "best_single"), 2):
        assert apart(plots.colour(a), plots.colour(b)) > 10, (a, b)


@pytest.mark.parametrize("together", DATA_SETS)
def test_looks_of_one_data_set_stay_apart_in_grey(together: tuple[str, ...]) -> None:
    looks = [plots.look(name) for name in (*together, "joint", "late_fusion", "best_single")]
    for what in ("marker", "dashes", "hatch"):
        assert len({str(getattr(look, what)) for look in looks}) == len(looks), what


def test_unknown_names_get_looks_of_their_own_and_keep_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks, "_others", {})
    names = ["lidar", "touch", "smell", "radar", "gait"]
    first = [plots.look(name) for name in names]
    assert len(set(first)) == len(names)
    assert [plots.look(name) for name in reversed(names)] == first[::-1]
    assert plots.look("sixth") in first


def test_contrast_is_that_of_wcag() -> None:
    assert plots.contrast("#000000", "#FFFFFF") == pytest.approx(21)
    assert plots.contrast("#767676", "#FFFFFF") == pytest.approx(4.54, abs=0.01)
    assert plots.contrast("#FFFFFF", "#767676") == plots.contrast("#767676", "#FFFFFF")


@given(st.tuples(*[st.floats(0, 1)] * 3))
def test_text_is_legible_on_any_cell(rgb: tuple[float, float, float]) -> None:
    assert plots.contrast(plots.text_on(rgb), rgb) >= 4.3


@pytest.mark.parametrize("alt", ["", "   ", None, 3])
def test_a_figure_must_say_what_it_shows(alt: object) -> None:
    fig, _ = plt.subplots()
    with pytest.raises(ValueError, match="alt: expected a sentence"):
        plots.picture(fig, alt)  # type: ignore[arg-type]


def test_a_picture_is_described_scales_and_follows_the_page() -> None:
    fig, ax = plt.subplots()
    ax.plot([0, 1], [0, 1], color="black")
    ax.set_title("Ünïcode & <b>")
    picture = plots.picture(fig, 'Up & "down" <i>', caption="It's <here>")
    root = svg_of(picture)  # well-formed
    assert root.get("role") == "img"
    assert root.get("aria-label") == 'Up & "down" <i>'
    assert "max-width:100%" in root.get("style", "")
    assert "height:auto" in root.get("style", "")
    assert int(root.get("width", "0")) == 480  # 5 inches, in CSS pixels
    assert "currentColor" in picture.svg
    assert not re.search(r"#000000|#010203|<style|<metadata|DOCTYPE|<\?xml|font-family: ", picture.svg)
    assert "<figcaption>It&#x27;s &lt;here&gt;</figcaption>" in picture.html
    assert repr(picture) == 'Figure: Up & "down" <i>'
    assert "Ünïcode & <b>" in "".join(root.itertext())  # text stays text


def test_a_picture_has_no_background_of_its_own() -> None:
    fig, ax = plt.subplots(facecolor="white")
    ax.set_facecolor("white")
    assert "#ffffff" not in plots.picture(fig, "Empty axes.").svg


def test_a_shown_figure_is_closed() -> None:
    fig, _ = plt.subplots()
    plots.picture(fig, "Empty axes.")
    assert not plt.get_fignums()
    fig, _ = plt.subplots()
    plots.picture(fig, "Empty axes.", close=False)
    assert plt.get_fignums() == [fig.number]


def draw() -> Picture:
    fig, ax = plt.subplots()
    ax.plot([0, 1, 2], [0, 1, 0], marker="o")
    return plots.picture(fig, "A peak.")


def test_ids_never_clash_and_every_reference_finds_its_target() -> None:
    pages = [draw(), draw(), draw()]
    everything = "".join(p.svg for p in pages)
    ids = re.findall(r'\bid="([^"]+)"', everything)
    assert ids
    assert len(ids) == len(set(ids))
    for picture in pages:
        own = set(re.findall(r'\bid="([^"]+)"', picture.svg))
        for a, b in re.findall(r"url\(#([^)]+)\)|href=\"#([^\"]+)\"", picture.svg):
            assert (a or b) in own


def test_the_same_program_draws_the_same_bytes() -> None:
    program = (
        "import matplotlib; matplotlib.use('agg')\n"
        "from tests.test_plots import draw\n"
        "from mmlib.book import plots\n"
        "plots.use(); print(draw().svg); print(draw().svg)"
    )
    outputs = {subprocess.run([sys.executable, "-c", program], check=True, capture_output=True).stdout for _ in range(2)}
    assert len(outputs) == 1


def test_show_displays_html_with_the_description_as_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Picture] = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    fig, _ = plt.subplots()
    plots.show(fig, alt="Empty axes.", caption="Nothing yet.")
    (picture,) = shown
    assert picture._repr_mimebundle_()["text/html"].startswith('<figure class="mm-figure"')
    assert repr(picture) == "Figure: Empty axes."


def test_importing_plots_leaves_matplotlib_alone() -> None:
    heavy = "{'matplotlib', 'IPython', 'pandas'}"
    program = f"import sys; import mmlib.book.plots, mmlib.book.widgets; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_style_ends_with_its_block() -> None:
    with mpl.rc_context():
        mpl.rcdefaults()
        before = dict(mpl.rcParams)
        with plots.style():
            assert mpl.rcParams["text.color"] == plots.INK
        assert dict(mpl.rcParams) == before


# helpers for drawing


def test_interval_bars_sorts_and_draws_each_interval() -> None:
    _, ax = plt.subplots()
    plots.interval_bars(ax, ["a", "b", "c"], [0.5, 0.9, 0.1], [0.4, 0.8, 0.0], [0.6, 1.0, 0.2], reference=0.7)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["c", "a", "b"]  # from the bottom: the largest is on top
    ends = [tuple(line.get_xdata()) for line in ax.lines if len(line.get_xdata()) == 2]
    assert ends == [(0.7, 0.7), (0.0, 0.2), (0.4, 0.6), (0.8, 1.0)]
    assert [t.get_text() for t in ax.texts] == ["0.10", "0.50", "0.90"]


def test_interval_bars_keeps_the_order_given_when_asked() -> None:
    _, ax = plt.subplots()
    plots.interval_bars(ax, ["a", "b"], [0.9, 0.1], [0.8, 0.0], [1.0, 0.2], sort=False, fmt=None)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["b", "a"]
    assert not ax.texts


def test_curves_draws_the_band_and_the_look_of_its_modality() -> None:
    _, ax = plt.subplots()
    plots.curves(ax, [1, 2, 3], [0.1, 0.2, 0.3], [0.0, 0.1, 0.2], [0.2, 0.3, 0.4], label="audio, validation", modality="audio")
    (line,) = ax.lines
    assert (line.get_color(), line.get_marker(), line.get_label()) == (plots.colour("audio"), "s", "audio, validation")
    (band,) = ax.collections
    assert band.get_datalim(ax.transData).extents.tolist() == pytest.approx([1, 0.0, 3, 0.4])


def test_heatmap_prints_every_value_and_is_centred_at_zero() -> None:
    _, ax = plt.subplots()
    plots.heatmap(ax, [[-0.2, 0.0], [0.1, np.nan]], ["r1", "r2"], ["c1", "c2"], strong=[[True, False], [False, False]])
    assert [t.get_text() for t in ax.texts] == ["−0.20", "+0.00", "+0.10", "–"]
    assert [t.get_weight() for t in ax.texts] == ["bold", "normal", "normal", "normal"]
    cells = [p for p in ax.patches if p.get_width() == 1]
    worst, zero, better = (np.array(cell.get_facecolor()[:3]) for cell in cells[:3])
    assert np.ptp(zero) < 0.05  # no hue at zero
    assert worst[0] > worst[2]  # orange below
    assert better[2] > better[0]  # blue above
    for cell, text in zip(cells[:3], ax.texts, strict=False):
        assert plots.contrast(text.get_color(), cell.get_facecolor()) >= 4.5
    assert ax.get_ylim() == (1.5, -0.5)  # the first row is on top


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda ax: plots.interval_bars(ax, ["a", "b"], [1], [0], [2]), r"centre: expected shape \[2\], found \[1\]"),
        (lambda ax: plots.interval_bars(ax, ["a"], [1], [0], [2], looks=["x", "y"]), "looks: expected 1 names"),
        (lambda ax: plots.curves(ax, [1, 2], [1], label="a"), r"mean: expected shape \[2\]"),
        (lambda ax: plots.curves(ax, [1], [1], [0], label="a"), "expected both ends"),
        (lambda ax: plots.heatmap(ax, [[1.0]], ["a"], ["b", "c"]), r"values: expected shape \[1, 2\].*found \[1, 1\]"),
        (lambda ax: plots.heatmap(ax, [[1.0]], ["a"], ["b"], strong=[True]), "strong: expected shape"),
    ],
)
def test_helpers_name_what_disagrees(call: object, message: str) -> None:
    _, ax = plt.subplots()
    with pytest.raises(ValueError, match=message):
        call(ax)  # type: ignore[operator]


@given(st.lists(st.floats(-200, 200), min_size=1, max_size=8), st.floats(1, 30))
def test_labels_are_spread_in_order_and_no_further_than_they_must(heights: list[float], gap: float) -> None:
    places = panels.spread(heights, gap)
    order = np.argsort(heights, kind="stable")
    assert all(places[b] - places[a] >= gap - 1e-9 for a, b in pairwise(order))
    if all(heights[b] - heights[a] >= gap for a, b in pairwise(order)):
        assert places == pytest.approx(heights, abs=1e-9)
    # least squares: the middle of what is moved together stays
    assert np.mean(places) == pytest.approx(np.mean(heights), abs=1e-6)


def test_labels_stand_beside_the_ends_of_their_lines() -> None:
    fig, ax = plt.subplots()
    for y, name in ((0.0, "low"), (0.05, "near"), (1.0, "high")):
        plots.curves(ax, [0, 1, 2, 3], [0.5, 0.5, y, np.nan], label=name, modality="image")
    ax.plot([0, 3], [0.2, 0.2])  # without a label
    plots.label_ends(ax, {"high": "the upper one"})
    fig.draw_without_rendering()
    found = {text.get_text(): text.get_window_extent() for text in ax.texts}
    assert set(found) == {"low", "near", "the upper one"}
    boxes = sorted(found.values(), key=lambda box: box.y0)
    assert all(a.y1 <= b.y0 + 1 for a, b in pairwise(boxes))
    assert all(box.x0 > ax.get_window_extent().x1 for box in boxes)
    last = ax.transData.transform((2, 1.0))[1]  # the last point that is a number
    assert found["the upper one"].y0 < last < found["the upper one"].y1


def test_labels_without_lines_are_an_error() -> None:
    _, ax = plt.subplots()
    with pytest.raises(ValueError, match="label_ends: expected lines with a label, found none"):
        plots.label_ends(ax)


def test_a_wide_figure_says_so_for_the_style_sheet() -> None:
    for inches, wide in ((5.0, False), (6.4, False), (7.6, True)):
        fig, _ = plt.subplots(figsize=(inches, 3))
        assert ('class="mm-wide"' in plots.picture(fig, "Axes.").svg) == wide


def test_every_run_is_a_dot_and_the_bar_their_mean() -> None:
    _, ax = plt.subplots()
    plots.run_dots(ax, ["a", "b"], [[0.1, 0.3], [0.5, 0.6, 1.0]], looks=["image", "audio"], hollow=["a"], reference=0.4)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a", "b"]  # the larger mean on top
    dots = [line for line in ax.lines if line.get_marker() in ("o", "s")]
    assert [np.asarray(line.get_xdata()).tolist() for line in dots] == [[0.1, 0.3], [0.5, 0.6, 1.0]]
    assert [line.get_markerfacecolor() for line in dots] == ["none", plots.colour("audio")]
    bars = [np.asarray(line.get_xdata()).item() for line in ax.lines if line.get_marker() == "|"]
    assert bars == pytest.approx([0.2, 0.7])


def test_rows_of_runs_that_disagree_are_an_error() -> None:
    _, ax = plt.subplots()
    with pytest.raises(ValueError, match="values, looks: expected 2 each, one per label, found 1 and 2"):
        plots.run_dots(ax, ["a", "b"], [[0.1]], looks=["image", "audio"])
    with pytest.raises(ValueError, match="values: expected a sequence of numbers for 'b', found shape \\[0\\]"):
        plots.run_dots(ax, ["a", "b"], [[0.1], []], looks=["image", "audio"])
