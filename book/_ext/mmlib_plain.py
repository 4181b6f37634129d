"""Chapters are plain Markdown, legible on Colab and in JupyterLab; here they become what the book's builder knows.

Written in a chapter, or on a page of prose             in the book
``[Wang et al. (2020)](https://arxiv.org/abs/...)``      a citation that leads to the bibliography
``([Wang et al., 2020](https://arxiv.org/abs/...))``     the same, in brackets
``[`mmlib.fit`](../book/api.md)``                        a link to the documentation of that name
``<!-- exercise: ex-label -->``, then a paragraph that   a numbered exercise, up to the next exercise, hint, solution
starts with ``**Exercise 4.2. Title.**``                 or heading, or the end of the cell; the book counts by itself
``<details>``, ``<summary>Solution</summary>``,          the folded solution of the exercise before it; ``Hint`` in its
a blank line, the text, ``</details>``                   place makes a folded hint

A table with intervals gets a link to the page on statistics.
Figures shed what they carry for viewers that take no SVG (`mmlib.book.inline_svg`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import mmlib_papers
from docutils import nodes
from mmlib_papers import Paper
from sphinx.application import Sphinx

MARK = r"<!-- exercise: (?P<label>[\w-]+) -->\n"
EXERCISE = rf"^{MARK}\*\*Exercise (?P<number>\d+\.\d+)\. (?P<text>(?:(?!<!-- exercise: |<details>|#{{2,6}} ).*(?:\n|\Z))*)"
FOLD = r"^<details>\n<summary>(?P<fold>Solution|Hint)</summary>\n\n(?P<folded>(?s:.*?))\n*</details>$"
EITHER = re.compile(f"{EXERCISE}|{FOLD}", re.MULTILINE)
API = re.compile(r"\[`(mmlib(?:\.\w+)+)`\]\((?:\.\./book/)?api\.md\)")
#: a page of the book, as a chapter names it
PAGE = re.compile(r"([\w./-]+)\.(?:ipynb|md)(#[\w-]+)?")
#: an interval in a table: "0.74 [0.68, 0.80]", "+5.7 points (3.0 to 8.4)"
INTERVAL = re.compile(r"\d \[[-−+]?\d|\([-−+]?\d[\d.,]* to [-−+]?\d")
STATISTICS = "notebooks/statistics"
#: what a Markdown viewer would show as it is written, or not at all
NOISE = {
    "a role": re.compile(r"\{[a-zA-Z][\w:+-]*\}(?=`)"),
    "a directive": re.compile(r"^ *(?:`{3,}|:{3,}|~{3,}) *\{", re.MULTILINE),
    "a link without text": re.compile(r"(?<!!)\[\s*\]\("),
    "a target": re.compile(r"^\([\w.-]+\)=\s*$", re.MULTILINE),
    "a substitution": re.compile(r"\{\{.*?\}\}"),
    "a comment or a block break of MyST": re.compile(r"^(?:%|\+\+\+)(?:\s|$)", re.MULTILINE),
    "attributes": re.compile(r"(?<=[\])`])\{[.#]?[\w-]+[^}]*\}(?!`)"),
    "HTML": re.compile(r"<(?!/?details>$|/?summary>|!-- exercise: [\w-]+ -->$|https?://)[a-zA-Z/!][^>]*>", re.MULTILINE),
}


class Converter:
    """Turns the texts of one document, in order: a solution belongs to the exercise before it."""

    def __init__(self, papers: Sequence[Paper]) -> None:
        self.papers = papers
        self.exercise = ""

    def __call__(self, text: str) -> str:
        """MyST of a text in plain Markdown.

        Raises:
            ValueError: a hint or a solution without an exercise, or a second solution.
        """
        for paper in self.papers:
            if paper.address:
                text = text.replace(paper.parenthetical, f"{{cite:p}}`{paper.key}`")
                text = text.replace(paper.textual, f"{{cite:t}}`{paper.key}`")
        return EITHER.sub(self._block, API.sub(r"{py:obj}`\1`", text))

    def _block(self, match: re.Match[str]) -> str:
        if match["label"]:
            self.exercise = match["label"]
            return f"`````{{exercise}}\n:label: {self.exercise}\n**{match['text'].strip()}\n`````\n\n"
        if not self.exercise:
            what = match["fold"].lower()
            raise ValueError(f"a {what}: expected an exercise before it, each with one solution at most, found none")
        if match["fold"] == "Hint":
            return f"`````{{admonition}} Hint\n:class: dropdown mm-hint\n\n{match['folded'].strip()}\n`````\n"
        label, self.exercise = self.exercise, ""
        return f"`````{{solution}} {label}\n:class: dropdown\n\n{match['folded'].strip()}\n`````\n"


def noise(text: str) -> list[str]:
    """What in a text would be shown as noise by a viewer that knows Markdown and formulas, but no MyST."""
    for code in (r"^( *)(`{3,}|~{3,})(?! *\{).*?^\1\2", r"\$\$.*?\$\$", r"(?<![}`\w])`[^`\n]+`(?!`)", r"\$[^$\n]+\$"):
        text = re.sub(code, "code", text, flags=re.MULTILINE | re.DOTALL)
    found = [f"{what}: {match[0].strip()[:60]!r}" for what, pattern in NOISE.items() for match in pattern.finditer(text)]
    marks = (text.count("<!-- exercise: "), len(re.findall(MARK + r"\*\*Exercise \d+\.\d+\. [^*]+\*\*", text)))
    folds = (text.count("<details>"), text.count("</details>"), len(re.findall(FOLD, text, re.MULTILINE)))
    if len(set(marks)) > 1:
        found.append("an exercise: expected '<!-- exercise: label -->' and below it '**Exercise 4.2. Title.**'")
    if len(set(folds)) > 1:
        found.append("a solution or a hint: expected <details>, <summary>Solution</summary>, a blank line, text, </details>")
    return found


def read(app: Sphinx, docname: str, source: list[str]) -> None:
    """Before a document is parsed."""
    convert = Converter(mmlib_papers.papers())
    if not app.env.doc2path(docname).endswith(".ipynb"):
        source[0] = convert(source[0])
        return
    notebook = json.loads(source[0])
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = convert("".join(cell["source"]))
    source[0] = json.dumps(notebook)


def drop_stills(app: Sphinx, doctree: nodes.document) -> None:
    """Leave out the PNG inside the HTML of a figure, and the one beside it."""
    from mmlib.book.inline_svg import without_stills

    for raw in doctree.findall(nodes.raw):
        if "mm-still" in raw.astext() or "mm-live" in raw.astext():
            raw.children[:] = [nodes.Text(without_stills(raw.astext()))]
    for bundle in [n for n in doctree.findall(nodes.container) if n.get("nb_element") == "mime_bundle"]:
        parts: dict[Any, nodes.Node] = {
            part.get("mime_type"): part for part in bundle.children if isinstance(part, nodes.Element)
        }
        if "text/html" in parts and "image/png" in parts:
            bundle.remove(parts["image/png"])


def lead_on(app: Sphinx, doctree: nodes.document) -> None:
    """Links to chapters and pages in what cells print, which nobody resolves: to the built page."""
    for reference in doctree.findall(nodes.reference):
        if page := PAGE.fullmatch(reference.get("refuri", "")):
            reference["refuri"] = f"{page[1]}.html{page[2] or ''}"


def explain(app: Sphinx, doctree: nodes.document) -> None:
    """Below every table with intervals: a link to what an interval is, on the page about statistics."""
    folder, page = STATISTICS.split("/")
    if not app.env.docname.startswith(f"{folder}/") or app.env.docname == STATISTICS:
        return
    for table in list(doctree.findall(nodes.table)):
        if INTERVAL.search(table.astext()):
            link = nodes.reference("", "How to read the intervals", refuri=f"{page}.html")
            table.parent.insert(table.parent.index(table) + 1, nodes.paragraph("", "", link, classes=["mm-how"]))


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("source-read", read)
    app.connect("doctree-read", lead_on)
    app.connect("doctree-read", explain)
    app.connect("doctree-read", drop_stills, priority=100)  # before pictures are looked at and collected
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
