"""Every view for everybody: no finding of axe, no width that it bursts, any language, either direction of writing."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from services.video.job import NewJob, Status, new_id
from services.video.ledger.tables import jobs
from tests.services.editing import ask
from tests.services.live import KEYS, LiveService

from .conftest import Desk, made_of

pytestmark = pytest.mark.slow
Open = Callable[..., Desk]
RULES = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "resultTypes": ["violations"],
}
VIEWS = (
    "make", "queue", "gallery", "story", "characters", "footage", "training",
    "characters/{id}", "video/{id}", "edit/{id}", "tree/{id}", "compare/{id}",
)  # fmt: skip
MANY = 5000


@pytest.fixture(scope="module")
def clip(service: LiveService, films: Callable[..., Path]) -> str:
    made = made_of(service, films().read_bytes(), "a red block goes right")
    ask(service, "/extensions", video=made, prompt="it waits in the queue", seconds=1)
    return made


def shown(page: Page, view: str, clip: str) -> None:
    """Wait until a view has what it shows."""
    page.evaluate("address => { location.hash = address }", "#/" + view.format(id=clip))
    page.locator(f"main.view-{view.split('/')[0]} > *").first.wait_for()
    if view == "training":
        page.locator(".curve path").wait_for()
    elif view not in ("queue", "story", "characters"):
        page.locator("video, .thumb img").first.wait_for()


def findings(page: Page) -> list[str]:
    """What axe finds wrong, with the elements."""
    results: Any = Axe().run(page, options=RULES).response
    return [f"{rule['id']}: {node['html'][:160]}" for rule in results["violations"] for node in rule["nodes"]]


@pytest.mark.parametrize(
    ("width", "height", "scheme", "locale"),
    [(1280, 860, "dark", "en-US"), (360, 740, "light", "de-DE")],
    ids=["desktop dark English", "mobile light German"],
)
def test_no_view_has_a_finding_or_bursts(
    desk: Open, clip: str, width: int, height: int, scheme: str, locale: str
) -> None:
    tab = desk(viewport={"width": width, "height": height}, color_scheme=scheme, locale=locale)
    tab.page.goto(tab.url)
    tab.page.locator(".door-card").wait_for()
    assert findings(tab.page) == []
    page = tab.enter()
    for view in VIEWS:
        shown(page, view, clip)
        assert findings(page) == [], view
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, view


def test_it_speaks_chinese_and_runs_from_right_to_left(desk: Open, clip: str) -> None:
    page = desk(locale="zh-CN", viewport={"width": 420, "height": 800}).enter()
    expect(page.get_by_role("heading", level=1)).to_contain_text("想看到什么")
    assert page.evaluate("document.documentElement.lang") == "zh"
    page.evaluate("document.documentElement.dir = 'rtl'")
    for view in VIEWS:
        shown(page, view, clip)
        assert page.evaluate("Math.max(0, document.documentElement.scrollWidth - innerWidth)") == 0, view
    page.set_viewport_size({"width": 3840, "height": 2160})
    for view in VIEWS:
        shown(page, view, clip)
        assert page.evaluate("Math.max(0, document.documentElement.scrollWidth - innerWidth)") == 0, view


def test_the_first_view_is_one_that_stands_still(desk: Open, clip: str) -> None:
    """Layout shifts as the browser counts them; what it took is printed, a busy machine may take longer."""
    tab = desk()
    page = tab.page
    page.add_init_script("""
        self.shifts = [];
        new PerformanceObserver((list) => {
            for (const entry of list.getEntries()) if (!entry.hadRecentInput) self.shifts.push(entry.value);
        }).observe({ type: "layout-shift", buffered: true });
    """)
    page.goto(f"{tab.url}#/?key={KEYS['ann']}")
    page.locator(".composer").wait_for()
    page.locator(".card img").first.wait_for()
    told = page.evaluate(
        """() => {
            const files = performance.getEntriesByType("resource").filter((entry) => entry.name.includes("/studio/"));
            const paint = performance.getEntriesByName("first-contentful-paint")[0];
            const bytes = files.reduce((sum, entry) => sum + entry.transferSize, 0);
            return { files: files.length, bytes, paint_ms: paint.startTime, shifts: self.shifts };
        }"""
    )
    print(f"the first view: {told}")
    assert told["bytes"] < 200_000
    assert sum(told["shifts"]) < 0.1  # what counts as good


def test_five_thousand_videos_scroll(desk: Open, service: LiveService, clip: str) -> None:
    fill(service, clip)
    page = desk().enter("gallery", owner="bob")
    page.get_by_role("article").first.wait_for()
    began = time.monotonic()
    worst = page.evaluate(
        """async () => {
            const times = [];
            let last = performance.now();
            while (!document.body.innerText.includes("number z0 of many")) {
                scrollBy(0, 1400);
                await new Promise((next) => requestAnimationFrame(next));
                times.push(performance.now() - last);
                last = performance.now();
                if (times.length > 6000) throw new Error("the end is never reached");
            }
            times.sort((a, b) => a - b);
            const late = times[Math.floor(times.length * 0.95)];
            return { median: times[times.length >> 1], late, count: times.length };
        }"""
    )
    print(f"scrolled {MANY} videos in {time.monotonic() - began:.1f} s: {worst}")
    assert page.locator(".card").count() < 80
    page.get_by_label("Search in prompts").fill("number z4711 of")
    expect(page.locator(".card")).to_have_count(1)


def fill(service: LiveService, clip: str) -> None:
    """Another key's 5,000 finished videos, which share the files of one. Their numbers stand behind a z: the page looks
    in ids, too, which are hexadecimal."""
    pattern = service.ledger.get(clip)
    assert pattern is not None
    now = time.time() - 100_000
    made = [
        NewJob(
            id=new_id(now + number), owner="bob", model=pattern.model, tokens=1, num_steps=1, priority=0,
            params=pattern.params | {"prompt": f"number z{number} of many"}, queued_as=now,
        )
        for number in range(MANY)
    ]  # fmt: skip
    service.ledger.create(made)
    engine = sa.create_engine(service.config.ledger)
    with engine.begin() as db:
        done = {"status": Status.COMPLETED, "progress": 100, "result": pattern.result, "completed_at": now}
        db.execute(jobs.update().where(jobs.c.owner == "bob").values(**done))
    engine.dispose()
