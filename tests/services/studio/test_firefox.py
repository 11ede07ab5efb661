"""The studio in Firefox, where one is installed: typed, made, played, every view without an error of the page."""

from pathlib import Path

import pytest

from tests.services.live import KEYS, LiveService

from . import firefox

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(firefox.program() is None, reason="no Firefox here: apt-get install firefox-esr"),
]
VIEWS = ("queue", "gallery", "story", "characters", "footage", "training", "edit/{id}", "tree/{id}", "compare/{id}")


def test_firefox_makes_and_plays_a_film_and_shows_every_view(service: LiveService, tmp_path: Path) -> None:
    service.work()
    with firefox.opened(tmp_path) as tab:
        tab.go(f"{service.url}/studio/#/?key={KEYS['ann']}")
        tab.until("document.querySelector('#prompt')")
        tab.run("document.querySelector('#prompt').focus()")
        tab.type("a red ball in Firefox")
        tab.until("document.querySelector('.outlook').textContent.includes('token steps')")
        tab.run("document.querySelector('.composer .button.primary').click()")
        tab.until("document.querySelector('article.card a')")
        video_id = tab.run("document.querySelector('article.card a').hash.split('/').at(-1)")
        tab.run(f"location.hash = '#/video/{video_id}'")
        tab.until("document.querySelector('video')?.readyState >= 2")
        assert tab.run("Math.round(document.querySelector('video').duration * 8)") == 9
        tab.run(
            "(film => { film.pause(); film.currentTime = 0 })(document.querySelector('video'))"
        )  # it plays by itself
        tab.until("document.querySelector('.film-frame').textContent === '1 / 9'")
        tab.run("document.querySelector('[aria-label=\"Next frame\"]').click()")
        tab.until("document.querySelector('.film-frame').textContent === '2 / 9'")
        play = "film.loop = false; film.currentTime = 0; return film.play();"
        tab.run(f"(film => {{ {play} }})(document.querySelector('video'))")
        tab.until("document.querySelector('video').currentTime > 0.3")
        for view in VIEWS:
            tab.run(f"location.hash = '#/{view.format(id=video_id)}'")
            tab.until(f"document.querySelector('main.view-{view.split('/')[0]} > *')")
            tab.until("document.querySelector('h1')")
        assert tab.errors == []
    service.rest()
