"""Two processes (gloo, on the CPU) train what one trains: every method, checkpoints, and what happens when one of them dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from mmlib import distributed, train
from mmlib.methods import Joint
from mmlib.model import build
from tests.conftest import make_tiny
from tests.distributed_run import CASES, trained

ROOT = Path(__file__).parents[1]
#: as a user starts it; --multi_gpu stands for "more than one process", which Accelerate otherwise leaves to MPI on a CPU
LAUNCH = [
    sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_machines", "1", "--main_process_port", "0",
    "--mixed_precision", "no", "--dynamo_backend", "no", "--num_processes",
]  # fmt: skip
TRAIN = ["-m", "mmlib", "train", "--data", "two_speed", "--method", "ogm_ge", "--device", "cpu", "--batch-size", "50"]


def launch(processes: int, *arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [*LAUNCH, str(processes), *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, env=environment(), **options)


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What both processes of one launch ended with."""
    folder = tmp_path_factory.mktemp("two")
    done = launch(2, "-m", "tests.distributed_run", folder)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.mark.xdist_group("distributed")
@pytest.mark.parametrize("name", CASES)
def test_two_processes_end_where_one_does(name: str, two: Path) -> None:
    """All weights within 1e-6 of those of one process, in half precision (which rounds, and rounds other sums) within 1e-3;
    equal bit for bit in both processes."""
    first, second = (torch.load(two / f"{name} {rank}.pt") for rank in (0, 1))
    assert all(torch.equal(x, second[k]) for k, x in first.items())
    torch.set_num_threads(1)
    alone = trained(name, lambda *args, **options: train.fit(*args, device="cpu", **options))
    assert alone.keys() == first.keys()
    tolerance = 1e-3 if CASES[name][2].get("precision") else 1e-5 if name == "gradient_blending: online" else 1e-6
    for k, x in alone.items():
        torch.testing.assert_close(first[k], x, rtol=tolerance, atol=tolerance, msg=lambda m, k=k: f"{k}: {m}")


@pytest.mark.xdist_group("distributed")
def test_they_evaluate_together(two: Path) -> None:
    for rank in (0, 1):
        scores = torch.load(two / f"evaluated {rank}.pt")
        assert all(alone == pytest.approx(together, abs=1e-6) for alone, together in scores.values())


@pytest.mark.xdist_group("distributed")
def test_a_checkpoint_is_resumed_by_another_number_of_processes(tmp_path: Path) -> None:
    def told(text: str) -> dict[str, float]:
        return dict(json.loads(text))

    one = [sys.executable, *TRAIN]
    done = subprocess.run([*one, "--epochs", "4"], cwd=ROOT, capture_output=True, text=True, check=True, env=environment())
    expected = told(done.stdout)
    for first in (1, 2):
        path = tmp_path / f"{first}.pt"
        for processes, epochs in ((first, "2"), (3 - first, "4")):
            arguments = ["--epochs", epochs, "--checkpoint", str(path), "--resume"]
            if processes == 2:
                done = launch(2, *TRAIN, *arguments)
            else:
                done = subprocess.run([*one, *arguments], cwd=ROOT, capture_output=True, text=True, env=environment())
            assert done.returncode == 0, done.stderr[-2000:]
        assert told(done.stdout) == pytest.approx(expected, abs=1e-4)  # one JSON text, from the first process alone
    refused = launch(2, *TRAIN, "--epochs", "5", "--checkpoint", tmp_path / "1.pt")
    assert refused.returncode != 0
    assert "1.pt exists already; pass --resume" in refused.stderr


@pytest.mark.xdist_group("distributed")
def test_a_process_that_dies_ends_all_and_nothing_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    arguments = ["--epochs", "10000", "--checkpoint", str(path)]
    running = subprocess.Popen(
        [*LAUNCH, "2", *TRAIN, *arguments], cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        for _ in range(600):
            if path.exists() and len(_rows(path)) > 2:
                break
            assert running.poll() is None, running.communicate()[1][-2000:]
            time.sleep(0.1)
        workers = _workers(running.pid)
        assert len(workers) == 2
        os.kill(workers[1], signal.SIGKILL)
        _, errors = running.communicate(timeout=90)
    finally:
        running.kill()
    assert running.returncode != 0
    assert "SIGKILL" in errors or "-9" in errors or "exitcode" in errors
    done_before = len(_rows(path))
    resumed = subprocess.run(
        [sys.executable, *TRAIN, "--epochs", str(done_before + 2), "--checkpoint", str(path), "--resume"],
        cwd=ROOT, capture_output=True, text=True, env=environment(),
    )  # fmt: skip
    assert resumed.returncode == 0, resumed.stderr[-2000:]
    assert len(_rows(path)) == done_before + 2


def _rows(path: Path) -> list[Any]:
    return list(torch.load(path, weights_only=True)["history"]["rows"])


def _workers(launcher: int) -> list[int]:
    """The processes that train, below the launcher."""
    import psutil

    below = psutil.Process(launcher).children(recursive=True)
    return sorted(p.pid for p in below if "mmlib" in p.cmdline() and "accelerate.commands.launch" not in " ".join(p.cmdline()))


def test_one_process_is_fit(tmp_path: Path) -> None:
    splits = make_tiny(("a", "b"))
    options: dict[str, Any] = {"epochs": 2, "batch_size": 16, "progress": False}
    rows = [
        [{**row, "seconds": 0} for row in history.rows]
        for history in (
            train.fit(build(splits), splits, Joint(), device="cpu", **options),
            distributed.fit(build(splits), splits, Joint(), cpu=True, checkpoint=tmp_path / "run.pt", **options),
        )
    ]
    assert rows[0] == rows[1]


def test_without_accelerate_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(ModuleNotFoundError, match=r"accelerate is not installed.*pip install 'mmlib\[scale\]'"):
        distributed.processes()


class OtherNorm(nn.BatchNorm1d):
    pass


@pytest.fixture
def _alone() -> Any:
    """A group of one process."""
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("_alone")
def test_what_cannot_be_shared_is_refused_and_nothing_of_it_is_left() -> None:
    splits = make_tiny(("a", "b"))

    def encoder(norm: type[nn.Module]) -> nn.Module:
        return nn.Sequential(nn.Linear(6, 4), norm(4))

    odd = build(splits, encoders={m: encoder(OtherNorm) for m in splits.modalities}, dims={"a": 4, "b": 4})
    with (
        pytest.raises(ValueError, match="encoders: OtherNorm cannot be shared by several processes; known: BatchNorm1d"),
        distributed.shared(odd),
    ):
        pass
    model = build(splits, encoders={m: encoder(nn.BatchNorm1d) for m in splits.modalities}, dims={"a": 4, "b": 4})
    names, before = list(model.state_dict()), model(splits.train.inputs).logits
    with distributed.shared(model):
        assert list(model.state_dict()) == names
        within = model(splits.train.inputs).logits
        within.sum().backward()
    torch.testing.assert_close(within, before)
    assert {type(part) for part in model.modules() if isinstance(part, nn.BatchNorm1d)} == {nn.BatchNorm1d}
    assert not any("forward" in part.__dict__ or "share" in part.__dict__ for part in model.modules())
