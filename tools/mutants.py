"""Do the tests notice? Changes the library in one place at a time, runs the tests of that place, and lists what they let pass.

    python tools/mutants.py [--sample 100 --seed 1] [mmlib/train.py mmlib/methods ...]

The changes are cosmic-ray's (one for each operator instead of eleven), and statements left out; its own runner would start
Python, and import torch, for every one. Here each mutant is a fork of one process that has imported all but mmlib, in a copy
of the tree. Annotations are left alone: nothing evaluates them. tools/mutants_equivalent.txt lists what changes nothing.
Exit status 1: fewer than 95 % of the others were noticed.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import parso
from cosmic_ray.ast import ast_nodes, get_ast  # type: ignore[import-not-found,import-untyped,unused-ignore]
from cosmic_ray.mutating import mutate_code  # type: ignore[import-not-found,import-untyped,unused-ignore]
from cosmic_ray.plugins import get_operator  # type: ignore[import-not-found,import-untyped,unused-ignore]

ROOT = Path(__file__).parent.parent
PATHS = [
    "mmlib/methods",
    "mmlib/fusion.py",
    "mmlib/fusion_base.py",
    "mmlib/fusion_cosine.py",
    "mmlib/fusion_gates.py",
    "mmlib/train.py",
    "mmlib/compare.py",
    "mmlib/data/core.py",
]
NEEDED = ["mmlib", "tests", "tools", "book/_ext", "book/results", "book/claims", "notebooks", "conftest.py", "pyproject.toml"]
Change = tuple[str, tuple[str, ...], tuple[str, ...]]  #: file, lines before and after, without their indentation

#: module -> its tests, the quickest and most telling first; "name: word" are those of a file whose id has the word
TESTS = {
    "compare": ["test_compare"],
    "data/core": ["test_data_core", "test_train", "test_missing_standardise"],
    "fusion": ["test_fusion", "test_encoders_model", "test_contract: joint"],
    "methods/base": ["test_train", "test_gradient_blending", "test_mla", "test_contract"],
    "methods/blending_estimate": ["test_gradient_blending", "test_contract: gradient_blending"],
    "methods/gradient_blending": ["test_gradient_blending", "test_missing_standardise", "test_contract: gradient_blending"],
    "methods/joint": ["test_train", "test_contract: joint"],
    "methods/late_fusion": ["test_train", "test_contract: late_fusion"],
    "methods/mla": ["test_mla", "test_metrics_mla", "test_contract: mla"],
    "methods/mla_fusion": ["test_mla", "test_contract: mla"],
    "methods/mla_projection": ["test_mla", "test_contract: mla"],
    "methods/modality_dropout": ["test_missing_standardise", "test_contract: modality_dropout"],
    "methods/ogm_ge": ["test_ogm_ge", "test_contract: ogm_ge"],
    "methods/ogm_noise": ["test_ogm_ge", "test_contract: ogm_ge"],
    "methods/unimodal": ["test_train", "test_contract: unimodal"],
    "train": ["test_train", "test_gradient_blending", "test_contract: joint", "test_contract: late_fusion"],
}
ALWAYS = "test_defaults"
PRELOAD = "hypothesis joblib numpy pandas pytest scipy.optimize scipy.stats sklearn.linear_model torch torch._dynamo".split()

SWAPS = {
    "Binary": "Add_Sub Sub_Add Mul_Div Div_Mul FloorDiv_Mul Mod_Mul Pow_Mul BitAnd_BitOr BitOr_BitAnd",
    "Comparison": "Eq_NotEq NotEq_Eq Lt_LtE LtE_Lt Gt_GtE GtE_Gt Is_IsNot IsNot_Is",
    "Unary": "Delete_Invert Delete_Not Delete_USub",
}
OPERATORS: list[Any] = [get_operator(f"core/Replace{kind}Operator_{swap}")() for kind in SWAPS for swap in SWAPS[kind].split()]
OPERATORS += [
    get_operator(f"core/{name}")()
    for name in "AddNot ExceptionReplacer NumberReplacer RemoveDecorator ReplaceAndWithOr ReplaceOrWithAnd ReplaceTrueWithFalse "
    "ReplaceFalseWithTrue ReplaceBreakWithContinue ReplaceContinueWithBreak ZeroIterationForLoop".split()
]


class LeaveOut:
    """Calls whose value nobody takes, ``raise`` and ``+=`` become ``pass``; cosmic-ray has no such operator."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
        if node.type == "simple_stmt":
            first = node.children[0]
            adds = first.type == "expr_stmt" and getattr(first.children[1], "value", "=") != "="
            if adds or first.type in ("atom_expr", "testlist_star_expr", "raise_stmt"):
                yield first.start_pos, first.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        first = node.children[0]
        node.children[0] = parso.python.tree.Name("pass", first.start_pos, first.get_first_leaf().prefix)
        return node


OPERATORS.append(LeaveOut())


def places(path: Path) -> Iterator[tuple[Path, Any, int]]:
    """Where a module can be changed: an operator, and the number of the place that it finds."""
    text = path.read_text("utf8")
    notes = [getattr(n, what, None) for n in ast.walk(ast.parse(text)) for what in ("annotation", "returns")]
    spans = [((n.lineno, n.col_offset), (n.end_lineno, n.end_col_offset)) for n in notes if isinstance(n, ast.expr)]
    nodes = list(ast_nodes(get_ast(text)))
    for operator in OPERATORS:
        for number, (start, end) in enumerate(place for node in nodes for place in operator.mutation_positions(node)):
            if not any(low <= start and end <= high for low, high in spans):
                yield path, operator, number


def mutants(chosen: list[tuple[Path, Any, int]]) -> Iterator[tuple[str, str, str]]:
    """File, text, and the text changed in one place."""
    for path, operator, number in chosen:
        text = path.read_text("utf8")
        mutant = mutate_code(text, operator, number)
        with suppress(SyntaxError):  # the stars of {**a, **b} are no product
            compile(mutant, path, "exec")
            yield path.relative_to(ROOT).as_posix(), text, mutant


def change(file: str, before: str, after: str) -> Change:
    lines = list(difflib.unified_diff(before.splitlines(), after.splitlines(), n=0))[2:]
    gone, come = (tuple(line[1:].strip() for line in lines if line.startswith(sign)) for sign in "-+")
    return file, gone, come


def equivalents() -> dict[Change, str]:
    """From paragraphs: the file, lines before (``- ``), lines after (``+ ``), and why that changes nothing."""
    found = {}
    for paragraph in (ROOT / "tools" / "mutants_equivalent.txt").read_text("utf8").split("\n\n")[1:]:
        file, *lines = paragraph.strip().splitlines()
        gone, come = (tuple(line[2:].strip() for line in lines if line.startswith(f"{sign} ")) for sign in "-+")
        found[file, gone, come] = " ".join(line for line in lines if line[:2] not in ("- ", "+ "))
    return found


class Pick:
    """A pytest plugin: of the files with a word behind them, the tests whose id has the word; and the quickest first."""

    def __init__(self, names: list[str], notes: Path) -> None:
        self.words = {name.partition(":")[0]: name.partition(": ")[2] for name in names}
        self.notes, self.seconds = notes, json.loads(notes.read_text()) if notes.exists() else {}

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items[:] = [item for item in items if self.words[item.path.stem] in item.nodeid]
        items.sort(key=lambda item: self.seconds.get(item.nodeid, 0.1))

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when == "call":
            self.seconds[report.nodeid] = report.duration

    def pytest_sessionfinish(self) -> None:
        self.notes.write_text(json.dumps(self.seconds))


def run(copy: Path, names: list[str], limit: int) -> str:
    """ "survived", "killed" or "timed out": pytest in a fork, until its first failure."""
    child = os.fork()
    if not child:
        os.setsid()
        os.chdir(copy)
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5))  # not by the clock: the machine may be busy
        log = os.open("mutant.log", os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
        os.dup2(log, 1), os.dup2(log, 2)
        sys.path.insert(0, str(copy))
        import pytest

        notes = Path(tempfile.gettempdir(), "mmlib-mutants-seconds.json")
        files = [f"tests/{name.partition(':')[0]}.py" for name in names]
        os._exit(pytest.main([*files, "-xq", "-pno:cacheprovider", "--hypothesis-seed=0"], plugins=[Pick(names, notes)]))
    end = time.monotonic() + 10 * limit  # but for what waits and does not work
    try:
        while not (found := os.waitpid(child, os.WNOHANG))[0]:
            if time.monotonic() > end:
                os.killpg(child, signal.SIGKILL)
            time.sleep(0.02)
    except KeyboardInterrupt:
        os.killpg(child, signal.SIGKILL)
        raise
    code = os.waitstatus_to_exitcode(found[1])
    if code == 5:
        raise ValueError(f"TESTS: no test at all of {', '.join(names)}")
    return "survived" if code == 0 else "timed out" if code in (-signal.SIGKILL, -signal.SIGXCPU) else "killed"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", default=PATHS)
    parser.add_argument("--sample", type=int, help="so many mutants, drawn at random; all by default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, default=90, help="seconds of computing for one mutant")
    parser.add_argument("--trust", action="store_true", help="do not first see whether the tests pass without any change")
    options = parser.parse_args()
    os.environ.update(OMP_NUM_THREADS="1", PYTHONDONTWRITEBYTECODE="1")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the fork ends, too
    sys.dont_write_bytecode = True  # two mutants of one size in one second would pass for one another
    files = [f for p in options.paths for f in (sorted((ROOT / p).rglob("*.py")) if (ROOT / p).is_dir() else [ROOT / p])]
    known, every = equivalents(), [place for file in files for place in places(file)]
    if options.sample is not None:
        random.Random(options.seed).shuffle(every)
    drawn = list(islice(mutants(every), options.sample))
    for stale in set(known) - {change(*m) for m in drawn} if options.sample is None else ():
        print("mutants_equivalent.txt: no such mutant among these (any more):", *stale, sep="\n  ")
    fallback = sorted({name.partition(":")[0] for names in TESTS.values() for name in names})
    tests = {f: [ALWAYS, *TESTS.get(f.removeprefix("mmlib/").removesuffix(".py"), fallback)] for f, _, _ in drawn}
    print(f"{len(every)} places in {len(files)} files; {len(drawn)} mutants, seed {options.seed}", flush=True)
    for name in PRELOAD:
        __import__(name)
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder).resolve()
        os.environ["PYTHONPATH"] = str(copy)
        for part in NEEDED:
            if (ROOT / part).is_dir():
                shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / part, copy / part)
        whole = list(dict.fromkeys(name.partition(":")[0] for names in tests.values() for name in names))
        if not options.trust and run(copy, whole, 10 * options.limit) != "survived":
            print((copy / "mutant.log").read_text(), "The tests fail without any change.", sep="\n")
            return 2
        for number, (file, before, after) in enumerate(drawn, 1):
            began, what = time.monotonic(), change(file, before, after)
            (copy / file).write_text(after, "utf8")
            outcome = "equivalent" if what in known else run(copy, tests[file], options.limit)
            (copy / file).write_text(before, "utf8")
            counts[outcome] += 1
            print(f"{number:>4} {outcome:<10} {time.monotonic() - began:5.1f} s  {file}", flush=True)
            if outcome == "survived":
                print(*(f"       - {line}" for line in what[1]), *(f"       + {line}" for line in what[2]), sep="\n", flush=True)
    noticed, rest = counts["killed"] + counts["timed out"], len(drawn) - counts["equivalent"]
    print(f"{len(drawn)} mutants: {', '.join(f'{n} {outcome}' for outcome, n in counts.most_common())}")
    print(f"noticed: {noticed} of the {rest} that change something, {noticed / max(rest, 1):.1%}")
    return int(noticed < 0.95 * rest)


if __name__ == "__main__":
    sys.exit(main())
