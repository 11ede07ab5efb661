"""A walk through the studio of a running server, photographed and filmed.

``python -m tests.services.studio.walk URL KEY FOLDER`` leaves a picture of every view and ``walk.mp4``. The server
needs a few finished videos; nothing is asked of it but one short film.
"""

import base64
import io
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from sora_core import media

FPS = 8
QUALITY = 78
TOOLS = {"repaint": "Repaint", "enlarge": "Enlarge", "cut": "Cut and join"}
SIZE = (1280, 720)
BROWSERS = ("chromium", "chromium-browser")
PICTURES = {
    "make": "",
    "queue": "queue",
    "gallery": "gallery",
    "player": "video/{id}",
    "compare": "compare/{id},{other}",
    "edit": "edit/{id}",
    "tree": "tree/{made}",
    "storyboard": "story",
    "characters": "characters/{id}",
    "footage": "footage",
    "training": "training",
}


def sandbox() -> list[str]:
    """Chromium's own sandbox doesn't start as root."""
    return ["--no-sandbox"] if os.geteuid() == 0 else []


class Recorder:
    """What a page shows, as the browser presents it; `save` makes a film of it."""

    def __init__(self, page: Page) -> None:
        self._shots: list[tuple[float, bytes]] = []
        self._session = page.context.new_cdp_session(page)
        self._session.on("Page.screencastFrame", self._keep)
        self._session.send("Page.startScreencast", {"format": "jpeg", "quality": 70, "everyNthFrame": 1})

    def _keep(self, event: dict[str, Any]) -> None:
        self._shots.append((event["metadata"]["timestamp"], base64.b64decode(event["data"])))
        self._session.send("Page.screencastFrameAck", {"sessionId": event["sessionId"]})

    def _frames(self) -> Iterator[np.ndarray]:
        """At an even rate: what was last shown at each time; long waits are cut to a second."""
        for (time_s, data), (after_s, _) in zip(
            self._shots, [*self._shots[1:], (self._shots[-1][0] + 1, b"")], strict=True
        ):
            picture = np.asarray(Image.open(io.BytesIO(data)).convert("RGB").resize(SIZE))
            for _ in range(round(min(1.0, after_s - time_s) * FPS)):
                yield picture

    def save(self, path: Path) -> None:
        self._session.send("Page.stopScreencast")
        media.encode_mp4(path, self._frames(), FPS, crf=30)


def stroll(page: Page, prompt: str, pause_ms: int) -> None:
    """Ask for a film, watch it come, look through what is there, play one, begin to extend and to repaint it."""

    def rest() -> None:
        page.wait_for_timeout(pause_ms)

    page.get_by_label("Prompt").press_sequentially(prompt, delay=pause_ms / 40)
    rest()
    page.get_by_role("button", name="Make it").click()
    page.get_by_role("link", name="Queue").click()
    rest()
    page.get_by_role("link", name="Gallery").click()
    page.locator(".card img").first.wait_for()
    page.locator(".card:has(img)").nth(1).hover()
    rest()
    page.locator(".card:has(img) a").nth(1).click()
    page.locator("video").wait_for()
    rest()
    page.get_by_role("button", name="Next frame").click()
    page.get_by_role("link", name="Edit").click()
    pull(page, ".edge.end", 80, 0)
    rest()
    page.get_by_role("button", name="Repaint").first.click()
    pull(page, "canvas.mask", 90, 40)
    rest()
    page.get_by_role("link", name="Gallery").click()
    page.locator(".card:has(img) a").nth(1).click()
    page.get_by_role("link", name="Family tree").click()
    page.locator(".tree-node").first.wait_for()
    rest()


def pull(page: Page, selector: str, across: float, down: float) -> None:
    """Drag something from its middle."""
    page.locator(selector).wait_for()
    box = page.locator(selector).bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + across, y + down, steps=8)
    page.mouse.up()


@contextmanager
def opened(url: str, key: str, **options: Any) -> Iterator[Page]:
    """A tab of Chromium in the studio, signed in."""
    program = next(filter(None, map(shutil.which, BROWSERS)))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=sandbox())
        page = browser.new_page(viewport={"width": SIZE[0], "height": SIZE[1]}, **options)
        page.set_default_timeout(180_000)
        page.goto(f"{url}/studio/#/?key={key}")
        page.get_by_role("navigation").wait_for()
        yield page
        browser.close()


def show(page: Page, view: str) -> None:
    page.evaluate("address => { location.hash = address }", f"#/{view}")
    page.locator("main > *").first.wait_for()
    page.wait_for_timeout(1500)


def photograph(page: Page, folder: Path, suffix: str, ids: Mapping[str, str]) -> None:
    for name, view in PICTURES.items():
        show(page, view.format(**ids))
        page.screenshot(path=folder / f"{name}{suffix}.jpg", type="jpeg", quality=QUALITY)


def photograph_tools(page: Page, folder: Path, video_id: str) -> None:
    """The editor at work: a mask that is painted, the frame dragged larger, edges pulled inwards."""
    pulls = {"repaint": ("canvas.mask", 140, 30), "enlarge": (".grip.width", 170, 0), "cut": (".edge.end", -260, 0)}
    for name, (what, across, down) in pulls.items():
        show(page, "gallery")
        show(page, f"edit/{video_id}")
        page.get_by_role("button", name=TOOLS[name], exact=True).first.click()
        pull(page, what, across, down)
        page.wait_for_timeout(500)
        page.screenshot(path=folder / f"{name}.jpg", type="jpeg", quality=QUALITY)


def chosen(page: Page, key: str) -> dict[str, str]:
    """What there is to show: two of the oldest films, and the newest that was made of another."""
    listed = page.evaluate(
        """key => fetch('/v1/videos?limit=100', { headers: { authorization: `Bearer ${key}` } })
            .then((answer) => answer.json())""",
        key,
    )
    done = [video for video in listed["data"] if video["status"] == "completed"]
    made = next((video for video in done if video["sources"]), done[0])
    return {"id": done[-1]["id"], "other": done[-2]["id"], "made": made["id"]}


def main(url: str, key: str, folder: Path) -> None:
    """All pictures, at the desk in the dark, in the light, and in the hand; and the film."""
    folder.mkdir(parents=True, exist_ok=True)
    with opened(url, key, color_scheme="dark") as page:
        ids = chosen(page, key)
        photograph(page, folder, "", ids)
        photograph_tools(page, folder, ids["id"])
        page.evaluate("document.documentElement.dataset.theme = 'light'")
        photograph(page, folder, "-light", ids)
        page.set_viewport_size({"width": 390, "height": 780})
        photograph(page, folder, "-mobile", ids)
    with opened(url, key, color_scheme="dark") as page:
        recorder = Recorder(page)
        stroll(page, "a paper boat drifts down a rainy street", pause_ms=900)
        recorder.save(folder / "walk.mp4")


if __name__ == "__main__":
    main(sys.argv[1].rstrip("/"), sys.argv[2], Path(sys.argv[3]))
