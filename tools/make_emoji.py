"""Make ``mmlib/data/assets/emoji.npz`` and ``emoji.tsv``: pictures of emoji in two styles, their names and their groups.

Fetches four packages with npm, at pinned versions and digests (145 MB), or takes them from a folder:

    python tools/make_emoji.py                      # writes the files
    python tools/make_emoji.py --packages FOLDER    # fetches into FOLDER, or takes what is there already
    python tools/make_emoji.py --check              # makes them again in memory and compares

Pictures: Noto Emoji (Apache-2.0) and Twemoji (CC BY 4.0), 32 x 32 pixels, laid on white, five bits a colour. Names: Unicode CLDR
(Unicode-3.0), English. Flags are left out (their names are those of countries), and the five parts of emoji that Unicode calls
components. The bytes are the same on every day; another zlib than the usual one may pack them otherwise, and ``--check`` then
compares what is in them.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ASSETS = Path(__file__).resolve().parent.parent / "mmlib" / "data" / "assets"
#: package and version -> SHA-256 of the file that npm packs
PACKAGES = {
    "emoji-datasource-google@16.0.0": "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438",
    "emoji-datasource-twitter@16.0.0": "f64a530c63bca463bd8317fdc4615ce63a53a0c65018e4ce2d848aaba7a28877",
    "cldr-annotations-full@48.2.0": "28576e51225deb51e3ddd734b0f824a0079682cb5d8c27faa9f68149317a14d1",
    "cldr-annotations-derived-full@48.2.0": "4be946ff5815f806ec78b50363d577a769f2fbfb90c6380a44e161a92436996e",
}
#: style -> package, and the picture in it that has all emoji, each in a cell of 34 pixels with a rim of one; the clean ones, in
#: which no gap is filled with another maker's picture
SHEETS = {
    "noto": ("emoji-datasource-google@16.0.0", "package/img/google/sheets-clean/32.png"),
    "twemoji": ("emoji-datasource-twitter@16.0.0", "package/img/twitter/sheets-clean/32.png"),
}
LIST = ("emoji-datasource-google@16.0.0", "package/emoji.json")
NAMES = (
    ("cldr-annotations-derived-full@48.2.0", "package/annotationsDerived/en/annotations.json", "annotationsDerived"),
    ("cldr-annotations-full@48.2.0", "package/annotations/en/annotations.json", "annotations"),
)
SIZE, RIM = 32, 1
BITS = 5
LEFT_OUT = ("Flags", "Component")
PEOPLE = "People & Body"
#: words that tell variants of one picture of people apart
WHO = {"man", "woman", "men", "women", "person", "people", "and"}
#: what is one picture under several names, when those words are gone
ALIKE = {
    "": "person", "boy": "child", "girl": "child", "older": "old", "prince": "with crown", "princess": "with crown",
    "santa claus": "claus", "mrs claus": "claus", "mx claus": "claus",
    "mermaid": "merperson", "merman": "merperson", "mer": "merperson",
}  # fmt: skip
HEADER = "emoji\tgroup\tfamily\tvariant\tname"


def fetched(folder: Path) -> dict[str, Path]:
    """The packages, in ``folder``; those that are not there come through npm.

    Raises:
        RuntimeError: a package is not the one that was pinned.
    """
    found = {}
    for package, digest in PACKAGES.items():
        path = folder / (package.replace("@", "-") + ".tgz")
        if not path.exists():
            print(f"fetching {package}", file=sys.stderr)
            subprocess.run(["npm", "pack", "--silent", package], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        here = hashlib.sha256(path.read_bytes()).hexdigest()
        if here != digest:
            raise RuntimeError(f"{path.name}: expected SHA-256 {digest}, found {here}")
        found[package] = path
    return found


def member(package: Path, name: str) -> bytes:
    with tarfile.open(package) as archive:
        file = archive.extractfile(name)
        if file is None:
            raise RuntimeError(f"{package.name}: {name} is not a file")
        return file.read()


def text_of(code: str) -> str:
    """ "1F44D-1F3FB" -> the emoji itself."""
    return "".join(chr(int(point, 16)) for point in code.split("-"))


def family_of(name: str, group: str) -> str:
    """What all variants of one emoji share: skin tones, gender, hair and direction of people do not count.

    >>> family_of("woman running: facing right", "People & Body") == family_of("man running", "People & Body")
    True
    """
    if group != PEOPLE:
        return name
    words = re.findall(r"[a-z’'.-]+", name.lower().partition(":")[0].removesuffix(" facing right"))
    rest = " ".join(word for word in words if word not in WHO).replace(".", "")
    return f"people: {ALIKE.get(rest, rest)}"


def listed(entries: Iterable[dict[str, Any]], names: dict[str, str]) -> list[tuple[str, str, str, bool, str, int, int]]:
    """Emoji, group, family, whether it is a variant with a skin tone, name, column and row of the sheet, in Unicode's order."""
    found = []
    for entry in sorted(entries, key=lambda e: int(e["sort_order"])):
        group = entry["category"]
        if group in LEFT_OUT:
            continue
        for one in (entry, *entry.get("skin_variations", {}).values()):
            name = names[text_of(one["unified"]).replace("\ufe0f", "")]
            family = family_of(names[text_of(entry["unified"]).replace("\ufe0f", "")], group)
            found.append((text_of(one["unified"]), group, family, one is not entry, name, one["sheet_x"], one["sheet_y"]))
    return found


def cut(sheet: NDArray[np.uint8], places: list[tuple[int, int]]) -> NDArray[np.uint8]:
    """Pictures [N, 32, 32, 3], five bits a colour (0 to 31), of a sheet [H, W, 4] with transparency, on white."""
    opaque = sheet[..., 3:].astype(np.float64) / 255
    flat = np.rint(sheet[..., :3] * opaque + 255 * (1 - opaque)).astype(np.uint8) >> (8 - BITS)
    cell = SIZE + 2 * RIM
    return np.stack([flat[cell * y + RIM :, cell * x + RIM :][:SIZE, :SIZE] for x, y in places])


def packed(arrays: dict[str, NDArray[Any]]) -> bytes:
    """An .npz whose bytes depend on its content alone."""
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        for name, array in arrays.items():
            single = io.BytesIO()
            np.save(single, array, allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, single.getvalue(), zipfile.ZIP_DEFLATED, 9)
    return whole.getvalue()


def make(packages: dict[str, Path]) -> dict[str, bytes]:
    """name of a file -> its bytes."""
    from PIL import Image

    names: dict[str, str] = {}
    for package, path, key in NAMES:
        told = json.loads(member(packages[package], path))[key]["annotations"]
        names |= {text.replace("\ufe0f", ""): entry["tts"][0] for text, entry in told.items() if "tts" in entry}
    rows = listed(json.loads(member(packages[LIST[0]], LIST[1])), names)
    families = {family: number for number, family in enumerate(dict.fromkeys(row[2] for row in rows))}
    lines = [f"{text}\t{group}\t{families[family]}\t{int(variant)}\t{name}" for text, group, family, variant, name, *_ in rows]
    pictures: dict[str, NDArray[Any]] = {}
    for style, (package, path) in SHEETS.items():
        with Image.open(io.BytesIO(member(packages[package], path))) as image:
            pictures[style] = cut(np.asarray(image.convert("RGBA")), [row[5:] for row in rows])
    return {"emoji.tsv": ("\n".join([HEADER, *lines]) + "\n").encode(), "emoji.npz": packed(pictures)}


def same(made: bytes, shipped: bytes) -> bool:
    """Whether two .npz hold the same, however they are packed."""
    with np.load(io.BytesIO(made)) as a, np.load(io.BytesIO(shipped)) as b:
        return a.files == b.files and all(np.array_equal(a[k], b[k]) for k in a.files)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="compare with the shipped files instead of writing them")
    parser.add_argument("--packages", type=Path, help="a folder for the packages; by default one that is removed afterwards")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.packages or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        made = make(fetched(folder))
    wrong = 0
    for name, content in made.items():
        path = ASSETS / name
        if not options.check:
            path.write_bytes(content)
            print(f"{name}: {len(content):,} bytes")
            continue
        shipped = path.read_bytes()
        equal = content == shipped
        said = "the same bytes" if equal else "DIFFERENT"
        if not equal and name.endswith(".npz") and same(content, shipped):
            equal, said = True, "the same pictures, packed by another zlib"
        print(f"{name}: {said}")
        wrong += not equal
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
