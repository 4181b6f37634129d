"""Jobs side by side in processes of their own. A process that dies takes its own job with it and no other.

The processes are fresh ones for every call, so that they run the code as it is on disk now, not as it was when an earlier call
started them. They end with the process that started them, however that ends, and hold nothing that outlives them.
"""

from __future__ import annotations

import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from typing import IO, Any, NamedTuple

PROGRAM = "import ast, sys; sys.path[:] = ast.literal_eval(sys.argv[1]); from mmlib.workers import serve; serve()"
#: one thread in each process, for every library that reads one of these
THREADS = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
     "NUMBA_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1",
)  # fmt: skip


class Failed(NamedTuple):
    """In the place of a result: why there is none."""

    message: str


def side_by_side(
    function: Callable[..., Any], jobs: Sequence[tuple[Any, ...]], workers: int
) -> Generator[tuple[int, Any], None, None]:
    """Yield (number of the job, ``function(*job)``) as the jobs end, each in one of ``workers`` processes with one thread.

    What is `Failed` instead of a result: a function that raised, a job or a result that cannot be sent, a process that died.
    Closing the iterator ends the processes.
    """
    pool, orderly = _Pool(function, jobs, min(workers, len(jobs))), False
    try:
        for _ in jobs:
            yield pool.answers.get()
        orderly = True
    finally:
        pool.close(orderly)


class _Pool:
    """What the threads share that wait for one process each."""

    def __init__(self, function: Callable[..., Any], jobs: Sequence[tuple[Any, ...]], workers: int) -> None:
        import cloudpickle  # pickles also what a notebook defines

        self.function, self.jobs, self.dumps = function, iter(enumerate(jobs)), cloudpickle.dumps
        self.answers: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
        self.processes: list[subprocess.Popen[bytes]] = []
        self.lock, self.closed = threading.Lock(), False
        self.threads = [threading.Thread(target=self.work, daemon=True) for _ in range(workers)]
        for thread in self.threads:
            thread.start()

    def work(self) -> None:
        """Give one process after another job; where it died, go on with a new one."""
        process: subprocess.Popen[bytes] | None = None
        while True:
            with self.lock:
                number, job = next(self.jobs, (-1, None))
            if job is None or self.closed:
                return
            try:
                message = self.dumps((self.function, job))
                process = self.start() if process is None else process
                assert process.stdin is not None
                assert process.stdout is not None
                try:
                    _send(process.stdin, message)
                    answer = _receive(process.stdout)
                except (OSError, EOFError):
                    dead, process, answer = process, None, b""
                result: Any = pickle.loads(answer) if answer else Failed(_death(dead))
            except Exception as error:  # what cannot be sent, and a process that cannot be started
                result = Failed(f"{type(error).__name__}: {error}")
            if self.closed:
                return
            self.answers.put((number, result))

    def start(self) -> subprocess.Popen[bytes]:
        with self.lock:
            if self.closed:
                raise RuntimeError("closed")
            command = [sys.executable, "-c", PROGRAM, repr([str(path) for path in sys.path])]
            environment = {**os.environ, **THREADS}
            process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            self.processes.append(process)
            return process

    def close(self, orderly: bool) -> None:
        """End the processes: those that have nothing to do in good order, those that work at once."""
        with self.lock:
            self.closed = True
        for process in self.processes:
            if not orderly:
                process.kill()
            elif process.stdin is not None:
                with suppress(OSError):
                    process.stdin.close()
        for process in self.processes:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for thread in self.threads:
            thread.join(5)
        for process in self.processes:
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with suppress(OSError):
                        pipe.close()


def _death(process: subprocess.Popen[bytes]) -> str:
    """How a process ended that should not have."""
    try:
        code = process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        return "its process closed the connection"
    if code >= 0:
        return f"its process ended with exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
    memory = "; where nobody killed it, memory ran out: try fewer workers" if name == "SIGKILL" else ""
    return f"its process was ended by {name}{memory}"


def _send(stream: IO[bytes], message: bytes) -> None:
    stream.write(len(message).to_bytes(8, "big"))
    stream.write(message)
    stream.flush()


def _receive(stream: IO[bytes]) -> bytes:
    size = _exactly(stream, 8)
    return _exactly(stream, int.from_bytes(size, "big"))


def _exactly(stream: IO[bytes], size: int) -> bytes:
    found = stream.read(size)
    if len(found) < size:
        raise EOFError
    return found


def serve() -> None:
    """The whole life of a process: jobs from standard input, answers to standard output, until whoever sends them is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal reaches all; the one who started this ends it
    inbox, outbox = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # what a job prints is no answer
    jobs: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(inbox, jobs), daemon=True).start()
    while (message := jobs.get()) is not None:
        _send(outbox, _answer(message))


def _listen(inbox: IO[bytes], jobs: queue.SimpleQueue[bytes | None]) -> None:
    try:
        while True:
            jobs.put(_receive(inbox))
    except (OSError, EOFError):  # nobody is there any more to hear an answer
        jobs.put(None)
        time.sleep(1)
        os._exit(1)


def _answer(message: bytes) -> bytes:
    try:
        function, job = pickle.loads(message)
        return pickle.dumps(function(*job))
    except BaseException as error:  # also SystemExit: it is of the job, not of this process
        return pickle.dumps(Failed(f"{type(error).__name__}: {error}"))
