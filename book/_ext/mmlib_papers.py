"""The papers of references.bib as text: how prose names them, where they are, and how a list of references shows them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pybtex.database import parse_string
from pybtex.plugin import find_plugin

BIB = Path(__file__).resolve().parents[1] / "references.bib"


@dataclass(frozen=True)
class Paper:
    """One entry."""

    key: str
    names: str  #: "Alain and Bengio", "Wang et al."
    year: str
    address: str  #: of its DOI or on arXiv; empty where it has neither
    entry: Any  #: pybtex's own

    @property
    def textual(self) -> str:
        """A link that is a part of its sentence."""
        return f"[{self.names} ({self.year})]({self.address})"

    @property
    def parenthetical(self) -> str:
        """A link in brackets."""
        return f"([{self.names}, {self.year}]({self.address}))"


def read(bib: str) -> list[Paper]:
    """The papers of a BibTeX file.

    Raises:
        ValueError: an entry without an author or a year.
    """
    return [_paper(key, entry) for key, entry in parse_string(bib, "bibtex").entries.items()]


def _paper(key: str, entry: Any) -> Paper:
    fields, authors = entry.fields, entry.persons.get("author", [])
    if not authors or "year" not in fields:
        raise ValueError(f"references.bib: {key}: expected an author and a year")
    names = [_last_name(author) for author in authors]
    text = " and ".join(names) if len(names) <= 2 else f"{names[0]} et al."
    address = ""
    if "doi" in fields:
        address = f"https://doi.org/{fields['doi']}"
    elif "eprint" in fields:
        address = f"https://arxiv.org/abs/{fields['eprint']}"
    return Paper(key, text, fields["year"], address, entry)


def _last_name(author: Any) -> str:
    parts = [*author.rich_prelast_names, *author.rich_last_names]
    return " ".join(str(part.render_as("text")) for part in parts)


@cache
def papers(path: Path = BIB) -> tuple[Paper, ...]:
    """The papers of the book."""
    return tuple(read(path.read_text("utf8")))


def cited(markdown: str, known: tuple[Paper, ...]) -> list[Paper]:
    """The papers that a text in plain Markdown cites."""
    return [paper for paper in known if paper.address and (paper.textual in markdown or paper.parenthetical in markdown)]


def listed(these: list[Paper]) -> str:
    """A list of references in plain Markdown, in the order and the words of the book's bibliography."""
    style = find_plugin("pybtex.style.formatting", "plain")()
    backend = find_plugin("pybtex.backends", "markdown")("utf8")
    lines = []
    for formatted in style.format_entries([paper.entry for paper in these]):
        text = " ".join(str(formatted.text.render(backend)).split())
        lines.append("- " + re.sub(r"\\([.()!-])", r"\1", text))  # these mean nothing in the middle of a line
    return "\n".join(lines)
