"""Give a chapter its link to Colab, its first code cell and its list of references, or bring them up to date.

    python tools/chapter.py notebooks/01_data.ipynb ...
    python tools/chapter.py --check notebooks/*.ipynb     changes nothing, fails where something is out of date

Running it twice changes nothing the second time.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import address
import nbformat

sys.path.insert(0, str(address.ROOT / "book" / "_ext"))
import mmlib_papers
from mmlib_papers import Paper

REFERENCES = "## References"
CELL = "install-mmlib"
LINK = re.compile(r"\[[^\]]*\]\(https://colab\.research\.google\.com/github/[^)]*\)")


def install_code(repository: str, revision: str) -> str:
    """The first code cell: where `mmlib` is missing, as on Colab, install one release of it alone, so that torch stays as it is.

    While the repository's address is the placeholder there is nothing to install from, and the cell says so.
    """
    comment = "# Where mmlib is missing, as on Colab: install this release of it, and nothing else, so that torch stays as it is."
    does = [f'%pip install -q --no-deps "mmlib @ git+{repository}@{revision}"', "import mmlib"]
    if repository == address.PLACEHOLDER:
        comment = "# The owner of this copy has not said where it is published, so there is nothing to install mmlib from."
        said = '    "mmlib is not installed: its owner must run tools/set_address.py first"'
        does = ["raise SystemExit(", said, ") from None"]
    other = ['    if error.name != "mmlib":', "        raise  # mmlib is there, and says what it lacks"]
    lines = [
        comment,
        "try:",
        "    import mmlib",
        "except ModuleNotFoundError as error:",
        *other,
        *(f"    {line}" for line in does),
    ]
    return "\n".join(lines)


def with_references(source: str, cited: list[Paper]) -> str:
    """The last text of a chapter with a list of what the chapter cites, in plain Markdown; without one if it cites nothing."""
    text = source.partition(REFERENCES)[0].rstrip()
    return (f"{text}\n\n" if text else "") + f"{REFERENCES}\n\n{mmlib_papers.listed(cited)}" if cited else text


def refresh(notebook: Any, path_in_repository: str, repository: str, revision: str) -> None:
    """Insert or renew the link, the install cell and the list of references of a notebook, in place.

    Raises:
        ValueError: the first cell is not Markdown that starts with a title.
    """
    cells = notebook.cells
    if not cells or cells[0].cell_type != "markdown" or not cells[0].source.startswith("# "):
        raise ValueError(f"{path_in_repository}: expected a first cell in Markdown that starts with '# Title'")
    link = f"[Open in Colab]({address.colab(path_in_repository, repository)})"
    title, _, rest = cells[0].source.partition("\n")
    rest = LINK.sub("", rest).strip("\n")
    cells[0].source = f"{title}\n\n{link}" + (f"\n\n{rest}" if rest.strip() else "")
    written = [cell for cell in cells if cell.cell_type == "markdown"]
    texts = [cell.source.partition(REFERENCES)[0] for cell in written]
    written[-1].source = with_references(written[-1].source, mmlib_papers.cited("\n".join(texts), mmlib_papers.papers()))
    cells[:] = [cell for cell in cells if cell.get("id") != CELL]
    cell = nbformat.v4.new_code_cell(
        install_code(repository, revision), id=CELL, metadata={"tags": ["hide-input", "remove-output"]}
    )
    first_code = next((i for i, other in enumerate(cells) if other.cell_type == "code"), len(cells))
    cells.insert(first_code, cell)


def refresh_file(path: Path, root: Path = address.ROOT, check: bool = False) -> bool:
    """`refresh` a file; True if it was, or with ``check`` would be, changed."""
    old = path.read_text("utf8")
    notebook = nbformat.reads(old, 4)
    refresh(notebook, path.resolve().relative_to(root).as_posix(), address.read(root), address.revision(root))
    new = nbformat.writes(notebook, 4) + "\n"
    if nbformat.reads(old, 4) == nbformat.reads(new, 4):
        return False
    if not check:
        path.write_text(new, "utf8")
    return True


def main(arguments: list[str]) -> str | None:
    check = "--check" in arguments
    paths = [Path(a) for a in arguments if a != "--check"]
    if not paths:
        return (__doc__ or "").strip()
    changed = [path for path in paths if refresh_file(path, check=check)]
    for path in changed:
        print(f"{path}: {'out of date' if check else 'brought up to date'}")
    return "run: python tools/chapter.py " + " ".join(map(str, changed)) if check and changed else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
