"""Change the repository's address everywhere.

    python tools/set_address.py https://github.com/OWNER/REPO
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
    old_slug, new_slug = address.slug(address.read(root)), address.slug(new)
    pattern = re.compile(rf"((?:github\.com|colab\.research\.google\.com/github)/){re.escape(old_slug)}(?![\w-])")
    changed = []
    for path in address.files(root):
        text = path.read_text("utf8")
        better = pattern.sub(lambda match: match[1] + new_slug, text)
        if better != text:
            path.write_text(better, "utf8")
            changed.append(path)
    return changed


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit((__doc__ or "").strip())
    try:
        for path in set_address(sys.argv[1]):
            print(path.relative_to(address.ROOT))
    except ValueError as error:
        sys.exit(str(error))
