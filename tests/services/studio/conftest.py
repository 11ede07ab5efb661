"""A browser at the door of the real service: Debian's Chromium, driven by Playwright."""

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from services.video.job import Status
from sora_core.edits.spec import LEARNED_FROM
from sora_core.pipeline import Pipeline
from tests.services.boards import curated, trained
from tests.services.editing import ask
from tests.services.live import KEYS, LiveService, config_in, eventually
from tests.services.postgres import free_port
from tests.services.tiny_model import save_tiny_checkpoint

from . import walk

WITHIN_MS = 60_000  # most of it for machines that do other things too
READY = "document.querySelector('video')?.readyState >= 2"


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser's program."""
    found = next(filter(None, map(shutil.which, walk.BROWSERS)), None)
    if found is None:
        pytest.skip("no Chromium here, the studio is not tried: apt-get install chromium")
    return found


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=[*walk.sandbox(), "--disable-gpu"])
        expect.set_options(timeout=WITHIN_MS)
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def able_run(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model of random weights that has learned every kind of given latents, characters too."""
    given = tuple(sorted(frozenset[str]().union(*LEARNED_FROM.values())))
    return save_tiny_checkpoint(str(tmp_path_factory.mktemp("able") / "tiny"), given=given)


@pytest.fixture(scope="session")
def able(able_run: str) -> Pipeline:
    return Pipeline.load(able_run, "cpu")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, able_run: str, able: Pipeline) -> Iterator[LiveService]:
    """A service whose sampler works between `work` and `rest`, shared by the tests of a file."""
    defaults = {"num_inference_steps": 4, "guidance_scale": 1.0, "size": "48x32", "num_frames": 9}
    folder = tmp_path_factory.mktemp("studio")
    shown = {"footage": {"set": curated(folder / "set", clips=6)}, "training": {"run": trained(folder / "run")}}
    api = {"viewers": ["ann"], "limits_by_owner": {"bob": {"max_waiting": 1}}, "max_upload_bytes": 2**20}
    config = config_in(folder, able_run, defaults=defaults, studio=shown, api=api)
    with LiveService(config, able, free_port()) as live:
        live.publish()
        yield live


def made_of(service: LiveService, film: bytes, prompt: str) -> str:
    """The id of a finished video that is this film, hardly changed; the sampler rests again."""
    service.work()
    made = ask(service, "/edits", {"video": film}, prompt=prompt, strength=0.1)
    eventually(lambda: (job := service.ledger.get(made)) and job.status is Status.COMPLETED)
    service.rest()
    return made


class Desk:
    """A browser's tab in the studio, which fails the test for every error that the page or its policy reports."""

    def __init__(self, browser: Browser, service: LiveService, **options: Any) -> None:
        settings = {"viewport": {"width": 1280, "height": 860}, "reduced_motion": "reduce", **options}
        self.context: BrowserContext = browser.new_context(**settings)
        self.context.set_default_timeout(WITHIN_MS)
        self.page: Page = self.context.new_page()
        self.service = service
        self.errors: list[str] = []
        self.allowed: tuple[str, ...] = ()
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)

    @property
    def url(self) -> str:
        return f"{self.service.url}/studio/"

    def enter(self, view: str = "", owner: str = "ann") -> Page:
        """Signed in, at a view."""
        self.page.goto(f"{self.url}#/?key={KEYS[owner]}")
        self.page.get_by_role("navigation").wait_for()
        if view:
            self.go(view)
        return self.page

    def go(self, view: str) -> None:
        """Another view, as a link leads to it."""
        self.page.evaluate("address => { location.hash = address }", f"#/{view}")

    def expect(self, *errors: str) -> None:
        """Console errors that this test causes on purpose; Chromium writes one for every refused request."""
        self.allowed += errors

    def close(self) -> None:
        self.context.close()
        unexpected = [error for error in self.errors if not any(known in error for known in self.allowed)]
        assert not unexpected, unexpected


@pytest.fixture
def desk(browser: Browser, service: LiveService) -> Iterator[Callable[..., Desk]]:
    """Opens tabs; each is closed and looked over when the test ends."""
    opened: list[Desk] = []

    def open_desk(**options: Any) -> Desk:
        opened.append(Desk(browser, service, **options))
        return opened[-1]

    yield open_desk
    service.rest()
    for tab in opened:
        tab.close()


def until(page: Page, condition: str) -> None:
    """Wait until an expression of JavaScript holds; Playwright's own wait needs what the page's policy forbids."""
    eventually(lambda: page.evaluate(condition), WITHIN_MS / 1000)
