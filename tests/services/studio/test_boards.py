"""Footage and training as people look at them: for a key that may, and for no other."""

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from .conftest import Desk

pytestmark = pytest.mark.slow
Open = Callable[..., Desk]


def test_a_curated_set_is_looked_through_by_verdict_and_words(desk: Open) -> None:
    page = desk().enter()
    page.get_by_role("link", name="Footage").click()
    expect(page.get_by_text("Clips: 12 = 10 kept + 2 dropped + 0 failed")).to_be_visible()
    expect(page.locator(".card")).to_have_count(12)
    page.locator(".card img").first.wait_for()
    page.get_by_role("radio", name="dropped").check()
    expect(page.locator(".card")).to_have_count(2)
    page.locator(".card button").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("dropped: too_dark")).to_be_visible()
    expect(dialog.get_by_text("sharpness")).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    page.get_by_role("radio", name="All").check()
    page.get_by_label("Search in captions").fill("block 5")
    expect(page.locator(".card")).to_have_count(2)
    with page.expect_download() as download:
        page.get_by_role("button", name="Report").click()
    assert download.value.suggested_filename == "set.html"


def test_a_run_shows_its_curve_and_what_its_checkpoints_make(desk: Open) -> None:
    page = desk().enter()
    page.get_by_role("link", name="Training").click()
    expect(page.get_by_role("img", name="Loss: from 1 to 0.05 in 20 steps")).to_be_visible()
    expect(page.locator(".samples video")).to_have_count(1)
    page.get_by_text("Card", exact=True).click()
    expect(page.locator("pre")).to_have_text("# step 20")
    page.get_by_role("slider", name="Step").fill("0")
    expect(page.get_by_text("At step 10: 0 samples")).to_be_visible()
    page.get_by_role("radio", name="Gradient norm").check()
    expect(page.get_by_role("img", name="Gradient norm")).to_be_visible()


def test_a_key_without_the_scope_is_offered_neither(desk: Open) -> None:
    page = desk().enter(owner="bob")
    expect(page.get_by_role("link", name="Gallery").first).to_be_visible()
    expect(page.get_by_role("link", name="Footage")).to_have_count(0)
    expect(page.get_by_role("link", name="Training")).to_have_count(0)
