"""Where the repository is: `[project.urls]` of pyproject.toml is the one place, and this finds all that follows from it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: files and folders that may name the address
PLACES = (
    "pyproject.toml",
    "_config.yml",
    "CITATION.cff",
    "README.md",
    "CONTRIBUTING.md",
    "notebooks",
    "book",
    ".github",
    "mmlib",
)
SUFFIXES = (".toml", ".yml", ".cff", ".md", ".ipynb", ".py")
#: github.com/OWNER/REPO as it stands in a link, a clone address or an address to open on Colab
ADDRESS = re.compile(
    r"(?:github\.com|colab\.research\.google\.com/github)/([\w.-]+/[\w.-]+?)(?=\.git\b|[^\w.-]|\.?$)", re.MULTILINE
)


def read(root: Path = ROOT) -> str:
    """The repository's address, such as https://github.com/OWNER/REPO."""
    project = tomllib.loads((root / "pyproject.toml").read_text("utf8"))["project"]
    return str(project["urls"]["Repository"])


def slug(address: str) -> str:
    """OWNER/REPO of an address.

    Raises:
        ValueError: it is not the address of a repository on GitHub.
    """
    match = re.fullmatch(r"https://github\.com/([\w.-]+/[\w.-]+?)(?:\.git)?/?", address)
    if match is None:
        raise ValueError(f"address: expected https://github.com/OWNER/REPO, found {address!r}")
    return match[1]


def files(root: Path = ROOT) -> Iterator[Path]:
    """The files that may name the address."""
    for place in PLACES:
        path = root / place
        found = [path] if path.is_file() else sorted(path.rglob("*"))
        yield from (p for p in found if p.is_file() and p.suffix in SUFFIXES and ".ipynb_checkpoints" not in p.parts)


def colab(notebook: str, address: str) -> str:
    """The address under which Colab opens a notebook of the repository."""
    return f"https://colab.research.google.com/github/{slug(address)}/blob/main/{notebook}"
