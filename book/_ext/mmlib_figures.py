"""A directive for pages of prose: a figure drawn from stored results while the book is built.

    ```{stored-figure} hook
    :caption: Under the figure.
    ```

draws `mmlib.book.drawings.hook`. The page is read again when a stored result changes.
"""

from __future__ import annotations

from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


class StoredFigure(SphinxDirective):
    """Insert the `mmlib.book.inline_svg.Picture` that a function of `mmlib.book.drawings` returns."""

    required_arguments = 1
    option_spec: ClassVar[dict[str, object]] = {"caption": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        from mmlib.book import drawings, results

        for path in sorted(results.folder().glob("*.json")):
            self.env.note_dependency(str(path))
        draw = getattr(drawings, self.arguments[0], None)
        if draw is None:
            raise self.error(f"stored-figure: mmlib.book.drawings has no function {self.arguments[0]!r}")
        picture = draw(caption=self.options.get("caption"))
        return [nodes.raw("", picture.html, format="html")]


def setup(app: Sphinx) -> dict[str, object]:
    app.add_directive("stored-figure", StoredFigure)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
