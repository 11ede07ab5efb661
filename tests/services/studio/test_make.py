"""Make, watch, play: as people do it, in a browser, against the real service."""

import base64
import io
import re
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from services.video.job import Status
from sora_core.shapes import PixelShape
from tests.services.live import LiveService, eventually

from .conftest import READY, Desk, until

pytestmark = pytest.mark.slow
Open = Callable[..., Desk]


def ask(page: Page, prompt: str) -> None:
    page.get_by_label("Prompt").fill(prompt)
    page.get_by_role("button", name="Make it").click()


def row(page: Page, prompt: str) -> Any:
    return page.get_by_role("listitem").filter(has_text=prompt)


def shot(page: Page) -> Image.Image:
    return Image.open(io.BytesIO(page.screenshot()))


def test_a_prompt_typed_becomes_a_film_that_plays(desk: Open, service: LiveService) -> None:
    page = desk().enter()
    service.work()
    ask(page, "a red ball rolls over grass")
    page.get_by_role("link", name="a red ball rolls over grass").first.click()
    film = page.locator("video")
    film.wait_for()
    until(page, READY)
    assert film.evaluate("film => [film.videoWidth, film.videoHeight]") == [48, 32]
    assert film.evaluate("film => Math.round(film.duration * 8)") == 9
    page.get_by_role("button", name="Next frame").click()
    expect(page.locator(".film-frame")).to_have_text("2 / 9")
    film.evaluate("film => { film.loop = false; film.currentTime = 0; return film.play(); }")
    until(page, "document.querySelector('video').currentTime > 0.3")
    presented = film.evaluate("film => film.getVideoPlaybackQuality().totalVideoFrames")
    assert presented >= 2


def test_wait_and_cost_are_told_before_sending_and_wrong_input_at_its_field(desk: Open, service: LiveService) -> None:
    tab = desk()
    page = tab.enter()
    expect(page.get_by_text("token steps")).to_be_visible()
    page.get_by_role("button", name="Make it").click()
    expect(page.get_by_role("alert").first).to_have_text("Say what shall be seen.")
    page.get_by_text("More", exact=True).click()
    page.get_by_label("Steps").fill("101")
    tab.expect("400")
    ask(page, "x")
    expect(page.locator("#steps-error")).to_contain_text("at most 100")
    assert page.get_by_label("Steps").get_attribute("aria-invalid") == "true"


def test_a_queued_video_is_cancelled(desk: Open, service: LiveService) -> None:
    page = desk().enter()
    ask(page, "nobody waits for this")
    page.get_by_role("button", name="Cancel: nobody waits for this").click()
    expect(page.get_by_role("button", name="Cancel: nobody waits for this")).to_have_count(0)
    [job] = [job for job in service.ledger.page("ann").jobs if job.params["prompt"] == "nobody waits for this"]
    assert (job.status, job.error_code) == (Status.FAILED, "cancelled")
    page.get_by_role("link", name="Queue").click()
    expect(row(page, "nobody waits for this")).to_contain_text("Cancelled")


def test_a_reload_and_a_server_that_is_away_lose_nothing(desk: Open, service: LiveService) -> None:
    tab = desk()
    page = tab.enter()
    ask(page, "it goes on without me")
    row(page, "it goes on without me").wait_for()
    page.reload()
    row(page, "it goes on without me").wait_for()  # the session and the job are still there
    tab.expect("ERR_INTERNET_DISCONNECTED", "ERR_FAILED")
    tab.context.set_offline(True)
    expect(page.locator(".nav-offline")).to_be_visible()
    service.work()
    eventually(lambda: all(job.status is not Status.QUEUED for job in service.ledger.page("ann").jobs))
    tab.context.set_offline(False)
    expect(page.locator(".nav-offline")).to_have_count(0)
    expect(page.get_by_role("article").filter(has_text="it goes on without me")).to_be_visible()


def test_settings_come_back_from_a_film_of_ours_and_pictures_from_a_drop(desk: Open, service: LiveService) -> None:
    page = desk().enter()
    page.get_by_text("More", exact=True).click()
    page.get_by_label("Seed").fill("4711")
    ask(page, "remember me")
    row(page, "remember me").first.wait_for()
    [job] = [job for job in service.ledger.page("ann").jobs if job.params["prompt"] == "remember me"]
    assert job.params["seed"] == 4711
    page.reload()
    drop(page, f"{job.id}-video.mp4", "video/mp4", b"not looked at: its name tells whose it is")
    expect(page.get_by_label("Prompt")).to_have_value("remember me")
    page.get_by_text("More", exact=True).click()
    expect(page.get_by_label("Seed")).to_have_value("4711")
    stream = io.BytesIO()
    Image.new("RGB", (48, 32), (200, 30, 30)).save(stream, "PNG")
    drop(page, "a.png", "image/png", stream.getvalue())
    drop(page, "b.png", "image/png", stream.getvalue())
    expect(page.locator(".slot.full")).to_have_count(2)
    ask(page, "from here to there")
    row(page, "from here to there").first.wait_for()
    made = service.ledger.page("ann").jobs[0]
    assert made.params["film"]["edit"]["indices"] == [0, made.params["num_frames"] - 1]
    drop(page, "c.gif", "image/gif", b"GIF89a")
    expect(page.get_by_role("alert")).to_contain_text("c.gif is no JPEG, PNG or WebP picture.")


def drop(page: Page, name: str, kind: str, data: bytes) -> None:
    """Drop a file on the composer."""
    page.locator(".composer").wait_for()
    page.evaluate(
        """([name, type, data]) => {
            const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], name, { type }));
            const event = new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true });
            document.querySelector(".composer").dispatchEvent(event);
        }""",
        [name, kind, base64.b64encode(data).decode()],
    )


def test_a_wrong_key_is_told_and_the_link_of_a_sign_in_leaves_no_trace(desk: Open) -> None:
    tab = desk()
    tab.page.goto(tab.url)
    tab.expect("401")
    tab.page.get_by_label("API key").fill("sk-wrong")
    tab.page.get_by_role("button", name="Enter").click()
    expect(tab.page.get_by_role("alert")).to_contain_text("not valid")
    page = tab.enter()
    assert "sk-ann" not in page.url
    assert "sk-ann" not in page.evaluate("JSON.stringify(localStorage)")
    page.get_by_role("button", name="Settings").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("API key")).to_be_visible()
    assert page.evaluate("sessionStorage.length") == 0


def test_markup_in_a_prompt_stays_text(desk: Open, service: LiveService) -> None:
    evil = "<img src=x onerror=alert(1)>\"'<script>alert(2)</script>"
    page = desk().enter()
    page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    ask(page, evil)
    expect(page.get_by_role("link", name=evil)).to_be_visible()
    for view in ("queue", "gallery"):
        page.get_by_role("link", name=re.compile(view, re.I)).first.click()
        expect(page.get_by_text(evil).first).to_be_visible()
    service.ledger.cast.keep_character(service.ledger.cast.new_character("ann", evil, PixelShape(5, 32, 48)), 100)
    page.get_by_role("link", name="Characters").click()
    expect(page.get_by_text(f"@{evil}")).to_be_visible()
    assert page.locator("img[src=x]").count() == 0


def test_everything_is_reached_by_the_keyboard_alone(desk: Open, service: LiveService) -> None:
    page = desk().enter()
    service.work()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    page.get_by_label("Prompt").focus()
    page.keyboard.type("made without a mouse")
    page.keyboard.press("Control+Enter")
    link = page.get_by_role("article").get_by_role("link", name="made without a mouse")
    link.wait_for()
    expect(page.locator(".heard[aria-live]")).to_contain_text("Done: made without a mouse")  # it is heard
    link.focus()
    page.keyboard.press("Enter")
    until(page, READY)
    page.locator(".film").focus()
    for key, frame in (("End", 9), (",", 8), ("ArrowLeft", 7), (".", 8), ("Home", 1)):
        page.keyboard.press(key)
        expect(page.locator(".film-frame")).to_have_text(f"{frame} / 9")


def test_what_is_deleted_comes_back_by_undo(desk: Open, service: LiveService) -> None:
    page = desk().enter()
    service.work()
    ask(page, "do not go")
    page.get_by_role("article").get_by_role("link", name="do not go").click()
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", name="Gallery")).to_be_visible()
    expect(page.get_by_role("article").filter(has_text="do not go")).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("article").filter(has_text="do not go")).to_be_visible()


def test_seeds_play_side_by_side_in_lock_step(desk: Open, service: LiveService) -> None:
    page = desk().enter()
    page.get_by_label("How many").fill("2")
    ask(page, "twice")
    service.work()
    page.get_by_role("article").get_by_role("link", name="twice").nth(1).wait_for()
    page.get_by_role("article").get_by_role("link", name="twice").first.click()
    page.get_by_role("link", name="Compare 2 seeds").click()
    films = "[...document.querySelectorAll('.compare video')]"
    until(page, f"{films}.length === 2 && {films}.every((film) => film.readyState >= 2)")
    page.get_by_role("button", name="Next frame").click()
    until(page, f"{films}.every((film) => Math.floor(film.currentTime * 8) === 1)")
    page.get_by_role("button", name="Play").click()
    until(page, f"{films}.every((film) => film.currentTime > 0.4)")
    page.get_by_role("button", name="Pause").click()
    assert page.evaluate(f"{films}.every((film) => film.paused)")
    page.get_by_role("button", name="Previous frame").click()
    until(page, f"new Set({films}.map((film) => film.currentTime)).size === 1")
