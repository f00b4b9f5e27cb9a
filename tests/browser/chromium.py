"""A headless Chromium, driven over its DevTools protocol by the websockets that uvicorn brings."""

import base64
import contextlib
import itertools
import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome")
PATIENCE_SECONDS = 60
_FLAGS = (
    "--headless=new",
    "--no-sandbox",  # which root cannot have
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--remote-debugging-port=0",
)


def executable() -> str | None:
    """The browser of this machine; None where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Page:
    """One tab, with cookies that no other tab shares."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._numbers = itertools.count(1)
        self._session: str | None = None
        self.events: list[dict] = []
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)
        attached = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: object) -> dict:
        """One command's result; events that come meanwhile are kept."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        self._connection.send(json.dumps(message))
        while True:
            told = self.receive()
            if told.get("id") == number:
                assert "error" not in told, told
                return told["result"]
            self.events.append(told)

    def event(self, method: str) -> dict:
        """The next event of a kind; those before it are forgotten."""
        while True:
            told = self.events.pop(0) if self.events else self.receive()
            if told.get("method") == method:
                return told["params"]

    def receive(self) -> dict:
        """Whatever the browser says next."""
        return json.loads(self._connection.recv(timeout=PATIENCE_SECONDS))

    def open(self, url: str) -> None:
        """Go to an address, as typed into the bar, and wait until its page is there."""
        self.events.clear()
        self.call("Page.navigate", url=url)
        self.event("Page.loadEventFired")

    def evaluate(self, script: str) -> object:
        """The value of a JavaScript expression, a promise's once it has one."""
        told = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def fill(self, selector: str, text: str) -> None:
        """Type into a field."""
        self.evaluate(f"document.querySelector({json.dumps(selector)}).focus()")
        self.call("Input.insertText", text=text)

    def press(self, selector: str) -> None:
        """Press a button with the mouse, and wait for the page that follows."""
        self.events.clear()
        where = self._middle_of(selector)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **where)
        self.event("Page.loadEventFired")

    def drop(self, selector: str, path: Path) -> None:
        """Drag a file or a folder of this machine to an element, and let go."""
        where = self._middle_of(selector)
        data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.call("Input.dispatchDragEvent", type=kind, data=data, **where)

    def until(self, condition: str) -> None:
        """Wait until a JavaScript expression holds."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self.evaluate(condition):
            assert time.monotonic() < deadline, f"{condition}: {self.text()}"
            time.sleep(0.05)

    def text(self) -> str:
        """What the page says."""
        return str(self.evaluate("document.body.innerText"))

    def path(self) -> str:
        """Where the page is, without host."""
        return str(self.evaluate("location.pathname + location.search"))

    def _middle_of(self, selector: str) -> dict[str, float]:
        """Where on the screen an element is, scrolled to."""
        box = self.evaluate(
            "(one => (one.scrollIntoView({block: 'nearest'}), one.getBoundingClientRect()))"
            f"(document.querySelector({json.dumps(selector)})).toJSON()"
        )
        return {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}

    def screenshot(self, path: Path, *, width: int, scheme: str) -> None:
        """The page as it looks at a width, in light or dark."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", features=[feature])
        shot = self.call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(shot["data"]))


@contextlib.contextmanager
def running_chromium(folder: Path) -> Iterator[str]:
    """A browser as long as the context; gives the address of its DevTools."""
    argv = [executable(), *_FLAGS, f"--user-data-dir={folder / 'profile'}", "about:blank"]
    log = folder / "chromium.log"
    with log.open("wb") as out:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (found := re.search(r"DevTools listening on (ws://\S+)", log.read_text())):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield found[1]
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


@contextlib.contextmanager
def new_page(devtools: str) -> Iterator[Page]:
    """A tab of a running browser."""
    with connect(devtools, max_size=None, open_timeout=PATIENCE_SECONDS) as connection:
        yield Page(connection)
