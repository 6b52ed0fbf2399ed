"""A page in a headless Chromium as tests drive it, over the DevTools protocol and without a network."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
LIGHT = (1280, 900, "light")
DARK = (1280, 900, "dark")
PHONE = (390, 844, "light")
KEYS = {"Tab": 9, "Enter": 13, "ArrowLeft": 37, "ArrowRight": 39}


class Page:
    """One tab.

    Attributes:
        errors: What the console or an uncaught exception said.
        requests: Addresses that the page asked a network for.
    """

    def __init__(self, tab: Any) -> None:
        self._tab = tab
        self.errors: list[str] = []
        self.requests: list[str] = []

    async def send(self, command: str, **parameters: Any) -> dict[str, Any]:
        """Send one command and return its result."""
        answer = await self._tab.send_command(command, params=parameters)
        if "error" in answer:
            raise RuntimeError(f"{command}: {answer['error']}")
        found: dict[str, Any] = answer["result"]
        return found

    async def run(self, script: str) -> Any:
        """Return what a script gives, awaited where it is a promise."""
        answer = await self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{script}: {answer['exceptionDetails']['exception']['description']}")
        return answer["result"].get("value")

    async def text(self, selector: str) -> str:
        """Return the text of the first element that a selector finds."""
        return str(await self.run(f"document.querySelector({json.dumps(selector)}).textContent"))

    async def click(self, selector: str) -> None:
        """Click the middle of the first element that a selector finds."""
        place = await self.run(
            f"(() => {{ const node = document.querySelector({json.dumps(selector)});"
            " node.scrollIntoView({block: 'center'});"
            " const box = node.getBoundingClientRect();"
            " return {x: box.x + box.width / 2, y: box.y + box.height / 2}; })()"
        )
        await self.send("Input.dispatchMouseEvent", type="mouseMoved", **place)
        for kind in ("mousePressed", "mouseReleased"):
            await self.send("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)

    async def press(self, key: str) -> None:
        """Press and release a key."""
        told: dict[str, Any] = {"key": key, "code": key, "windowsVirtualKeyCode": KEYS[key]}
        await self.send("Input.dispatchKeyEvent", type="keyDown", **told, **({"text": "\r"} if key == "Enter" else {}))
        await self.send("Input.dispatchKeyEvent", type="keyUp", **told)

    async def photograph(self, path: Path) -> None:
        """Write a picture of the whole page."""
        size = (await self.send("Page.getLayoutMetrics"))["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        answer = await self.send("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(answer["data"]))

    async def listen(self) -> None:
        """Note errors and requests from now on."""

        async def said(event: Any) -> None:
            told = event["params"]
            if event["method"] == "Runtime.exceptionThrown":
                self.errors.append(json.dumps(told["exceptionDetails"]))
            elif event["method"] == "Log.entryAdded" and told["entry"]["level"] == "error":
                self.errors.append(told["entry"]["text"])
            elif event["method"] == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning"):
                self.errors.append(json.dumps(told["args"]))

        async def asked(event: Any) -> None:
            address = event["params"]["request"]["url"]
            if not address.startswith(("file:", "data:", "blob:")):
                self.requests.append(address)

        for name in ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled"):
            self._tab.subscribe(name, said)
        self._tab.subscribe("Network.requestWillBeSent", asked)
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.send(f"{domain}.enable")


@contextlib.asynccontextmanager
async def opened(path: Path, width: int, height: int, scheme: str) -> AsyncIterator[Page]:
    """Open a file in a fresh browser that has no network.

    Args:
        path: An HTML file.
        width: Of the window in CSS pixels; below 600 it is a phone that is touched.
        height: Of the window.
        scheme: ``light`` or ``dark``.
    """
    from choreographer import Browser

    browser = Browser(path=CHROMIUM)
    await browser.open()
    try:
        page = Page(await browser.create_tab())
        await page.listen()
        await page.send(
            "Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=0, uploadThroughput=0
        )
        await page.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        await page.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        await page.send("Page.navigate", url=path.absolute().as_uri())
        await page.run(
            "new Promise(done => document.readyState === 'complete' ? done() : addEventListener('load', done))"
        )
        yield page
    finally:
        await browser.close()
