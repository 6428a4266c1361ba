"""A headless Chromium, asked by its own protocol over two pipes; no package is needed for it."""

import base64
import fcntl
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

PROGRAM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), ""
)
"""Path of a Chromium; empty where there is none."""
_QUIET = (
    "--headless=new",
    "--no-sandbox",  # Else it refuses to be run by root, as in a container.
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    # Else each page is opened by a new process, and that takes as long as the page.
    "--process-per-site",
    "--disable-features=BackForwardCache,RenderDocument",
    "--remote-debugging-pipe",
)


class Browser:
    """One window of a browser, in a profile of its own.

    Everything that the page asks of a network, and everything that it complains of, is remembered
    in `requests` and `complaints`.
    """

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self._last = self._opened = 0
        self._size = (0, 0)
        self._session: str | None = None
        self._profile = tempfile.mkdtemp(prefix="browser-")
        theirs, self._to = os.pipe()
        self._from, their_other = os.pipe()
        # The protocol wants its ends at 3 and 4, which these may be, the other way round.
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (theirs, their_other)]
        self._process = subprocess.Popen(
            [PROGRAM, *_QUIET, f"--user-data-dir={self._profile}"],
            preexec_fn=lambda: [os.dup2(end, place) for place, end in enumerate(ends, 3)],
            pass_fds=(3, 4),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in (theirs, their_other, *ends):
            os.close(end)
        self._buffer = b""
        try:
            target = self.call("Target.createTarget", url="about:blank")["targetId"]
            attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
            self._session = attached["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                self.call(f"{domain}.enable")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Browser":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the browser, and leave nothing of it."""
        self._process.kill()
        self._process.wait()
        os.close(self._to)
        os.close(self._from)
        shutil.rmtree(self._profile, ignore_errors=True)

    def call(self, method: str, **parameters: Any) -> Any:
        """Call a method of the protocol, and return its result."""
        self._last += 1
        message: dict[str, Any] = {"id": self._last, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._last:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self._hear(answer)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            piece = os.read(self._from, 2**20)
            assert piece, "the browser has ended"
            self._buffer += piece
        text, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        return message

    def _hear(self, event: dict[str, Any]) -> None:
        given = event.get("params", {})
        if event.get("method") == "Network.requestWillBeSent":
            url = given["request"]["url"]
            if not url.startswith(("data:", "file:", "about:")):  # Those ask nobody.
                self.requests.append(url)
        elif event.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(str(given["exceptionDetails"]))
        elif event.get("method") == "Runtime.consoleAPICalled":
            self.complaints.append(str(given["args"]))
        elif event.get("method") == "Log.entryAdded":
            self.complaints.append(str(given["entry"]))

    def open(self, path: Path, fragment: str = "", width: int = 1280, height: int = 900) -> None:
        """Open a file and wait until it is loaded."""
        self.size(width, height)
        self.requests.clear()
        self.complaints.clear()
        self._opened += 1
        # Else another fragment of the same file would not load it anew.
        address = f"{path.resolve().as_uri()}?{self._opened}{fragment}"
        self.call("Page.navigate", url=address)
        begins = json.dumps(address.partition("#")[0])
        self.until(f"location.href.startsWith({begins}) && document.readyState === 'complete'")

    def size(self, width: int, height: int = 900) -> None:
        """Make the window as wide as this."""
        if self._size == (width, height):
            return
        self._size = (width, height)
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def media(self, media: str = "", **features: str) -> None:
        """Take a medium, as "print", and settings of the system, as ``prefers_color_scheme``."""
        listed = [{"name": k.replace("_", "-"), "value": v} for k, v in features.items()]
        self.call("Emulation.setEmulatedMedia", media=media, features=listed)

    def run(self, script: str) -> Any:
        """Evaluate JavaScript in the page; a promise is waited for."""
        answer = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, condition: str) -> None:
        """Wait until JavaScript says so."""
        deadline = time.monotonic() + 60
        while not self.run(f"Boolean({condition})"):
            assert time.monotonic() < deadline, condition
            time.sleep(0.01)

    def type(self, text: str) -> None:
        """Type into what has the focus."""
        self.call("Input.insertText", text=text)

    def press(self, key: str, code: int, text: str = "") -> None:
        """Press a key and let it go."""
        about = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        kind = "keyDown" if text else "rawKeyDown"
        extra = {"text": text} if text else {}
        self.call("Input.dispatchKeyEvent", type=kind, **about, **extra)
        self.call("Input.dispatchKeyEvent", type="keyUp", **about)

    def click(self, selector: str) -> None:
        """Click with the mouse into the middle of what a selector finds first."""
        self.run(
            f"document.querySelector({json.dumps(selector)}).scrollIntoView({{block: 'center'}})"
        )
        x, y = self.run(
            f"(() => {{ const b = document.querySelector({json.dumps(selector)})"
            ".getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2] })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def screenshot(self, *, whole: bool = False) -> bytes:
        """Take a picture of the window, or of the whole page, as PNG."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        return base64.b64decode(shot["data"])
