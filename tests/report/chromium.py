"""A page in headless Chromium, driven over the DevTools protocol on a pipe; nothing but the browser is needed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from waiting import HANGS_S

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_QUIET = "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --remote-debugging-pipe"


class Page:
    """One tab: what it shows is asked for in JavaScript, and what it complained about is in `complaints`."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._out, self._in = os.fdopen(to_browser, "wb"), os.fdopen(from_browser, "rb")
        self._left, self._number, self._session = b"", 0, ""
        self.complaints: list[str] = []

    def open(self, path: Path, width: int, scheme: str) -> None:
        """Load a file from the disk and wait until it is there."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.call("Page.navigate", url=path.as_uri())
        while self._next().get("method") != "Page.loadEventFired":
            pass

    def ask(self, script: str) -> Any:
        """The value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def call(self, method: str, **parameters: Any) -> Any:
        """Send a command and wait for its answer."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._out.write(json.dumps(message).encode() + b"\0")
        self._out.flush()
        while (answer := self._next()).get("id") != self._number:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def close(self) -> None:
        """End the browser."""
        self._session = ""
        self.call("Browser.close")
        self._out.close()
        self._in.close()

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._left:
            block = os.read(self._in.fileno(), 1 << 16)
            assert block, "the browser has ended"
            self._left += block
        text, self._left = self._left.split(b"\0", 1)
        message: dict[str, Any] = json.loads(text)
        method, about = message.get("method", ""), message.get("params", {})
        url = about.get("request", {}).get("url", "")
        if method in ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled"):
            self.complaints.append(json.dumps(about))
        elif method == "Network.requestWillBeSent" and not url.startswith(("file:", "data:")):
            self.complaints.append(f"asks the network for {url}")
        return message


@contextmanager
def page(path: Path, profile: Path, *, width: int = 1200, scheme: str = "light") -> Iterator[Page]:
    """A file, opened; `profile` is an empty folder for the browser's own files."""
    read_commands, write_commands = os.pipe()
    read_answers, write_answers = os.pipe()
    command = f'exec "$0" {_QUIET} "--user-data-dir=$1" 3<&{read_commands} 4>&{write_answers} 2>/dev/null'
    process = subprocess.Popen(
        ["bash", "-c", command, str(BROWSER), str(profile)], pass_fds=(read_commands, write_answers)
    )
    os.close(read_commands)
    os.close(write_answers)
    tab = Page(write_commands, read_answers)
    try:
        tab.open(path, width, scheme)
        yield tab
        tab.close()
        process.wait(timeout=HANGS_S)
    finally:
        process.kill()
        process.wait()
