"""The timeline, the mask, the storyboard, characters and the family tree: by hand, against the real service."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from services.video.job import OPEN, Job, Status
from tests.services.editing import AUTH, ask, moving, png
from tests.services.http import HTTP
from tests.services.live import LiveService, eventually

from .conftest import Desk

pytestmark = pytest.mark.slow
Open = Callable[..., Desk]


@pytest.fixture(scope="module")
def clip(service: LiveService, films: Callable[..., Path]) -> str:
    """A finished video to start from, and another beside it."""
    service.work()
    made = [
        ask(service, "/edits", {"video": films().read_bytes()}, prompt=f"a red block {n}", strength=0.1)
        for n in range(2)
    ]
    for video_id in made:
        eventually(lambda video_id=video_id: job(service, video_id).status is Status.COMPLETED)
    service.rest()
    return made[0]


def job(service: LiveService, video_id: str) -> Job:
    found = service.ledger.get(video_id)
    assert found is not None
    return found


def newest(service: LiveService) -> Job:
    return service.ledger.page("ann", limit=1).jobs[0]


def edit_of(service: LiveService) -> dict[str, Any]:
    """The edit of the newest video, as the job holds it."""
    found: dict[str, Any] = newest(service).params["film"]["edit"]
    return found


def editing(desk: Open, clip: str, tool: str) -> Page:
    page = desk().enter(f"edit/{clip}")
    page.get_by_role("button", name=tool, exact=True).first.click()
    return page


def order(page: Page, name: str) -> None:
    """Send the edit; the page then shows what was asked for."""
    page.locator(".editor-side").get_by_role("button", name=name, exact=True).click()
    page.locator(".player").wait_for()


def drag(page: Page, start: tuple[float, float], *path: tuple[float, float]) -> None:
    page.mouse.move(*start)
    page.mouse.down()
    for point in path:
        page.mouse.move(*point, steps=4)
    page.mouse.up()


def middle(page: Page, selector: str) -> tuple[float, float]:
    box = page.locator(selector).bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_a_dragged_edge_extends_the_film(desk: Open, service: LiveService, clip: str) -> None:
    page = editing(desk, clip, "Extend")
    before = page.locator(".strip-new").inner_text()
    x, y = middle(page, ".edge.end")
    drag(page, (x, y), (x + 60, y))
    assert page.locator(".strip-new").inner_text() != before
    page.locator(".edge.start").focus()
    page.keyboard.press("Shift+ArrowLeft")
    expect(page.get_by_label("Begin earlier")).to_have_value("1")
    order(page, "Extend")
    assert edit_of(service)["direction"] == "backward"
    assert newest(service).params["num_frames"] == 9 + 8
    service.work()
    page.locator("video").wait_for()


def test_a_painted_mask_is_repainted_also_one_that_moves(desk: Open, service: LiveService, clip: str) -> None:
    page = editing(desk, clip, "Repaint")
    x, y = middle(page, "canvas.mask")
    drag(page, (x, y), (x + 40, y))
    order(page, "Repaint")
    whole = edit_of(service)["regions"]
    assert [(region["start"], region["stop"]) for region in whole] == [(0, 9)]
    page = editing(desk, clip, "Repaint")
    page.get_by_label("To frame").fill("3")
    drag(page, middle(page, "canvas.mask"), (x + 10, y))
    order(page, "Repaint")
    part = edit_of(service)["regions"]
    assert [(region["start"], region["stop"]) for region in part] == [(0, 4)]


def covered(page: Page) -> int:
    """How many pixels of the canvas are painted."""
    count: int = page.locator("canvas.mask").evaluate(
        """canvas => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data
            .filter((value, place) => place % 4 === 3 && value > 127).length"""
    )
    return count


def test_an_eraser_takes_away_what_the_brush_painted(desk: Open, service: LiveService, clip: str) -> None:
    page = editing(desk, clip, "Repaint")
    x, y = middle(page, "canvas.mask")
    drag(page, (x - 80, y), (x + 80, y))
    painted = covered(page)
    page.get_by_role("radio", name="Eraser").check()
    drag(page, (x, y), (x + 120, y))
    assert 0 < covered(page) < 0.75 * painted
    page.get_by_role("button", name="Undo").click()
    assert covered(page) == painted
    page.get_by_role("button", name="Redo").click()
    order(page, "Repaint")
    [region] = edit_of(service)["regions"]
    assert region["left"] + region["width"] <= newest(service).params["width"] // 2


def test_a_film_is_restyled_by_a_strength_and_gets_a_higher_rate(desk: Open, service: LiveService, clip: str) -> None:
    page = editing(desk, clip, "Restyle")
    page.get_by_label("How it shall look").fill("a blue block")
    page.get_by_label("Strength").fill("0.35")
    order(page, "Restyle")
    assert edit_of(service)["strength"] == 0.35
    assert newest(service).params["prompt"] == "a blue block"
    page = editing(desk, clip, "Frame rate")
    page.get_by_role("radio", name="32 fps").check()
    order(page, "Raise the rate")
    assert (newest(service).params["fps"], newest(service).params["num_frames"]) == (32, 33)


def test_boxes_are_given_by_numbers_and_a_frame_is_pulled_larger(desk: Open, service: LiveService, clip: str) -> None:
    page = editing(desk, clip, "Repaint")
    page.get_by_role("radio", name="Box").check()
    page.get_by_role("button", name="Add a box").click()
    page.get_by_label("Left", exact=True).fill("8")
    page.get_by_label("Left", exact=True).blur()
    order(page, "Repaint")
    [region] = edit_of(service)["regions"]
    assert (region["left"], region["width"], region["start"], region["stop"]) == (8, 24, 0, 9)
    page = editing(desk, clip, "Repaint")
    page.get_by_role("radio", name="Box").check()
    page.get_by_role("button", name="Add a box").click()
    page.get_by_label("Left", exact=True).fill("0")
    page.get_by_label("Left", exact=True).blur()
    page.locator(".stage").get_by_label("Position").fill("8")
    page.get_by_label("Left", exact=True).fill("24")
    page.get_by_label("Left", exact=True).blur()
    expect(page.get_by_text("2 places in time")).to_be_visible()
    order(page, "Repaint")
    assert edit_of(service)["masked"]  # a film of masks: the box moves evenly from one place to the other
    page = editing(desk, clip, "Enlarge")
    page.locator(".grip.width").focus()
    page.keyboard.press("ArrowRight")
    order(page, "Enlarge")
    assert (newest(service).params["width"], newest(service).params["height"]) == (64, 32)


def test_a_film_is_trimmed_and_another_joined_without_the_model(desk: Open, service: LiveService, clip: str) -> None:
    page = editing(desk, clip, "Cut and join")
    order_button = page.locator(".editor-side").get_by_role("button", name="Cut and join")
    order_button.click()
    expect(page.get_by_role("alert")).to_contain_text("Pull an edge inwards")
    x, y = middle(page, ".edge.end")
    drag(page, (x, y), (x - 120, y))
    page.get_by_role("button", name="Join with: a red block 1").click()
    order(page, "Cut and join")
    made = newest(service)
    assert edit_of(service)["kind"] == "join"
    assert 9 < made.params["num_frames"] < 18
    assert len(made.params["sources"]) == 2


def test_clips_are_blended_and_closed_to_a_loop_and_the_tree_knows_it(
    desk: Open, service: LiveService, clip: str
) -> None:
    page = editing(desk, clip, "Blend")
    page.get_by_role("button", name="Blend with: a red block 1").drag_to(page.locator(".strip-empty"))
    order(page, "Blend")
    assert edit_of(service)["kind"] == "transition"
    page = editing(desk, clip, "Loop")
    order(page, "Close the loop")
    assert edit_of(service)["kind"] == "loop"
    page.get_by_role("link", name="Family tree").click()
    expect(page.locator(".tree-node[aria-current]")).to_contain_text("loop")
    answered = HTTP.get(f"{service.url}/v1/videos/{newest(service).id}", headers=AUTH["ann"]).json()
    expect(page.locator(".tree-node")).to_have_count(service_family(service) if answered.get("sources") else 1)


def service_family(service: LiveService) -> int:
    """The source of the newest video, and all that was made of it."""
    jobs = service.ledger.page("ann", limit=100).jobs
    [source] = jobs[0].params["sources"]
    family = {source}
    for made in reversed(jobs):
        if family & set(made.params.get("sources", [])):
            family |= {made.id, *made.params["sources"]}
    return len(family)


def test_cards_of_a_storyboard_become_pictures_and_words(desk: Open, service: LiveService, clip: str) -> None:
    page = desk().enter("story")
    page.get_by_label("Length").fill("1")
    page.locator("input[type=file]").set_input_files(
        [{"name": f"{n}.png", "mimeType": "image/png", "buffer": png(moving()[n])} for n in range(2)]
    )
    expect(page.locator(".story-card")).to_have_count(2)
    for place, words in enumerate(["a block stands still.", "it goes right"]):
        page.get_by_label("What is seen").nth(place).fill(words)
    page.get_by_role("button", name="Make it").click()
    page.locator(".player").wait_for()
    made = newest(service)
    assert made.params["prompt"] == "a block stands still, then it goes right"
    assert made.params["film"]["edit"]["indices"] == [0, made.params["num_frames"] - 1]


def test_a_character_is_made_and_offered_after_an_at(
    desk: Open, service: LiveService, films: Callable[..., Path]
) -> None:
    page = desk().enter("characters")
    page.get_by_label("Name").fill("Bo")
    page.get_by_label("A clip that shows it").set_input_files(str(films()))
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_text("@Bo")).to_be_visible()
    page.get_by_role("link", name="Make").first.click()
    page.get_by_label("Prompt").press_sequentially("see @B")
    page.get_by_role("option", name="@Bo").wait_for()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Prompt")).to_have_value("see Bo ")
    page.keyboard.press("Control+Enter")
    eventually(lambda: newest(service).params["prompt"] == "see Bo")
    assert len(newest(service).params["characters"]) == 1


def test_a_character_is_made_of_a_span_of_a_video(desk: Open, service: LiveService, clip: str) -> None:
    page = desk().enter(f"video/{clip}")
    page.get_by_role("link", name="Make a character").click()
    page.get_by_label("Name").fill("Lu")
    page.locator(".film").focus()
    page.keyboard.press("End")
    expect(page.locator(".film-frame")).to_have_text("9 / 9")
    page.keyboard.press("Home")
    page.keyboard.press(".")
    expect(page.locator(".film-frame")).to_have_text("2 / 9")
    page.get_by_role("button", name="From second").click()
    expect(page.get_by_label("From second")).to_have_value("0.13")
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_text("@Lu")).to_be_visible()
    assert "Lu" in {one.name for one in service.ledger.cast.characters("ann")}


def test_a_server_that_was_killed_and_comes_back_finishes_what_was_asked(
    desk: Open, service: LiveService, films: Callable[..., Path]
) -> None:
    """What the page sees of it is a server that doesn't answer; the job is the ledger's."""
    tab = desk()
    page = tab.enter()
    page.get_by_label("Prompt").fill("outlives its server")
    page.get_by_role("button", name="Make it").click()
    page.get_by_role("button", name="Cancel: outlives its server").wait_for()
    tab.expect("ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET", "ERR_EMPTY_RESPONSE")
    service.go_away()
    expect(page.locator(".nav-offline")).to_be_visible()
    service.come_back()
    service.work()
    expect(page.get_by_role("article").filter(has_text="outlives its server")).to_be_visible()
    expect(page.locator(".nav-offline")).to_have_count(0)
    assert all(
        made.status not in OPEN
        for made in service.ledger.page("ann").jobs
        if made.params["prompt"] == "outlives its server"
    )


def test_a_file_that_is_no_film_is_refused_before_it_is_sent(desk: Open) -> None:
    page = desk().enter("characters")
    page.get_by_label("A clip that shows it").set_input_files(
        {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"x"}
    )
    expect(page.get_by_role("alert")).to_have_text("notes.txt is no video.")
