"""The code here against that of another revision, timed in turns in one run.

    python -m tests.benchmarks.against 8e73f68

Each has a process of its own, which waits while the other works. Ratios below 1: the code here is faster.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[2]
TURNS = 15
#: what is timed: name -> code that defines ``work()``; it may use only what both revisions have
CASES: dict[str, str] = {
    f"{name}, {data}": f"""
splits = mmlib.load({data!r}, seed=0)
model, method = mmlib.build(splits, seed=0), {make}
method.setup(model, splits.train, 0)
optimizer = make_optimizer("adam", [*model.parameters(), *method.parameters()], 1e-3)
batches = list(splits.train.batches(64))[:-1]
def work():
    method.start_epoch(0, model, splits.train)
    for _ in range({repeats}):
        for batch in batches:
            method.step(model, batch, optimizer)
"""
    for data, heads, repeats in (("digits", 4, 1), ("two_speed", 3, 5))
    for name, make in (
        ("steps of joint", "methods.Joint()"),
        ("steps of late fusion", "methods.LateFusion()"),
        ("steps of Gradient-Blending, weights given", f"methods.GradientBlending([1] * {heads})"),
        ("steps of OGM", "methods.OGMGE(noise=None)"),
        ("steps of OGM-GE", "methods.OGMGE()"),
        ("steps of MLA", "methods.MLA()"),
    )
} | {
    f"fit of joint, 3 epochs, {data}": f"""
splits = mmlib.load({data!r}, seed=0)
def work():
    mmlib.fit(mmlib.build(splits, seed=0), splits, methods.Joint(), epochs=3, device="cpu", progress=False)
"""
    for data in ("digits", "two_speed")
}
#: the process: reads a case, answers with the seconds of core time that it took
WORKER = """
import json, sys, time, torch, mmlib
from mmlib import methods
from mmlib.train import make_optimizer
torch.set_num_threads(1)
cases, ready = json.loads(sys.stdin.readline()), {}
for line in sys.stdin:
    name = line.strip()
    if name not in ready:
        here = {"mmlib": mmlib, "methods": methods, "make_optimizer": make_optimizer}
        exec(cases[name], here)
        ready[name] = here["work"]
        ready[name]()  # warm up
    began = time.process_time()
    ready[name]()
    print(time.process_time() - began, flush=True)
"""


def start(root: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=root
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(CASES) + "\n")
    return process


def ask(process: subprocess.Popen[str], case: str) -> float:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(case + "\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def compare_with(other: Path) -> dict[str, dict[str, float]]:
    """Case -> median, lowest and highest ratio here / there, and milliseconds of core time here."""
    here, there = start(ROOT), start(other)
    found = {}
    for case in CASES:
        pairs = [(ask(here, case), ask(there, case)) for _ in range(TURNS)]
        ratios = sorted(a / b for a, b in pairs)
        found[case] = {
            "ratio": round(median(ratios), 3),
            "lowest": round(ratios[0], 3),
            "highest": round(ratios[-1], 3),
            "milliseconds here": round(1000 * min(a for a, _ in pairs), 2),
        }
        print(case, found[case], flush=True)
    for process in (here, there):
        process.kill()
    return found


def main(revision: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        other = Path(folder) / "other"
        subprocess.run(["git", "worktree", "add", "-q", "--detach", str(other), revision], cwd=ROOT, check=True)
        try:
            found = compare_with(other)
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(other)], cwd=ROOT, check=True)
    out = ROOT / "_build" / f"against-{revision}.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(found, indent=1) + "\n")
    print(f"written to {out.relative_to(ROOT)}")


if __name__ == "__main__":
    main(sys.argv[1])
