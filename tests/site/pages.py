"""Reading built pages without a browser."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
VOID = frozenset("area base br col embed hr img input link meta source track wbr".split())


def documents() -> list[str]:
    """The pages that _toc.yml names, as paths without suffix."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text("utf8"))
    return [toc["root"], *(chapter["file"] for part in toc["parts"] for chapter in part["chapters"])]


def chapters() -> list[str]:
    """Those of `documents` that are notebooks."""
    return [name for name in documents() if (ROOT / f"{name}.ipynb").exists()]


@dataclass
class Page(HTMLParser):
    """Elements of a page, and for each the tags around it."""

    path: Path
    elements: list[tuple[str, dict[str, str], tuple[str, ...]]] = field(default_factory=list)
    text: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self._open: list[str] = []
        self.source = self.path.read_text("utf8")
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {k: v or "" for k, v in attrs}, tuple(self._open)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {k: v or "" for k, v in attrs}, tuple(self._open)))

    def handle_endtag(self, tag: str) -> None:
        if tag in self._open:
            while self._open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if "script" not in self._open and "style" not in self._open:
            self.text.append(data)

    def all(self, tag: str, inside: str | None = None, **having: Any) -> list[dict[str, str]]:
        """The attributes of all elements of a kind."""
        return [
            attributes
            for name, attributes, around in self.elements
            if name == tag
            and (inside is None or inside in around)
            and all(attributes.get(k.rstrip("_").replace("_", "-")) == v for k, v in having.items())
        ]

    @property
    def ids(self) -> list[str]:
        return [attributes["id"] for _, attributes, _ in self.elements if attributes.get("id")]
