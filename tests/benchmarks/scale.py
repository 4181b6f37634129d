"""What half precision, compilation, a second process and many seeds at once change, on this machine's processor or GPU.

    python -m tests.benchmarks.scale              # the CPU: small clips, small encoders
    python -m tests.benchmarks.scale --device cuda  # clips in the size of CREMA-D's; ResNet-18, where timm is installed

Written to book/speed/DEVICE.json, with the machine and versions; the chapter on scaling up shows what is there. Each row is timed
in turns with joint training in float32, so that a busy machine is busy for both.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from mmlib import backbones, distributed
from mmlib.data import MultimodalData, Splits
from mmlib.methods import MLA, OGMGE, Joint, Method
from mmlib.model import MultimodalClassifier, build
from mmlib.record import machine, write_json
from mmlib.train import fit
from tests.benchmarks import many, plain
from tests.benchmarks.timing import in_turns, seconds

ROOT = Path(__file__).parents[2]
METHODS: dict[str, Callable[[], Method]] = {"joint": Joint, "OGM-GE": lambda: OGMGE(scale="conv"), "MLA": MLA}
PRECISIONS = ("fp32", "bf16", "fp16")  # float16 on a GPU alone: a processor without it computes it in software, ten times slower
EPOCHS, BATCH = 2, 64


def clips(device: str) -> Splits:
    """Noise: in the shapes of small clips on a CPU, of CREMA-D's as its papers read it on a GPU."""
    if device == "cpu":
        return plain.clips()
    draws = torch.Generator().manual_seed(0)

    def part(n: int) -> MultimodalData:
        shapes = {"audio": (1, 64, 300), "video": (3, 3, 224, 224)}
        inputs = {m: torch.randn(n, *shape, generator=draws) for m, shape in shapes.items()}
        return MultimodalData(inputs, torch.arange(n) % 6, 6)

    return Splits(part(1024), part(6), part(6), name="clips").to(device)


def network(splits: Splits, device: str) -> tuple[MultimodalClassifier, str]:
    """ResNet-18 on a GPU, where timm is there; else the small encoders; and which it is."""
    if device != "cpu":
        try:
            return build(splits, encoders=backbones.encoders(splits, "resnet18"), seed=0), "two ResNet-18"
        except ModuleNotFoundError:
            pass
    return build(splits, seed=0), "small encoders"


class Work:
    """Epochs of one network, called again and again; compiled once."""

    def __init__(self, splits: Splits, device: str, make: Callable[[], Method], **options: Any) -> None:
        self.splits, self.make = splits, make
        self.model, self.network = network(splits, device)
        self.options = {
            "epochs": EPOCHS, "batch_size": BATCH, "optimizer": "sgd", "lr": 1e-3, "keep": "last", "device": device,
            "progress": False, **options,
        }  # fmt: skip

    def __call__(self) -> None:
        fit(self.model, self.splits, self.make(), **self.options)


def measure(device: str, turns: int) -> dict[str, Any]:
    splits = clips(device)
    splits.val = splits.val.select([0])  # what remains is the training
    joint = Work(splits, device, Joint)
    rows: list[dict[str, Any]] = []
    for name, make in METHODS.items():
        for precision in PRECISIONS[: 2 if device == "cpu" else 3]:
            for compiled in (False, True):
                torch.compiler.reset()
                work = Work(splits, device, make, precision=precision, compile=compiled)
                if device != "cpu":
                    work()
                    torch.cuda.reset_peak_memory_stats()
                row = {"method": name, "precision": precision, "compiled": compiled, **in_turns(work, joint, turns)}
                if device != "cpu":
                    row |= {"memory": torch.cuda.max_memory_allocated(), "utilisation": utilisation(work)}
                rows.append(row)
                print(row, flush=True)
    samples = len(splits.train) * EPOCHS
    found: dict[str, Any] = {"network": joint.network, "samples per second, joint, fp32": round(samples / seconds(joint), 1)}
    found["rows"] = rows
    found["plain"] = plain.measure() if device == "cpu" else {}
    found["seeds"] = many.measure(device)
    if device == "cpu":
        for width in (1, 8):
            name = f"two processes with one thread each, encoders of width {width}: seconds of one / of two, OGM-GE, clips"
            found.setdefault("processes", {})[name] = two_processes(width)
    return found


def utilisation(work: Callable[[], None]) -> float | None:
    """The share of the time in which the GPU computed, in percent, where the driver's library says so."""
    seen: list[int] = []
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.1):
            seen.append(torch.cuda.utilization())

    try:
        torch.cuda.utilization()
    except (ModuleNotFoundError, RuntimeError):
        return None
    watcher = threading.Thread(target=look)
    watcher.start()
    work()
    done.set()
    watcher.join()
    return sum(seen) / len(seen) if seen else None


def two_processes(width: int) -> dict[str, float]:
    """Seconds of one process over those of two with the same global batch, one thread each; starting up is not counted."""
    ratios = []
    for _ in range(3):
        took = []
        for count in (1, 2):
            with tempfile.TemporaryDirectory() as folder:
                out = Path(folder) / "seconds"
                command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
                command += ["-m", "tests.benchmarks.scale", "--process", str(out), str(width)]
                subprocess.run(command, cwd=ROOT, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True)
                took.append(float(out.read_text()))
        ratios.append(took[0] / took[1])
    ratios.sort()
    return {"ratio": round(ratios[1], 3), "lowest": round(ratios[0], 3), "highest": round(ratios[-1], 3)}


def process(out: Path, width: float) -> None:
    state = distributed.processes(cpu=True)
    torch.set_num_threads(1)
    splits = clips("cpu")
    splits.val = splits.val.select([0])
    model = build(splits, width=width, seed=0)
    for epochs in (1, 3):
        began = time.perf_counter()
        distributed.fit(model, splits, OGMGE(), cpu=True, epochs=epochs, batch_size=BATCH, keep="last", progress=False)
        took = time.perf_counter() - began
    if state.is_main_process:
        out.write_text(str(took))


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("--device", default="cpu")
    asked.add_argument("--turns", type=int, default=5)
    asked.add_argument("--out", type=Path)
    asked.add_argument("--process", nargs=2, metavar=("FILE", "WIDTH"), help="one of several processes, started by this script")
    args = asked.parse_args()
    if args.process is not None:
        process(Path(args.process[0]), float(args.process[1]))
        return
    torch.set_num_threads(1)
    found = {**machine(), "turns": args.turns, **measure(args.device, args.turns)}
    path = args.out or ROOT / "book" / "speed" / f"{args.device}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, found)
    print(json.dumps(found["seeds"]), path)


if __name__ == "__main__":
    main()
