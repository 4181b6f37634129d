"""Where the repository is: `[project.urls]` of pyproject.toml is the one place, and this finds all that follows from it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: Stands until the owner of a repository runs tools/set_address.py. Nobody can register it: GitHub's names have no dots.
PLACEHOLDER = "https://github.com/address.not.set/book"
#: what GitHub lets an owner be called
OWNER = re.compile(r"[A-Za-z0-9](?:-?[A-Za-z0-9]){0,38}")
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


def check_new(address: str) -> str:
    """The address if somebody can own it, or the `PLACEHOLDER`.

    Raises:
        ValueError: GitHub has no owner of such a name.
    """
    owner = slug(address).partition("/")[0]
    if address != PLACEHOLDER and not OWNER.fullmatch(owner):
        raise ValueError(f"address: expected an owner that GitHub can have (letters, digits, single hyphens), found {owner!r}")
    return address


def revision(root: Path = ROOT) -> str:
    """What the chapters' first cells install: the tag of this version, which its owner sets when it is published."""
    project = tomllib.loads((root / "pyproject.toml").read_text("utf8"))["project"]
    return f"v{project['version']}"


def files(root: Path = ROOT) -> Iterator[Path]:
    """The files that may name the address."""
    for place in PLACES:
        path = root / place
        found = [path] if path.is_file() else sorted(path.rglob("*"))
        yield from (p for p in found if p.is_file() and p.suffix in SUFFIXES and ".ipynb_checkpoints" not in p.parts)


def colab(notebook: str, address: str) -> str:
    """The address under which Colab opens a notebook of the repository."""
    return f"https://colab.research.google.com/github/{slug(address)}/blob/main/{notebook}"
