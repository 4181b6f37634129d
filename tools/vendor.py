"""Bring what sets the book's math when it is built: KaTeX, its style and its fonts, the version pinned.

    python tools/vendor.py

Needs npm. Without it nothing is fetched, and the pages set their math by MathJax from a CDN; the build says so.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from set_up import how_to

VENDOR = Path(__file__).resolve().parents[1] / "book" / "assets" / "vendor"
PACKAGES = ("katex@0.16.22",)
#: package folder, files in it, folder under `VENDOR`
FILES = (
    ("katex/dist", "katex.min.js", "katex"),
    ("katex/dist", "katex.min.css", "katex"),
    ("katex/dist/fonts", "*.woff2", "katex/fonts"),
)


def have_all(vendor: Path = VENDOR) -> bool:
    """Whether the pinned versions are in place."""
    stamp = vendor / "versions.txt"
    return stamp.exists() and stamp.read_text("utf8").split() == list(PACKAGES)


def fetch(vendor: Path = VENDOR, npm: str | None = None) -> bool:
    """Fetch what is missing into ``vendor``; False if npm is not to be had.

    Raises:
        subprocess.CalledProcessError: npm failed.
        FileNotFoundError: a package does not hold a file it should.
    """
    if have_all(vendor):
        return True
    npm = npm or shutil.which("npm")
    if npm is None:
        return False
    with tempfile.TemporaryDirectory() as folder:
        options = ["--prefix", folder, "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        subprocess.run([npm, "install", *options, *PACKAGES], check=True, stdout=subprocess.DEVNULL)
        shutil.rmtree(vendor, ignore_errors=True)
        for source, pattern, target in FILES:
            found = sorted((Path(folder) / "node_modules" / source).glob(pattern))
            if not found:
                raise FileNotFoundError(f"{source}/{pattern}: not in the npm packages {', '.join(PACKAGES)}")
            (vendor / target).mkdir(parents=True, exist_ok=True)
            for file in found:
                shutil.copyfile(file, vendor / target / file.name)
    (vendor / "versions.txt").write_text("\n".join(PACKAGES) + "\n", "utf8")
    return True


def main(vendor: Path = VENDOR) -> None:
    if fetch(vendor):
        print(f"math is set when the book is built, by what is in {vendor}")
        return
    print(
        "NOTE: npm was not found. The book builds all the same, but its pages will set their math by MathJax from a CDN.",
        "To have it set when the book is built, install npm and run this again:",
        how_to("npm"),
        sep="\n",
        file=sys.stderr,
    )


if __name__ == "__main__":
    main()
