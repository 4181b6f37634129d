"""Change the repository's address everywhere. **To be run before anything is published.**

    python tools/set_address.py https://github.com/OWNER/REPO
    python tools/set_address.py --check [https://github.com/OWNER/REPO]    fails while it is not set, or is another one

Chapters on Colab install and run what is at this address. Whoever owns the address runs code on the readers' machines. So it
must be the address of a repository that is yours already; a name that is still free could be registered by a stranger. As long
as nobody has set one, it is a placeholder that nobody can register, and the chapters install nothing.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import address


def set_address(new: str, root: Path = address.ROOT) -> list[Path]:
    """Write the new address over the old one; the files that changed.

    Raises:
        ValueError: not the address of a repository on GitHub.
    """
    old_slug, new_slug = address.slug(address.read(root)), address.slug(address.check_new(new))
    pattern = re.compile(rf"((?:github\.com|colab\.research\.google\.com/github)/){re.escape(old_slug)}(?![\w-])")
    changed = []
    for path in address.files(root):
        text = path.read_text("utf8")
        better = pattern.sub(lambda match: match[1] + new_slug, text)
        if better != text:
            path.write_text(better, "utf8")
            changed.append(path)
    return changed


def fault(expected: str = "", root: Path = address.ROOT) -> str | None:
    """Why nothing must be published from here: the address is the placeholder, or not ``expected``; None if it is fine."""
    found = address.read(root)
    if found == address.PLACEHOLDER:
        return "the repository's address is not set: run python tools/set_address.py with one that is yours"
    if expected and address.slug(found).lower() != address.slug(expected).lower():
        return f"the pages name {found}, and this is {expected}: run python tools/set_address.py {expected}"
    return None


def main(arguments: list[str]) -> str | None:
    try:
        if arguments[:1] == ["--check"] and len(arguments) <= 2:
            return fault(arguments[1] if len(arguments) > 1 else "")
        if len(arguments) != 1 or arguments[0].startswith("-"):
            return (__doc__ or "").strip()
        for path in set_address(arguments[0]):
            print(path.relative_to(address.ROOT))
        import chapter  # needs nbformat, which --check must do without

        chapter.main([str(path) for path in sorted((address.ROOT / "notebooks").glob("*.ipynb"))])
    except ValueError as error:
        return str(error)
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
