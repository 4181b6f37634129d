"""Processes side by side: one that dies takes its own run with it and no other, and none outlives who started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from mmlib.cache import cache_folder
from mmlib.compare import RunsFailedError, compare
from mmlib.data.core import Splits
from mmlib.methods import Joint
from mmlib.setting import Setting
from mmlib.workers import Failed, side_by_side
from tests.conftest import make_tiny

FIT = {"epochs": 1, "batch_size": 64, "device": "cpu"}


def odd_one_out(number: int) -> Any:
    """What a job may do to its process."""
    print("said by a job")  # to standard output: it must not be taken for an answer
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 2:
        sys.exit("enough")
    if number == 3:
        raise ValueError("three")
    if number == 4:
        return lambda: None  # an answer that cannot be sent
    if number == 5:
        os._exit(7)
    return number


def test_each_job_has_an_end_of_its_own() -> None:
    found = dict(side_by_side(odd_one_out, [(n,) for n in range(7)], 2))
    assert (found[0], found[6]) == (0, 6)
    messages = {n: answer.message for n, answer in found.items() if isinstance(answer, Failed)}
    assert messages.pop(4).split(":")[0] in ("AttributeError", "PicklingError", "TypeError")
    assert messages == {
        1: "its process was ended by SIGKILL; where nobody killed it, memory ran out: try fewer workers",
        2: "SystemExit: enough",
        3: "ValueError: three",
        5: "its process ended with exit code 7",
    }


def test_a_job_that_cannot_be_sent() -> None:
    ((_, answer),) = side_by_side(odd_one_out, [(threading.Lock(),)], 1)
    assert isinstance(answer, Failed)
    assert "TypeError" in answer.message


class Fatal(Joint):
    """Its process is killed in the run with seed 1."""

    def setup(self, model: Any, data: Any, seed: int) -> None:
        if seed == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        super().setup(model, data, seed)


def own_data(seed: int) -> Splits:
    return make_tiny(samples=60, seed=seed)


def test_a_killed_run_is_named_and_the_others_survive() -> None:
    base = Setting("joint", data=own_data, fit_options=FIT)
    with pytest.raises(RunsFailedError) as caught:
        compare([base.with_("fatal", method=Fatal), base], seeds=2, workers=2, progress=False)
    first, second = str(caught.value).splitlines()
    assert first == "1 of 4 runs failed, the others are kept:"
    assert second.startswith("  setting 'fatal', seed 1: its process was ended by SIGKILL")
    assert {(r["label"], r["seed"]) for r in caught.value.finished} == {("fatal", 0), ("joint", 0), ("joint", 1)}
    assert len(list(cache_folder().glob("*.json"))) == 2


PROGRAM = """
import os, time
from mmlib.workers import side_by_side

def job(folder, number):  # of __main__, as in a notebook
    open(f"{folder}/{os.getpid()}", "w").close()
    time.sleep(60)

for _ in side_by_side(job, [(FOLDER, n) for n in range(2)], 2):
    pass
"""


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at /proc")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_no_process_is_left_behind(how: signal.Signals, tmp_path: Path) -> None:
    """Busy ones, too, within seconds; and no warning of what leaked."""
    program = PROGRAM.replace("FOLDER", repr(str(tmp_path)))
    parent = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 120
    while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    children = [int(file.name) for file in tmp_path.iterdir()]
    assert len(children) == 2
    assert all(map(alive, children))
    parent.send_signal(how)
    assert parent.stderr is not None
    told = parent.stderr.read()
    parent.wait(30)
    until = time.monotonic() + 20
    while any(map(alive, children)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(map(alive, children))
    assert "leaked" not in told
    assert "resource_tracker" not in told
