"""A local server in place of the public addresses: real files under their public names, and the ways in which a server fails.

`../shared/data`, beside the repository, holds the real files; where it is absent, tests that need them are skipped.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
ABSENT = f"the real files ({SHARED.parent.name}/{SHARED.name} beside the repository) are not here"


@dataclass
class Fault:
    """How the next ``times`` requests for a file go wrong."""

    times: int = 10**9
    status: int = 200
    cut: int | None = None  #: send so many bytes and hang up
    change: Callable[[bytes], bytes] | None = None  #: send something else, as if it were right
    announce: bool = True  #: say how many bytes will come
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class DataServer:
    """Serves ``folder``, and ``files`` before it; ``asked`` counts the requests ("GET name")."""

    url: str
    folder: Path
    files: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, Fault] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    delay: float = 0.0  #: seconds before each answer

    def content(self, name: str) -> bytes | None:
        path = self.folder / name
        return self.files.get(name) or (path.read_bytes() if "/" not in name and path.is_file() else None)


def _handler(state: list[DataServer]) -> type[BaseHTTPRequestHandler]:
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, body: bool) -> None:
            server, name = state[0], self.path.lstrip("/")
            with lock:
                server.asked[f"{self.command} {name}"] += 1
                fault = server.faults.get(name, Fault(0))
                if fault.times > 0:
                    fault.times -= 1
                else:
                    fault = Fault(0)
            time.sleep(server.delay)
            content = server.content(name)
            status = 404 if content is None else fault.status
            if status != 200 or content is None:
                content = b"no"
            elif fault.change:
                content = fault.change(content)
            self.send_response(status)
            if fault.announce:
                self.send_header("Content-Length", str(len(content)))
            for key, value in fault.headers.items():
                self.send_header(key, value)
            self.end_headers()
            if body:
                self.wfile.write(content if fault.cut is None else content[: fault.cut])

        def log_message(self, format: str, *args: object) -> None:
            pass  # quiet

    return Handler


@contextmanager
def serve(folder: Path) -> Iterator[DataServer]:
    """A server on a free port of this machine, until the block ends."""
    state: list[DataServer] = []
    http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(state))
    state.append(DataServer(f"http://127.0.0.1:{http.server_port}", folder))
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield state[0]
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
