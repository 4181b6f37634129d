"""Figures where SVG is taken away: notebooks that JupyterLab does not trust, converters. The book stays as light as it was."""

from __future__ import annotations

import base64
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib as mpl
import mmlib_plain
import nbformat
import numpy as np
import pytest
from docutils import nodes
from docutils.utils import new_document
from PIL import Image

from mmlib.book import plots, widgets
from mmlib.book.inline_svg import Picture, without_stills
from mmlib.book.widgets import Frames

mpl.use("agg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def _styled() -> Iterator[None]:
    with plots.style():
        yield
    plt.close("all")


def figure(height: float = 1.0) -> Any:
    fig, ax = plt.subplots()
    ax.bar(["a", "b"], [height, 2 - height])
    return fig


def sanitised(page: str) -> str:
    """What JupyterLab 4.6 leaves of an untrusted notebook's HTML: no style with its text, no SVG and scripts, but their text."""
    page = re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    page = re.sub(r"<svg.*?</svg>", lambda m: re.sub(r"<[^>]*>", "", m[0]), page, flags=re.DOTALL)
    return re.sub(r' (?:hidden|oninput="[^"]*"|aria-[a-z]+="[^"]*"|data-[a-z]+="[^"]*")(?=[ >])', "", page)


def decoded(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text)))


def test_a_notebook_keeps_html_a_png_and_words() -> None:
    picture = plots.picture(figure(), "Two bars.", caption="Here.")
    bundle = picture._repr_mimebundle_()
    assert set(bundle) == {"text/html", "image/png", "text/plain"}
    assert bundle["text/plain"] == "Figure: Two bars."
    image = decoded(bundle["image/png"])
    assert image.size == (720, 446)
    pixels = np.asarray(image.convert("RGB"), int)
    assert (pixels[0, 0] == 255).all()  # on white, where ink in black can be read
    assert (pixels.sum(-1) < 60).sum() > 500  # the ink
    assert len(bundle["image/png"]) < 30_000


def test_where_svg_is_taken_away_the_still_is_left_and_no_text_of_the_axes() -> None:
    picture = plots.picture(figure(), 'Two "bars".', caption="Here.")
    page = picture.notebook_html()
    assert picture.svg in page
    left = sanitised(page)
    assert "<svg" not in left
    assert re.search(r'<img class="mm-still" alt="Two &quot;bars&quot;\." width="480" src="data:image/png;base64,[^"]+">', left)
    (hidden,) = re.findall(r'<div class="mm-live" style="display:none">(.*?)</div>', left, re.DOTALL)
    assert "0.0" in hidden  # of the axis, which would be read as garbage
    assert "0.0" not in left.replace(hidden, "")
    assert "<figcaption>Here.</figcaption>" in left


def test_a_slider_leaves_its_picture_at_the_start_and_says_what_makes_it_move() -> None:
    slider = widgets.frames([figure(k / 2) for k in range(4)], list("abcd"), "Two bars.", name="height", start=2)
    assert [bool(p.png) for p in slider.pictures] == [False, False, True, False]  # one is enough
    left = sanitised(slider.notebook_html())
    (alt,) = re.findall(r'<img class="mm-still" alt="([^"]*)"', left)
    assert alt == "Two bars. (height: c)"
    assert left.count("Trust Notebook") == 1
    visible = re.sub(r'<div class="mm-live" style="display:none">.*?</div>', "", left, flags=re.DOTALL)
    assert "0.0" not in visible
    bundle = slider._repr_mimebundle_()
    assert base64.b64decode(bundle["image/png"]) == slider.pictures[2].png
    assert bundle["text/plain"] == repr(slider)


def shown() -> list[Picture | Frames]:
    picture = plots.picture(figure(), "Two bars.", caption="Here.")
    return [
        picture,
        widgets.frames([figure(k) for k in range(2)], ["a", "b"], "Two bars."),
        plots.picture(figure(), "No still.", still=False),
    ]


def test_a_page_of_the_book_is_what_it_would_be_without_stills() -> None:
    for thing in shown():
        page = thing._repr_mimebundle_()["text/html"]
        assert without_stills(page) == thing.html
        assert without_stills(f"{page}<p>between</p>{page}") == f"{thing.html}<p>between</p>{thing.html}"
        assert without_stills(thing.html) == thing.html
        assert "mm-still" not in thing.html
        assert "base64" not in thing.html


def test_the_extension_drops_the_stills_and_the_png_beside_html_but_no_other() -> None:
    (picture, *_), document = shown(), new_document("page")
    page = picture._repr_mimebundle_()["text/html"]
    both, alone = (nodes.container(nb_element="mime_bundle") for _ in range(2))
    html = nodes.container("", nodes.raw("", page, format="html"), mime_type="text/html")
    both += [html, nodes.container("", nodes.image(uri="a.png"), mime_type="image/png")]
    alone += nodes.container("", nodes.image(uri="b.png"), mime_type="image/png")
    document += [both, alone]
    mmlib_plain.drop_stills(SimpleNamespace(), document)  # type: ignore[arg-type]
    assert [node.astext() for node in document.findall(nodes.raw)] == [picture.html]
    assert [node["uri"] for node in document.findall(nodes.image)] == ["b.png"]


@pytest.mark.slow
def test_the_builder_of_the_book_writes_no_png(tmp_path: Path) -> None:
    cells = [nbformat.v4.new_markdown_cell("# Title\n\n<!-- exercise: ex-a -->\n**Exercise 1.1. Why?** Say [x](a.ipynb).")]
    cells.append(nbformat.v4.new_markdown_cell("<details>\n<summary>Hint</summary>\n\nLook.\n\n</details>"))
    cells.append(nbformat.v4.new_markdown_cell("<details>\n<summary>Solution</summary>\n\nBecause $x$.\n\n</details>"))
    for thing in shown():
        output = nbformat.v4.new_output("display_data", thing._repr_mimebundle_())
        cells.append(nbformat.v4.new_code_cell("show()", outputs=[output]))
    metadata = {"language_info": {"name": "python", "pygments_lexer": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), tmp_path / "a.ipynb")
    (tmp_path / "conf.py").write_text(
        'extensions = ["myst_nb", "sphinx.ext.mathjax", "sphinx_exercise", "mmlib_plain"]\nnb_execution_mode = "off"\n'
        'root_doc = "a"\nmyst_enable_extensions = ["dollarmath"]\n'
    )
    out = tmp_path / "out"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "book" / "_ext")])}
    build = [sys.executable, "-m", "sphinx", "-q", "-W", "-b", "html", str(tmp_path), str(out)]
    done = subprocess.run(build, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    page = (out / "a.html").read_text("utf8")
    assert page.count('role="img"') == 4
    assert "base64" not in page
    assert "mm-still" not in page
    assert not list((out / "_images").glob("*"))
    assert '<div class="exercise admonition" id="ex-a">' in page
    assert 'class="solution dropdown admonition"' in page
    assert re.search(r'class="[^"]*\bdropdown\b[^"]*\bmm-hint\b', page)
