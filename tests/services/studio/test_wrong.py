"""What may go wrong, as people meet it: keys, full queues, refusals, files, models that lack edits, old servers."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from jobs.demo.client import sign_in_secret
from tests.services.live import LiveService

from .conftest import READY, Desk, made_of, until

pytestmark = pytest.mark.slow
Open = Callable[..., Desk]


@pytest.fixture(scope="module")
def clip(service: LiveService, films: Callable[..., Any]) -> str:
    return made_of(service, films().read_bytes(), "a red block")


def answer(page: Page, path: str, status: int, error: dict[str, Any], **headers: str) -> None:
    """Let the next POST to a path be refused, as the service refuses."""

    left = ["once"]

    def refuse(route: Route) -> None:
        if route.request.method != "POST" or not left:
            route.fallback()
            return
        left.clear()
        body = json.dumps({"error": {"type": "invalid_request_error", "param": None} | error})
        route.fulfill(status=status, body=body, headers={"content-type": "application/json", **headers})

    page.route(path, refuse)


def test_a_full_queue_says_when_there_is_room(desk: Open, service: LiveService) -> None:
    tab = desk()
    page = tab.enter(owner="bob")  # who may have one video waiting
    tab.expect("429")
    page.get_by_label("Prompt").fill("the first")
    page.get_by_role("button", name="Make it").click()
    page.get_by_role("button", name="Cancel: the first").wait_for()
    page.get_by_role("button", name="Make it").click()
    expect(page.locator(".composer-error")).to_contain_text("The queue is full. Room in")
    page.get_by_role("button", name="Cancel: the first").click()
    expect(page.get_by_role("button", name="Cancel: the first")).to_have_count(0)


def test_a_full_queue_is_counted_down_and_then_takes_it(desk: Open, service: LiveService) -> None:
    tab = desk()
    page = tab.enter()
    tab.expect("429")
    answer(page, "**/v1/videos", 429, {"code": "queue_full", "message": "full"}, **{"retry-after": "2"})
    page.get_by_label("Prompt").fill("patience")
    page.get_by_role("button", name="Make it").click()
    expect(page.locator(".composer-error")).to_contain_text("The queue is full. Room in")
    expect(page.get_by_role("button", name="Make it")).to_be_disabled()
    expect(page.get_by_role("button", name="Make it")).to_be_enabled()  # when the time has run out
    page.get_by_role("button", name="Make it").click()
    page.get_by_role("listitem").filter(has_text="patience").first.wait_for()


def test_a_refusal_names_its_category_at_the_field(desk: Open) -> None:
    tab = desk()
    page = tab.enter()
    tab.expect("400")
    page.get_by_label("Prompt").fill("nude woman, bed")
    page.get_by_role("button", name="Make it").click()
    expect(page.locator("#prompt-error")).to_contain_text("refused as")
    expect(page.get_by_label("Prompt")).to_have_attribute("aria-invalid", "true")


def test_a_key_that_is_ended_meanwhile_leads_to_the_door(desk: Open) -> None:
    tab = desk()
    page = tab.enter()
    tab.expect("401")
    body = json.dumps({"error": {"message": "no valid API key", "code": "invalid_api_key"}})
    page.route("**/v1/**", lambda route: route.fulfill(status=401, body=body, content_type="application/json"))
    expect(page.get_by_label("API key")).to_be_visible()
    expect(page.get_by_role("alert")).to_contain_text("not valid here, or not any more")


def test_a_link_signs_in_once(desk: Open, service: LiveService) -> None:
    secret = sign_in_secret(service.client())
    tab = desk()
    tab.page.goto(f"{tab.url}#/?once={secret}")
    tab.page.get_by_role("navigation").wait_for()
    assert secret not in tab.page.url
    tab.page.reload()
    tab.page.get_by_role("navigation").wait_for()  # the session lasts as long as the tab
    again = desk()
    again.expect("401", "403")
    again.page.goto(f"{again.url}#/?once={secret}")
    expect(again.page.get_by_role("alert")).to_contain_text("not valid")


def test_a_picture_that_is_too_large_is_told_before_it_is_sent(desk: Open) -> None:
    page = desk().enter()
    large = {"name": "huge.png", "mimeType": "image/png", "buffer": b"\x89PNG" + bytes(2**20)}
    page.get_by_label("First frame").set_input_files(large)
    expect(page.get_by_role("alert")).to_contain_text("huge.png")
    expect(page.locator(".slot.full")).to_have_count(0)


def test_a_model_without_edits_offers_none(desk: Open, clip: str) -> None:
    tab = desk()

    def plain(route: Route) -> None:
        cards = route.fetch().json()
        changed = [card | {"edits": [], "characters": False, "inputs": ["text"]} for card in cards["data"]]
        route.fulfill(json=cards | {"data": changed})

    tab.page.route("**/v1/videos/models", plain)
    page = tab.enter(f"video/{clip}")
    page.locator("video").wait_for()
    expect(page.get_by_role("link", name="Edit")).to_have_count(0)
    expect(page.get_by_role("link", name="Storyboard")).to_have_count(0)
    expect(page.get_by_role("link", name="Characters")).to_have_count(0)
    tab.go(f"edit/{clip}")
    expect(page.get_by_text("trained for none of the edits")).to_be_visible()


NEW = ("links", "fps", "num_frames", "width", "height", "edit", "sources", "siblings", "queue_position")


def test_an_old_server_without_our_extensions_makes_and_plays(desk: Open, service: LiveService, clip: str) -> None:
    """One that speaks the Videos API alone: other paths aren't there, and a video tells what the official one tells."""
    tab = desk()
    tab.expect("404")
    for path in ("**/v1/videos/models", "**/v1/service", "**/v1/content_provenance_checks", "**/v1/videos/characters"):
        tab.page.route(path, lambda route: route.fulfill(status=404, body="<h1>Not found</h1>"))
    sent: list[dict[str, Any]] = []

    def old(route: Route) -> None:
        if route.request.method == "POST":
            sent.append(route.request.post_data_json)
            values = {"prompt": sent[-1]["prompt"], "size": "48x32", "num_frames": 9}
            reply = route.fetch(post_data=json.dumps(values))
        else:
            reply = route.fetch()
        body = reply.json()
        for video in body.get("data", [body]):
            for name in NEW:
                video.pop(name, None)
        route.fulfill(response=reply, json=body)

    tab.page.route("**/v1/videos?*", old)
    tab.page.route("**/v1/videos", old)
    page = tab.enter()
    expect(page.get_by_text("More", exact=True)).to_have_count(0)
    expect(page.get_by_role("link", name="Storyboard")).to_have_count(0)
    page.get_by_label("Prompt").fill("plain words")
    page.get_by_role("button", name="Make it").click()
    page.get_by_role("listitem").filter(has_text="plain words").first.wait_for()
    assert set(sent[0]) <= {"prompt", "model", "size", "seconds"}
    tab.go(f"video/{clip}")
    page.locator("video").wait_for()
    until(page, READY)  # fetched with the key, for want of a link
    assert page.locator("video").evaluate("film => film.src").startswith("blob:")
    expect(page.get_by_role("link", name="Edit")).to_have_count(0)
