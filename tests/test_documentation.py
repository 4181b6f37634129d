"""The examples in docstrings and in the README run, and the drawings draw."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest
import torch

import mmlib
from mmlib.book import drawings

ROOT = Path(__file__).parents[1]
MODULES = sorted(m.name for m in pkgutil.walk_packages(mmlib.__path__, "mmlib.") if not m.name.endswith("__main__"))


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize("page", ["README.md", "book/intro.md", "book/cheat_sheet.md"])
def test_examples_of_a_page_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other, as a reader would."""
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text("utf8"), re.DOTALL)
    assert examples
    own: dict[str, object] = {
        "new_images": torch.randn(5, 1, 8, 8),
        "images": torch.randn(60, 1, 8, 8),
        "spectrograms": torch.randn(60, 1, 32, 32),
        "labels": torch.arange(60) % 3,
        "person": torch.arange(60) // 6,
    }
    for example in examples:
        for long, short in (("epochs=20", "epochs=1"), ("budget=12, seeds=2", "budget=2, seeds=1"), ("seeds=10", "seeds=2")):
            example = example.replace(long, short)
        exec(example, own)
    if page == "README.md":
        assert own["probabilities"].shape == (5, 3)  # type: ignore[attr-defined]


def test_docstring_introduction_and_readme_show_the_same_lines() -> None:
    example = (mmlib.__doc__ or "").partition("\n\n")[2].strip()
    assert f"```python\n{example}\n```" in (ROOT / "book/intro.md").read_text("utf8")
    build, fit, evaluate = example.splitlines()[-3:]
    assert f"{build}\n{fit}\nprint({evaluate})" in (ROOT / "README.md").read_text("utf8")  # after data of one's own


def test_drawing_of_joint_training() -> None:
    fig = drawings.joint_training(["image", "audio"])
    texts = [t.get_text() for t in fig.axes[0].texts]
    assert {"image", "audio", "one loss"} <= set(texts)
    assert texts.count("encoder") == 2


def test_hook_says_what_is_stored() -> None:
    from mmlib.book import results

    stored = results.load("naive_fusion")
    picture = drawings.hook("caption")
    assert f"all three, one network {100 * stored.interval('joint, concat').mean:.0f} %" in picture.alt
    assert picture.caption == "caption"
