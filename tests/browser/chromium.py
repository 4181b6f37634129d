"""A headless Chromium, driven through its DevTools protocol over a pair of pipes: no driver, no package."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# A quiet browser: what it would ask its maker for by itself is not a request of the page.
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1300,1000",
    "--remote-debugging-pipe",
)


def find() -> str | None:
    """The path of a Chromium or Chrome on this machine."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Chromium:
    """One browser with one page. `visit` a page, look at what it logged and asked for, press keys, take pictures."""

    def __init__(self, executable: str) -> None:
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        child_reads, self._write = os.pipe()
        self._read, child_writes = os.pipe()
        # the protocol's pipes are descriptors 3 and 4 of the browser
        shell = f'exec "$@" 3<&{child_reads} 4>&{child_writes}'
        command = ["bash", "-c", shell, "chromium", executable, *OPTIONS, f"--user-data-dir={self._profile.name}", "about:blank"]
        self._process = subprocess.Popen(
            command, pass_fds=(child_reads, child_writes), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(child_reads)
        os.close(child_writes)
        self._buffer, self._number, self._session = b"", 0, None
        self.events: list[dict[str, Any]] = []
        target = self._wait_for_page()
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setScrollbarsHidden", hidden=True)
        self.call("Network.setCacheDisabled", cacheDisabled=True)

    def __enter__(self) -> Chromium:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        os.close(self._read)
        os.close(self._write)
        self._profile.cleanup()

    def _wait_for_page(self) -> str:
        end = time.monotonic() + 30
        while time.monotonic() < end:
            for target in self.call("Target.getTargets")["targetInfos"]:
                if target["type"] == "page":
                    return str(target["targetId"])
            time.sleep(0.05)
        raise TimeoutError("chromium: no page after 30 s")

    def _message(self, timeout: float) -> dict[str, Any] | None:
        while b"\0" not in self._buffer:
            if not select.select([self._read], [], [], timeout)[0]:
                return None
            chunk = os.read(self._read, 1 << 16)
            if not chunk:
                raise ConnectionError(f"chromium ended by itself (exit {self._process.poll()})")
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\0")
        return dict(json.loads(line))

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One call of the protocol; events that arrive meanwhile are kept in `events`."""
        self._number += 1
        request: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            request["sessionId"] = self._session
        os.write(self._write, json.dumps(request).encode() + b"\0")
        end = time.monotonic() + 60
        while time.monotonic() < end:
            message = self._message(60)
            if message is None:
                break
            if message.get("id") == self._number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return dict(message["result"])
            self.events.append(message)
        raise TimeoutError(f"chromium: no answer to {method} in 60 s")

    def pump(self, seconds: float) -> None:
        """Collect events for a while."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            message = self._message(left)
            if message is not None:
                self.events.append(message)

    def visit(self, url: str, dark: bool = False, width: int = 1200, height: int = 900) -> None:
        """Open a page and wait until it has loaded and asked for nothing more for a moment."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme, {"name": "prefers-reduced-motion", "value": "reduce"}])
        self.events.clear()
        answer = self.call("Page.navigate", url=url)
        if "errorText" in answer:
            raise ConnectionError(f"{url}: {answer['errorText']}")
        end = time.monotonic() + 60
        while not any(e.get("method") == "Page.loadEventFired" for e in self.events):
            if time.monotonic() > end:
                raise TimeoutError(f"{url}: not loaded after 60 s")
            self.pump(0.1)
        quiet_from = len(self.requests())
        for _ in range(40):
            self.pump(0.25)
            if len(self.requests()) == quiet_from and self.run("document.readyState") == "complete":
                return
            quiet_from = len(self.requests())

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression in the page."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def press(self, key: str, code: int) -> None:
        """Press and release a key, such as ("ArrowRight", 39)."""
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def click(self, x: float, y: float) -> None:
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def picture(self, path: Path | None = None, clip: dict[str, float] | None = None, whole: bool = False) -> bytes:
        """A PNG of the window, of a part of the page that is in the window, or of the whole page (not of very long ones)."""
        options: dict[str, Any] = {"clip": {**clip, "scale": 1}} if clip else {}
        if whole:
            options["captureBeyondViewport"] = True
            size = self.call("Page.getLayoutMetrics")["cssContentSize"]
            options["clip"] = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        png = base64.b64decode(self.call("Page.captureScreenshot", format="png", **options)["data"])
        if path is not None:
            path.write_bytes(png)
        return png

    def requests(self) -> list[str]:
        """Addresses that the page has asked for since `visit`."""
        return [e["params"]["request"]["url"] for e in self.events if e.get("method") == "Network.requestWillBeSent"]

    def outside(self) -> list[str]:
        """Those of `requests` that go to another machine."""
        return [
            url
            for url in self.requests()
            if urlsplit(url).scheme not in ("data", "blob", "file", "about")
            and urlsplit(url).hostname not in ("127.0.0.1", "localhost")
        ]

    def errors(self) -> list[str]:
        """Uncaught exceptions and errors in the console since `visit`, and failed requests."""
        found = []
        for event in self.events:
            parameters = event.get("params", {})
            if event.get("method") == "Runtime.exceptionThrown":
                details = parameters["exceptionDetails"]
                found.append(f"{details['text']} {details.get('exception', {}).get('description', '')}".strip())
            elif event.get("method") == "Log.entryAdded" and parameters["entry"]["level"] == "error":
                found.append(f"{parameters['entry']['text']} {parameters['entry'].get('url', '')}".strip())
            elif event.get("method") == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "assert"):
                found.append(" ".join(str(a.get("value", a.get("description"))) for a in parameters["args"]))
        return found
