"""What the library cannot do without. Imported first, so that whatever is missing is named in one line, with what to do."""

from __future__ import annotations

from importlib.util import find_spec

#: module -> the package that has it; those of pyproject.toml
NEEDS = {
    "torch": "torch",
    "numpy": "numpy",
    "sklearn": "scikit-learn",
    "safetensors": "safetensors",
    "scipy": "scipy",
    "pandas": "pandas",
    "matplotlib": "matplotlib",
    "cloudpickle": "cloudpickle",
    "platformdirs": "platformdirs",
    "tqdm": "tqdm",
    "pooch": "pooch",
    "requests": "requests",
    "filelock": "filelock",
}


def missing() -> list[str]:
    """The packages that are not installed."""
    return [package for module, package in NEEDS.items() if find_spec(module) is None]


if lacking := missing():
    raise ModuleNotFoundError(
        f"mmlib is installed without what it needs: {', '.join(lacking)}. Install it with: pip install {' '.join(lacking)} "
        "(in a notebook: %pip install ..., then restart the kernel)",
        name=lacking[0],
    )
