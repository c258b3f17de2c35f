"""Debian's Chromium without a screen, driven through chromedriver's HTTP interface (W3C WebDriver)."""

import base64
import contextlib
import http.client
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.claims import Claims

PACKAGES = ("chromium", "chromium-driver")
ARGUMENTS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-proxy-server")
CALL_SECONDS = 60


def install() -> None:
    """Install the packages if they are missing."""
    if not shutil.which("chromedriver"):
        environment = {"DEBIAN_FRONTEND": "noninteractive", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        words = ["apt-get", "install", "--yes", "--no-install-recommends", *PACKAGES]
        subprocess.run(words, check=True, capture_output=True, env=environment)


def axe(directory: Path) -> str:
    """Return the source of axe-core, which finds problems of accessibility."""
    subprocess.run(["npm", "pack", "--silent", "axe-core"], cwd=directory, check=True, capture_output=True)
    (archive,) = directory.glob("axe-core-*.tgz")
    with tarfile.open(archive) as opened, opened.extractfile("package/axe.min.js") as file:  # type: ignore[union-attr]
        return file.read().decode()


class Browser:
    """One window."""

    def __init__(self, port: int) -> None:
        self._port = port
        options = {"args": list(ARGUMENTS)}
        capabilities = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        made = self._call("POST", "/session", {"capabilities": {"alwaysMatch": capabilities}})
        self._session = f"/session/{made['sessionId']}"

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        with contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", self._port, timeout=CALL_SECONDS)
        ) as connection:
            connection.request(method, path, None if body is None else json.dumps(body))
            value = json.loads(connection.getresponse().read())["value"]
        if isinstance(value, dict) and "error" in value:
            raise AssertionError(f"{path}: {value['error']}: {value['message']}")
        return value

    def open(self, url: str) -> None:
        """Load a page."""
        self._call("POST", f"{self._session}/url", {"url": url})

    def run(self, script: str, *arguments: Any) -> Any:
        """Return the result of a script."""
        return self._call("POST", f"{self._session}/execute/sync", {"script": script, "args": arguments})

    def text(self, selector: str) -> str:
        """Return the text of the first element, or an empty one."""
        found = self.run("return document.querySelector(arguments[0])?.innerText ?? ''", selector)
        return " ".join(found.split())

    def command(self, name: str, **parameters: Any) -> None:
        """Send a command of the DevTools protocol."""
        self._call("POST", f"{self._session}/goog/cdp/execute", {"cmd": name, "params": parameters})

    def show(self, *, width: int, height: int, dark: bool = False) -> None:
        """Set the size of the window and the mode of the system."""
        self.command(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )
        mode = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.command("Emulation.setEmulatedMedia", features=[mode])

    def press_tab(self) -> None:
        """Press the tab key."""
        keys = {
            "type": "key",
            "id": "keyboard",
            "actions": [{"type": "keyDown", "value": "\ue004"}, {"type": "keyUp", "value": "\ue004"}],
        }
        self._call("POST", f"{self._session}/actions", {"actions": [keys]})

    def screenshot(self) -> bytes:
        """Return what is visible, as PNG."""
        return base64.b64decode(self._call("GET", f"{self._session}/screenshot"))

    def errors(self) -> list[str]:
        """Return the errors of the console since the last call."""
        entries = self._call("POST", f"{self._session}/se/log", {"type": "browser"})
        return [one["message"] for one in entries if one["level"] == "SEVERE"]

    def end(self) -> None:
        """Close the window."""
        self._call("DELETE", self._session)


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """Run a browser for as long as the block lasts."""
    install()
    with contextlib.ExitStack() as stack:
        claims = Claims()
        stack.callback(claims.release)
        port = claims.port()
        temporary = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        process = stack.enter_context(
            subprocess.Popen(
                ["chromedriver", f"--port={port}"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                env={**os.environ, "TMPDIR": temporary},
            )
        )  # fmt: skip
        stack.callback(process.terminate)
        assert process.stdout is not None
        for line in process.stdout:
            if "started successfully" in line:
                break
        made = Browser(port)
        stack.callback(made.end)
        yield made
