"""An SVG as matplotlib writes it, in a third of the bytes: it looks the same to a quarter of a pixel.

Groups that say nothing go, and so does what is not drawn; coordinates are relative and have a tenth of a point; styles have no
blanks.
"""

from __future__ import annotations

import re
from itertools import groupby
from xml.etree import ElementTree

_TOKEN = re.compile(r"[MLHVCQZz]|[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_SIZES = {"M": 2, "L": 2, "Q": 4, "C": 6}
_PLACES = ("x", "y", "width", "height")


def compact(svg: str) -> str:
    """What matplotlib wrote, an ``<svg>`` element, with the same picture in fewer bytes.

    Raises:
        xml.etree.ElementTree.ParseError: no XML.
    """
    svg = re.sub(r' xmlns(?::\w+)?="[^"]*"', "", svg).replace("xlink:href=", "href=")
    root = ElementTree.fromstring(svg)
    _flatten(root, drawn=True)
    return ElementTree.tostring(root, encoding="unicode")


def path(d: str, digits: int = 1) -> str:
    """The same path in relative coordinates, rounded to so many decimals of a point; rounding does not add up.

    >>> path("M 10 20 L 10.04 25.5 L 12 25.5 C 13 26 14 27 15 28 z")
    'M10 20v5.5h2c1 .5 2 1.5 3 2.5z'
    """
    tokens, unit = _TOKEN.findall(d), 10**digits
    out: list[str] = []
    i, command, here, start = 0, "", (0, 0), (0, 0)
    while i < len(tokens):
        if tokens[i] in "Zz":
            out.append("z")
            here, i = start, i + 1
            continue
        if tokens[i] in _SIZES:
            command, i = tokens[i], i + 1
        if command not in _SIZES:
            raise ValueError(f"path: expected M, L, Q, C or z, found {tokens[i]!r}")
        numbers = [round(float(n) * unit) for n in tokens[i : i + _SIZES[command]]]
        i += _SIZES[command]
        end = (numbers[-2], numbers[-1])
        if command == "M":
            out.append("M" + _numbers(numbers, unit))
            start = end
        elif command == "L":
            right, down = end[0] - here[0], end[1] - here[1]
            if down == 0:
                out.append("h" + _numbers([right], unit))
            elif right == 0:
                out.append("v" + _numbers([down], unit))
            else:
                out.append("l" + _numbers([right, down], unit))
        else:
            out.append(command.lower() + _numbers([n - here[k % 2] for k, n in enumerate(numbers)], unit))
        here = end
    # a command that is repeated need not be written again
    return re.sub(r"([lcq])([^a-zA-Z]*)(?:\1[^a-zA-Z]*)+", lambda m: _repeated(m[0], m[1]), "".join(out))


def _repeated(run: str, command: str) -> str:
    first, *rest = run.split(command)[1:]
    return command + first + "".join(part if part.startswith("-") else f" {part}" for part in rest)


def _numbers(values: list[int], unit: int) -> str:
    out = ""
    for value in values:
        text = f"{value / unit:.{len(str(unit)) - 1}f}".rstrip("0").rstrip(".")
        text = re.sub(r"^(-?)0(?=\.)", r"\1", text)
        text = "0" if text in ("-0", "", "-") else text
        out += text if not out or text.startswith("-") else f" {text}"
    return out


def _flatten(element: ElementTree.Element, drawn: bool) -> None:
    """Shorten an element and its children in place; ``drawn`` is False inside definitions, which others refer to."""
    drawn = drawn and element.tag not in ("defs", "clipPath")
    digits = 1 if drawn else 2  # a marker is small, and drawn many times
    if "d" in element.attrib:
        element.set("d", path(element.attrib["d"], digits))
    for name in _PLACES:
        if name in element.attrib and element.tag in ("use", "text", "rect"):
            element.set(name, _numbers([round(float(element.attrib[name]) * 10**digits)], 10**digits))
    if "transform" in element.attrib:
        moved = re.sub(r"rotate\(-?0(?:\.0+)?(?: [^)]*)?\)|translate\(0 0\)", "", element.attrib["transform"])
        moved = re.sub(r"(translate|rotate)\(([^)]*)\)", lambda m: f"{m[1]}({_rounded(m[2])})", moved).strip()
        if moved:
            element.set("transform", moved)
        else:
            del element.attrib["transform"]
    if "style" in element.attrib:
        element.set("style", re.sub(r"\s*([:;])\s*", r"\1", element.attrib["style"]).strip(";"))
    if element.tag not in ("text", "tspan"):
        element.text = None
    kept: list[ElementTree.Element] = []
    for child in element:
        _flatten(child, drawn)
        if element.tag not in ("text", "tspan"):
            child.tail = None
        empty = child.tag in ("g", "defs") and not len(child)
        if empty or (child.tag == "path" and drawn and _unseen(child)):
            continue
        kept += list(child) if child.tag == "g" and not child.attrib else [child]
    element[:] = _hoisted(kept)


def _hoisted(children: list[ElementTree.Element]) -> list[ElementTree.Element]:
    """Marks of one look in a row, three and more, share it: but for their opacity, which a group would have as a whole."""
    out: list[ElementTree.Element] = []
    for style, run in groupby(children, lambda child: child.attrib.get("style") if child.tag == "use" else None):
        marks = list(run)
        if style is None or len(marks) < 3:
            out += marks
            continue
        shared = [part for part in style.split(";") if not part.startswith("opacity:")]
        own = [part for part in style.split(";") if part.startswith("opacity:")]
        group = ElementTree.Element("g", {"style": ";".join(shared)})
        for mark in marks:
            del mark.attrib["style"]
            if own:
                mark.set("style", ";".join(own))
        group.extend(marks)
        out.append(group)
    return out


def _unseen(shape: ElementTree.Element) -> bool:
    style = shape.attrib.get("style", "")
    return "fill:none" in style and "stroke:" not in style and "id" not in shape.attrib


def _rounded(numbers: str) -> str:
    return " ".join(_numbers([round(float(n) * 10)], 10) for n in re.split(r"[ ,]+", numbers.strip()))
