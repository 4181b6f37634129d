"""One style sheet for the book, without rules that no page can need, found as PurgeCSS does (no package of Python does it).

A rule stays unless its selector names a class or an id that stands nowhere: in no page, and in no script that could set it.
A browser shows nothing before it has all style sheets, so that one small file is worth more than ten.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

_WORD = re.compile(r"[\w-]+")
_COMMENT = re.compile(r"/\*(?!!).*?\*/", re.DOTALL)  # what begins with ! says whose it is, and stays
_STRING = re.compile(r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'""")
_NAME = re.compile(r"[.#]((?:[\w-]|\\.)+)")
_CHOICE = re.compile(r":(?:not|is|where|has)\((?:[^()]|\([^()]*\))*\)")
SCRIPT = re.compile(r'<script\b[^>]*\bsrc="([^"?#:]+)')
SHEET = re.compile(r'<link\b(?=[^>]*\brel="stylesheet")[^>]*\bhref="([^":]+)"[^>]*>\s*')
URL = re.compile(r"""url\((["']?)([^"')]+)\1\)""")
IMPORT = re.compile(r"""@import\s+(?:url\()?["']?([^"':)]+)["']?\)?\s*;""")
_NESTED = ("@media", "@supports", "@layer", "@container")


def words(texts: Iterable[str]) -> set[str]:
    """All that could be a class in these texts."""
    return {word for text in texts for word in _WORD.findall(text)}


def pruned(css: str, known: set[str]) -> str:
    """A style sheet without the rules whose selectors name something that is not ``known``.

    A known word that ends with a hyphen knows all that begin with it: scripts put such names together.
    """
    stems = tuple(word for word in known if word.endswith("-") and len(word) > 3)
    return "".join(_rules(_COMMENT.sub("", css), known, stems))


def _rules(css: str, known: set[str], stems: tuple[str, ...]) -> Iterator[str]:
    i = 0
    while i < len(css):
        opens, ends = _find(css, "{", i), _find(css, ";", i)
        if opens < 0 or 0 <= ends < opens:  # a statement such as @charset, or what is left
            stop = len(css) if ends < 0 else ends + 1
            yield css[i:stop]
            i = stop
            continue
        closes = _closing(css, opens)
        head, body = css[i:opens], css[opens + 1 : closes]
        i = closes + 1
        comments, selector = re.match(r"\s*((?:/\*!.*?\*/\s*)*)(.*)", head, re.DOTALL).groups()  # type: ignore[union-attr]
        yield comments
        if selector.startswith(_NESTED):
            inner = "".join(_rules(body, known, stems))
            if inner.strip():
                yield f"{selector}{{{inner}}}"
        elif selector.startswith("@"):
            yield f"{selector}{{{body}}}"
        elif needed := [one for one in _listed(selector) if _possible(one, known, stems)]:
            yield f"{','.join(needed)}{{{body}}}"


def _possible(selector: str, known: set[str], stems: tuple[str, ...]) -> bool:
    names = [name.replace("\\", "") for name in _NAME.findall(_CHOICE.sub("", _STRING.sub("", selector)))]
    return all(name in known or not _WORD.fullmatch(name) or name.startswith(stems) for name in names)


def _listed(selector: str) -> list[str]:
    """The selectors of a list; commas in brackets do not divide."""
    parts, depth, last = [], 0, 0
    for i, sign in enumerate(selector):
        depth += (sign in "([") - (sign in ")]")
        if sign == "," and depth == 0:
            parts.append(selector[last:i])
            last = i + 1
    return [*parts, selector[last:]]


def _find(css: str, sign: str, start: int) -> int:
    """The next such sign that stands in no string and no comment; -1 without one."""
    for match in re.compile(rf"{_STRING.pattern}|/\*.*?\*/|{re.escape(sign)}", re.DOTALL).finditer(css, start):
        if match[0] == sign:
            return match.start()
    return -1


def _closing(css: str, opens: int) -> int:
    depth = 0
    for match in re.compile(rf"{_STRING.pattern}|[{{}}]", re.DOTALL).finditer(css, opens):
        depth += {"{": 1, "}": -1}.get(match[0], 0)
        if depth == 0:
            return match.start()
    raise ValueError("a style sheet: expected a closing brace, found none")


def ordered(lists: Iterable[list[Path]]) -> list[Path]:
    """All members of some lists, each once, in an order that agrees with theirs: a new one comes behind what it follows."""
    made: list[Path] = []
    for names in lists:
        at = 0
        for name in names:
            if name not in made:
                made.insert(at, name)
            at = made.index(name) + 1
    return made


def bundled(sheets: Iterable[Path], known: set[str], folder: Path) -> str:
    """The style sheets behind each other, pruned; addresses in them as seen from ``folder``."""

    def moved(css: str, home: Path) -> str:
        def address(match: re.Match[str]) -> str:
            target = urlsplit(match[2])
            if target.scheme or target.netloc or not target.path:
                return match[0]
            there = os.path.relpath(home / target.path, folder).replace(os.sep, "/")
            return f"url({match[1]}{there}{match[1]})"

        return URL.sub(address, css)

    def whole(sheet: Path) -> str:
        css = IMPORT.sub(lambda match: whole(sheet.parent / match[1]), sheet.read_text("utf8"))
        return moved(css, sheet.parent)

    return pruned("\n".join(map(whole, sheets)), known)


def bundle(out: Path) -> None:
    """Give the pages below ``out`` one style sheet in the place of all that they ask for."""
    written = [path for path in sorted(out.rglob("*.html")) if out / "_static" not in path.parents]  # there are templates
    pages = {path: path.read_text("utf8") for path in written}
    loaded = {(path.parent / name).resolve() for path, page in pages.items() for name in SCRIPT.findall(page)}
    known = words([*pages.values(), *(path.read_text("utf8") for path in loaded if path.is_file())])
    for stale in (out / "_static").glob("book-*.css"):
        stale.unlink()
    asked = {
        path: [(path.parent / urlsplit(name).path).resolve() for name in SHEET.findall(page)] for path, page in pages.items()
    }
    fresh = [[sheet for sheet in sheets if sheet.is_file()] for sheets in asked.values()]  # others ask for an older bundle
    css = bundled(ordered(fresh), known, out / "_static")
    name = f"book-{hashlib.sha256(css.encode()).hexdigest()[:10]}.css"
    (out / "_static" / name).write_text(css, "utf8")
    for path, page in pages.items():
        if asked[path]:
            address = os.path.relpath(out / "_static" / name, path.parent).replace(os.sep, "/")
            first, *_ = SHEET.finditer(page)
            page = page[: first.start()] + f'<link rel="stylesheet" href="{address}" />' + SHEET.sub("", page[first.end() :])
            path.write_text(page, "utf8")
