"""Bring the scripts that the book's pages serve themselves: MathJax and the ipywidgets manager, versions pinned.

    python tools/vendor.py

Needs npm. Without it nothing is fetched and the pages load both from a CDN; the build says so.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from set_up import how_to

VENDOR = Path(__file__).resolve().parents[1] / "book" / "assets" / "vendor"
PACKAGES = ("mathjax@3.2.2", "@jupyter-widgets/html-manager@1.0.15")
#: package folder, files in it, folder under `VENDOR`
FILES = (
    ("mathjax/es5", "tex-svg-full.js", "mathjax"),
    ("@jupyter-widgets/html-manager/dist", "embed.js", "ipywidgets"),
    ("@jupyter-widgets/html-manager/dist", "*.woff2", "ipywidgets"),
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
        print(f"math and widgets are served with the pages, from {vendor}")
        return
    print(
        "NOTE: npm was not found. The book builds all the same, but its pages will load math and widgets from a CDN.",
        "To serve them with the pages, install npm and run this again:",
        how_to("npm"),
        sep="\n",
        file=sys.stderr,
    )


if __name__ == "__main__":
    main()
