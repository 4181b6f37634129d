"""Ratios measured in one run, printed and written to _build/benchmarks.json: ``make benchmarks``.

Not tests: a ratio on a busy machine proves nothing. Each pair is timed in turns, and the median of the turns' ratios given.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from mmlib.compare import compare
from mmlib.data import load
from mmlib.methods import Joint
from mmlib.model import build
from mmlib.setting import Setting
from mmlib.train import fit
from tests.benchmarks import avmnist, blending, mla, ogm, plain
from tests.benchmarks.timing import in_turns

EPOCHS, BATCH = 5, 64
#: modules with a function ``measure() -> {name: figures}``, one per method
METHODS: list[Any] = [plain, blending, ogm, avmnist, mla]
#: what is timed -> knobs of the data set; many samples show the cost of a step, few that of an epoch's end as well
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "two_speed": ("two_speed", {}),
    "two_speed, 10,000 samples": ("two_speed", {"samples": 10_000}),
    "digits": ("digits", {}),
}


def bare_loop(data: str, device: str, validate: bool) -> int:
    """What one would write by hand: the same model, data, optimiser and batch size."""
    name, knobs = CASES[data]
    splits = load(name, seed=0, **knobs).to(device)
    model = build(splits, seed=0).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)  # as `mmlib.train.make_optimizer` makes it
    x, y = splits.train.inputs, splits.train.labels
    steps = 0
    for _ in range(EPOCHS):
        model.train()
        for at in torch.randperm(len(y)).to(device).split(BATCH):
            output = model({m: v[at] for m, v in x.items()})
            loss = F.cross_entropy(output.logits, y[at])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            steps += 1
        if validate:
            model.eval()
            with torch.no_grad():
                logits = model(splits.val.inputs).logits
                F.cross_entropy(logits, splits.val.labels).item()
                (logits.argmax(1) == splits.val.labels).float().mean().item()
    return steps


def our_loop(data: str, device: str, validate: bool) -> None:
    name, knobs = CASES[data]
    splits = load(name, seed=0, **knobs)
    if not validate:  # one sample to validate on: what remains is the training
        splits.val = splits.val.select([0])
    fit(build(splits, seed=0), splits, Joint(), epochs=EPOCHS, batch_size=BATCH, device=device, keep="last", progress=False)


def import_ratio() -> dict[str, float]:
    def importing(name: str) -> Callable[[], Any]:
        return lambda: subprocess.run([sys.executable, "-c", f"import {name}"], check=True)

    return in_turns(importing("mmlib"), importing("torch"))


def processes_against_threads() -> dict[str, float]:
    """One thread in each of two processes against every run taking both cores, one after the other."""
    setting = Setting("joint", data="digits", fit_options={"epochs": EPOCHS, "device": "cpu"})

    def in_processes() -> None:
        compare([setting], seeds=4, workers=2, cache=False, progress=False)

    def with_threads() -> None:
        torch.set_num_threads(2)
        for _ in range(4):
            our_loop("digits", "cpu", validate=True)
        torch.set_num_threads(1)

    return in_turns(with_threads, in_processes)


def main() -> None:
    torch.set_num_threads(1)
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    found: dict[str, Any] = {"torch": torch.__version__, "devices": devices}
    for module in METHODS:  # each measures what its method promises
        for name, value in module.measure().items():
            found[name] = value
            print(name, value, flush=True)
    for device in devices:
        for data in CASES:
            for validate in (False, True):
                name = f"fit / bare loop, {data}, {device}, {'with' if validate else 'without'} validation"
                found[name] = in_turns(
                    lambda d=data, v=device, w=validate: our_loop(d, v, w),
                    lambda d=data, v=device, w=validate: bare_loop(d, v, w),
                )
                print(name, found[name], flush=True)
        began = time.perf_counter()
        steps = bare_loop("digits", device, validate=False)
        found[f"steps per second, bare loop, digits, {device}"] = round(steps / (time.perf_counter() - began), 1)
    found["import mmlib / import torch"] = import_ratio()
    print("import mmlib / import torch", found["import mmlib / import torch"], flush=True)
    found["two threads each / one thread each in two processes, 4 runs"] = processes_against_threads()
    print("threads / processes", found["two threads each / one thread each in two processes, 4 runs"])
    out = Path(__file__).parents[2] / "_build" / "benchmarks.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(found, indent=1) + "\n")
    print(f"written to {out.relative_to(Path.cwd()) if out.is_relative_to(Path.cwd()) else out}")


if __name__ == "__main__":
    main()
