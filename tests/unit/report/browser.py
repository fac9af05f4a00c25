"""A real browser, driven by the DevTools protocol over two pipes."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
LIMIT_S = 120.0                  # of one answer: the machine may be very busy
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-extensions", "--hide-scrollbars",
    "--remote-debugging-pipe", "--window-size=1400,900",
)
PIPES = """\
import os, sys
os.dup2(int(sys.argv[1]), 100); os.dup2(int(sys.argv[2]), 101)
os.dup2(100, 3); os.dup2(101, 4); os.closerange(5, 110)
os.execvp(sys.argv[3], sys.argv[3:])
"""


def find() -> str | None:
    """The browser of this machine."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


class Browser:
    """One process of it; ``events`` is what it has said unasked."""

    def __init__(self, program: str, profile: Path) -> None:
        its_input, self._output = os.pipe()
        self._input, its_output = os.pipe()
        command = [program, *FLAGS, f"--user-data-dir={profile}"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", PIPES, str(its_input), str(its_output), *command],
            pass_fds=(its_input, its_output), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(its_input)
        os.close(its_output)
        self._rest = b""
        self._calls = 0
        self.events: list[dict[str, Any]] = []

    def close(self) -> None:
        """End it."""
        os.close(self._output)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._input)

    def call(self, method: str, session: str = "", **parameters: Any) -> dict[str, Any]:
        """Its answer; AssertionError if it is an error, or comes too late."""
        self._calls += 1
        asked = {"id": self._calls, "method": method, "params": parameters}
        if session:
            asked["sessionId"] = session
        os.write(self._output, json.dumps(asked).encode() + b"\0")
        deadline_s = time.monotonic() + LIMIT_S
        while True:
            answer = self._read(deadline_s, method)
            if answer.get("id") == self._calls:
                assert "error" not in answer, f"{method}: {answer}"
                return dict(answer["result"])
            self.events.append(answer)

    def _read(self, deadline_s: float, method: str) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._input], [], [], max(0.0, deadline_s - time.monotonic()))
            assert ready, f"{method}: no answer within {LIMIT_S} s"
            piece = os.read(self._input, 1 << 16)
            assert piece, f"{method}: the browser has ended with {self._process.poll()}"
            self._rest += piece
        text, _, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(text))


class Page:
    """A page in it."""

    def __init__(self, browser: Browser, scheme: str = "light", scripts: bool = True) -> None:
        self._browser = browser
        self._target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = browser.call("Target.attachToTarget", targetId=self._target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.call("Emulation.setScriptExecutionDisabled", value=not scripts)

    def close(self) -> None:
        self._browser.call("Target.closeTarget", targetId=self._target)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._browser.call(method, self._session, **parameters)

    def open(self, file: Path) -> Page:
        """Load it, and wait until it has drawn."""
        self.call("Page.navigate", url=file.as_uri())
        self.until("document.readyState === 'complete'", bool)
        return self

    def eval(self, expression: str) -> Any:
        """The value of an expression."""
        done = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def until(self, expression: str, holds: Callable[[Any], bool]) -> Any:
        """The first value for which it holds."""
        deadline_s = time.monotonic() + LIMIT_S
        while True:
            value = self.eval(expression)
            if holds(value):
                return value
            assert time.monotonic() < deadline_s, f"{expression}: {value!r}"
            time.sleep(0.02)

    def drawn(self) -> None:
        """Wait until what was asked for is on the screen."""
        self.eval("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        """A mouse that somebody moves, presses, or turns the wheel of."""
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)
        self.drawn()

    def click(self, x: float, y: float) -> None:
        for kind in ("mousePressed", "mouseReleased"):
            self.mouse(kind, x, y, button="left", clickCount=1)

    def key(self, key: str) -> None:
        text = {"text": key} if len(key) == 1 else {}
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, **(text if kind == "keyDown" else {}))
        self.drawn()

    def picture(self, file: Path) -> None:
        """What is on the screen, as PNG."""
        file.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def events(self, *methods: str) -> list[dict[str, Any]]:
        """What the page said of these kinds."""
        return [
            event["params"] for event in self._browser.events
            if event.get("sessionId") == self._session and event["method"] in methods
        ]
