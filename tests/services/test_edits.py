"""Videos from videos through the real API: every edit in one batch, sources of every kind, and what is refused."""

import base64
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from services.video.files import work_folder
from services.video.job import Status
from sora_core import media
from sora_core.pipeline import Generation, Pipeline

from .editing import AUTH, NUM_FRAMES, SIZE, ask, moving, png, post
from .http import HTTP
from .live import LiveService, config_in, eventually
from .postgres import free_port
from .tiny_model import FPS

LIMITS = {"max_video_bytes": 100_000, "max_video_s": 20.0, "max_video_pixels": 200 * 200, "max_video_frames": 120}


@pytest.fixture(scope="module")
def editor(tmp_path_factory: pytest.TempPathFactory, learned: str) -> Iterator[LiveService]:
    """A service at work with that model; windows hold five latent frames of 48x32."""
    config = config_in(tmp_path_factory.mktemp("editor"), learned, api=LIMITS)
    with LiveService(config, Pipeline.load(learned, "cpu"), free_port()) as service:
        service.publish()
        service.work()
        yield service


def done(service: LiveService, video_id: str) -> dict[str, Any]:
    """The video, once it has ended well."""

    def ended() -> Any:
        video = HTTP.get(f"{service.url}/v1/videos/{video_id}", headers=AUTH["ann"]).json()
        return video if video["status"] in ("completed", "failed") else None

    video: dict[str, Any] = eventually(ended)
    assert video["status"] == "completed", video["error"]
    return video


def frames_of(service: LiveService, video_id: str, folder: Path) -> np.ndarray:
    return media.decode_clip(film_of(service, video_id, folder))


def film_of(service: LiveService, video_id: str, folder: Path) -> Path:
    path = folder / f"{video_id}.mp4"
    path.write_bytes(HTTP.get(f"{service.url}/v1/videos/{video_id}/content", headers=AUTH["ann"]).content)
    return path


def away(a: np.ndarray, b: np.ndarray) -> float:
    """The mean distance of two clips' pixels, of 255; what the encoder of the film costs is about 3."""
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


def white_box(top: int, left: int, height: int, width: int) -> np.ndarray:
    mask = np.zeros((*SIZE, 3), np.uint8)
    mask[top : top + height, left : left + width] = 255
    return mask


# --- what can be made


def test_every_edit_and_plain_prompts_run_in_one_batch(
    editor: LiveService, films: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    film = films().read_bytes()
    still = f"data:image/png;base64,{base64.b64encode(png(moving()[0])).decode()}"
    mixed: list[set[bool]] = []
    step = editor.pipeline.step

    def watched(generations: list[Generation]) -> None:
        mixed.append({generation.request.canvas is None for generation in generations})
        step(generations)

    monkeypatch.setattr(editor.pipeline, "step", watched)
    plain = {"size": "48x32", "num_frames": NUM_FRAMES, "num_inference_steps": 12}
    box = {"x": 16, "y": 8, "width": 16, "height": 16, "start_s": 0.25, "end_s": 0.75}
    stills = [{"frame_type": "first_frame", "image_url": still}, {"frame_type": "last_frame", "image_url": still}]
    black = np.maximum(moving(), 60)
    black[:, :8] = 0
    asked = [
        ("", {}, plain, None, 9),
        ("", {}, plain | {"frame_images": stills}, "keyframes", 9),
        ("", {}, plain | {"loop": True}, "loop", 9),
        ("/edits", {"video": film}, {"strength": 0.5}, "restyle", 9),
        ("/edits", {"video": film}, {"boxes": [box]}, "repaint", 9),
        ("/edits", {"video": film, "mask": png(white_box(8, 16, 16, 16))}, {}, "repaint", 9),
        ("/edits", {"video": films(black).read_bytes()}, {"remove_bars": True}, "repaint", 9),
        ("/edits", {"video": film}, {"size": "64x48"}, "outpaint", 9),
        ("/edits", {"video": film}, {"enable_frame_interpolation": True}, "interpolate", 17),
        ("/extensions", {"video": film}, {"seconds": 1}, "extend", 17),
        ("/extensions", {"video": film}, {"num_frames": 20, "direction": "backward"}, "extend", 29),
        ("/extensions", {"video": film}, {"num_frames": 8, "loop": True}, "loop", 17),
        ("/transitions", {"videos[0]": film, "videos[1]": film}, {"num_frames": 8}, "transition", 26),
        ("", {}, plain, None, 9),
    ]
    ids = [ask(editor, path, files, **data) for path, files, data, _, _ in asked]
    for video_id, (path, _, data, edit, num_frames) in zip(ids, asked, strict=True):
        video = done(editor, video_id)
        assert (video["edit"], video["num_frames"]) == (edit, num_frames), (path, data)
        assert float(video["seconds"]) == pytest.approx(num_frames / video["fps"], abs=1e-3)
    assert {True, False} in mixed
    eventually(lambda: not editor.ledger.littered())
    assert not any(Path(work_folder(editor.config.output, video_id)).exists() for video_id in ids)


def test_parts_of_videos_are_joined_without_the_model(
    editor: LiveService, films: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    colours = [np.full((NUM_FRAMES, *SIZE, 3), value, np.uint8) for value in (60, 200)]
    sources = [
        ask(editor, "/extensions", {"video": films(colour).read_bytes()}, num_frames=4, prompt=f"{colour[0, 0, 0, 0]}")
        for colour in colours
    ]
    for source in sources:
        done(editor, source)
    monkeypatch.setattr(editor.pipeline, "start", None)  # nothing is to be sampled
    whole = {"id": sources[1], "end_s": NUM_FRAMES / FPS}
    cuts: dict[str, Any] = {"clips": [{"id": sources[0], "start_s": 2 / FPS, "end_s": 6 / FPS}, whole]}
    answer = HTTP.post(f"{editor.url}/v1/videos/cuts", json=cuts, headers=AUTH["ann"])
    assert answer.status_code == 200, answer.text
    video = done(editor, answer.json()["id"])
    assert (video["edit"], video["num_frames"], video["prompt"]) == ("join", 4 + NUM_FRAMES, "60")
    assert sorted(video["sources"]) == sorted(sources)
    seen = frames_of(editor, video["id"], tmp_path).mean((1, 2, 3))
    assert (seen[:4] < 70).all()
    assert (seen[4:] > 190).all()


@pytest.mark.parametrize(
    ("clips", "status", "param"),
    [
        ([], 400, "clips"),
        (["video_" + "0" * 32], 404, None),
        ([{"id": "video_" + "0" * 32, "start_s": 2, "end_s": 1}], 400, "clips.0.end_s"),
        ([{"id": "video_" + "0" * 32, "until": 1}], 400, None),
    ],
)
def test_a_cut_of_nothing_is_refused(editor: LiveService, clips: list[Any], status: int, param: str | None) -> None:
    answer = HTTP.post(f"{editor.url}/v1/videos/cuts", json={"clips": clips}, headers=AUTH["ann"])
    assert answer.status_code == status, answer.text
    assert param is None or answer.json()["error"]["param"] == param


def test_what_is_kept_is_the_sources_own_and_sounds_at_its_time(
    editor: LiveService, films: Callable[..., Path], tmp_path: Path
) -> None:
    source = films(sound=True)
    sent = {"video": source.read_bytes()}
    own = media.decode_clip(source)
    boxed = {"boxes": [{"x": 0, "y": 0, "width": 16, "height": 16}]}
    on, back, painted = (
        ask(editor, path, sent, **data)
        for path, data in (
            ("/extensions", {"num_frames": 16}),
            ("/extensions", {"num_frames": 16, "direction": "backward"}),
            ("/edits", boxed),
        )
    )
    for video_id in (on, back, painted):
        done(editor, video_id)
    assert away(frames_of(editor, on, tmp_path)[:NUM_FRAMES], own) < 3
    assert away(frames_of(editor, back, tmp_path)[-NUM_FRAMES:], own) < 3
    repainted = frames_of(editor, painted, tmp_path)
    assert away(repainted[:, 24:], own[:, 24:]) < 3
    assert away(repainted[:, :16, :16], own[:, :16, :16]) > 10
    for video_id, quiet_s in ((on, None), (back, 2.0), (painted, 0.0)):
        heard = media.decode_sound(film_of(editor, video_id, tmp_path), 0.0, 3.125)
        assert heard is not None
        loud = np.flatnonzero(np.abs(heard.astype(int)).max(axis=1) > 2000) / media.SOUND_HZ
        begin_s = quiet_s or 0.0
        assert (loud[0], loud[-1]) == pytest.approx((begin_s, begin_s + NUM_FRAMES / FPS), abs=0.05)


def test_a_film_at_twice_its_rate_holds_the_same_film(
    editor: LiveService, films: Callable[..., Path], tmp_path: Path
) -> None:
    """Whatever made it: its own frames lie between the new ones, and its sound at its time."""
    sent = {"video": films(sound=True).read_bytes()}
    asked: list[tuple[str, dict[str, Any], dict[str, Any], str | None]] = [
        ("", {}, {"size": "48x32", "num_frames": NUM_FRAMES}, None),
        ("/extensions", sent, {"num_frames": 8}, "extend"),
    ]
    for path, files, data, kind in asked:
        plain, faster = (
            ask(editor, path, files, seed=7, **data, **more) for more in ({}, {"enable_frame_interpolation": True})
        )
        once, twice = done(editor, plain), done(editor, faster)
        assert (once["edit"], twice["edit"]) == (kind, kind)
        assert (twice["fps"], twice["num_frames"]) == (2 * once["fps"], 2 * once["num_frames"] - 1)
        assert float(twice["seconds"]) == pytest.approx(twice["num_frames"] / twice["fps"], abs=1e-3)
        costs = [job.num_steps for job in map(editor.ledger.get, (plain, faster)) if job is not None]
        assert costs[1] > costs[0]
        film = frames_of(editor, faster, tmp_path)
        assert len(film) == twice["num_frames"]
        assert away(film[::2], frames_of(editor, plain, tmp_path)) < 6  # noise, encoded with others around it
        if files:
            heard = media.decode_sound(film_of(editor, faster, tmp_path), 0.0, 3.0)
            assert heard is not None
            loud = np.flatnonzero(np.abs(heard.astype(int)).max(axis=1) > 2000) / media.SOUND_HZ
            assert (loud[0], loud[-1]) == pytest.approx((0.0, NUM_FRAMES / FPS), abs=0.05)


def test_a_video_is_edited_after_it_was_deleted(editor: LiveService, tmp_path: Path) -> None:
    made = ask(editor, "", size="48x32", num_frames=NUM_FRAMES, seed=5)
    done(editor, made)
    before = frames_of(editor, made, tmp_path)
    refused = post(editor, f"/{made}/remix")  # with settings of its own
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "num_inference_steps")
    keyed = AUTH["ann"] | {"idempotency-key": "remix"}
    remix = partial(httpx.post, f"{editor.url}/v1/videos/{made}/remix", json={"prompt": "y"}, headers=keyed)
    remixed = remix().json()
    assert (remixed["remixed_from_video_id"], remixed["seed"], remixed["num_inference_steps"]) == (made, 5, 2)
    extended = ask(editor, "/extensions", video=made, num_frames=4)
    HTTP.delete(f"{editor.url}/v1/videos/{made}", headers=AUTH["ann"])
    assert remix().json()["id"] == remixed["id"], "a repetition finds it, although its source is gone"
    done(editor, remixed["id"])
    done(editor, extended)
    assert away(frames_of(editor, extended, tmp_path)[:NUM_FRAMES], before) < 6  # noise, encoded a second time


def test_a_file_of_another_rate_and_size_is_cut_to_the_models(editor: LiveService, films: Callable[..., Path]) -> None:
    """Half a second of thirty frames each, of 98x66 pixels: eight a second, the usual area, whole multiples."""
    file = films(moving(60, (66, 98)), 30.0).read_bytes()
    video = done(editor, ask(editor, "/edits", {"video": file}, start_s=0.5, end_s=1.5))
    width, height = (int(side) for side in editor.ledger.roster.model_cards()[0]["default_size"].split("x"))
    assert (video["num_frames"], video["fps"]) == (8, FPS)
    assert video["width"] % 16 == video["height"] % 16 == 0
    assert video["width"] * video["height"] <= width * height
    faster = done(editor, ask(editor, "/edits", {"video": file}, end_s=0.5, fps=30))
    assert (faster["num_frames"], faster["fps"]) == (15, 30)


# --- what is refused


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory, learned: str) -> Iterator[LiveService]:
    """A service with that model whose jobs stay queued."""
    config = config_in(tmp_path_factory.mktemp("refusing"), learned, api=LIMITS)
    with LiveService(config, Pipeline.load(learned, "cpu"), free_port()) as service:
        service.publish()
        yield service


@pytest.mark.parametrize(
    ("path", "data", "param", "code", "says"),
    [
        ("/edits", {"strength": 2}, "strength", "invalid_value", "less than or equal to 1"),
        ("/edits", {"boxen": []}, "boxen", "unknown_parameter", "boxes"),
        ("/edits", {"boxes": [{"x": 90, "y": 0, "width": 9, "height": 9}]}, "boxes", "invalid_value", "48x32"),
        ("/edits", {"boxes": [{"x": 0}]}, "boxes.0.y", "missing_parameter", "required"),
        ("/edits", {"boxes": "["}, "boxes", "invalid_json", "boxes"),
        ("/edits", {"remove_bars": True}, "remove_bars", "invalid_value", "no black bars"),
        ("/edits", {"size": "48x32"}, "size", "invalid_value", "nothing to paint"),
        ("/edits", {"size": "50x32"}, "size", "invalid_value", "multiples of 16"),
        ("/edits", {"size": "64x48", "strength": 0.5}, "strength", "invalid_value", "leave strength out"),
        (
            "/edits",
            {"size": "64x48", "boxes": [{"x": 0, "y": 0, "width": 9, "height": 9}]},
            "size",
            "invalid_value",
            "one",
        ),
        ("/edits", {"start_s": 3}, "start_s", "invalid_value", "1.125 s"),
        ("/edits", {"fps": 119}, "video", "too_long", "more than 120 frames"),
        ("/extensions", {}, "seconds", "missing_parameter", "required"),
        (
            "/extensions",
            {"num_frames": 30, "enable_frame_interpolation": True, "frame_interpolation_exp": 2},
            "enable_frame_interpolation",
            "too_long",
            "153 frames: at most 120",
        ),
        (
            "/extensions",
            {"num_frames": 8, "loop": True, "enable_frame_interpolation": True},
            "enable_frame_interpolation",
            "invalid_value",
            "a loop's last frame",
        ),
        ("/extensions", {"seconds": 60}, "seconds", "too_long", "at most 120"),
        ("/extensions", {"num_frames": 4, "direction": "up"}, "direction", "invalid_value", "forward"),
    ],
)
def test_a_request_that_cannot_be_met_is_refused_by_name(
    refusing: LiveService, films: Callable[..., Path], path: str, data: dict[str, Any], param: str, code: str, says: str
) -> None:
    answer = post(refusing, path, {"video": films().read_bytes()}, **data)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, param, code), error
    assert says in error["message"]


def test_sources_that_cannot_be_used_are_refused_before_any_work(
    refusing: LiveService, films: Callable[..., Path]
) -> None:
    cases: list[tuple[bytes, str]] = [
        (b"junk", "invalid_video"),
        (b"", "missing_parameter"),
        (png(moving()[0]), "invalid_video"),
        (films().read_bytes()[:600], "invalid_video"),
        (bytes(LIMITS["max_video_bytes"] + 1), "too_large"),
        (films(moving(2, (208, 208))).read_bytes(), "too_large"),
        (films(moving(21, (16, 16)), 1.0).read_bytes(), "too_long"),
    ]
    for data, code in cases:
        answer = post(refusing, "/extensions", {"video": data}, num_frames=4)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, code), answer.text
        assert answer.json()["error"]["param"] == "video"
    wrong = {"mask": png(np.zeros((*SIZE, 3), np.uint8))}, {"mask": png(np.full((16, 16, 3), 255, np.uint8))}
    for files in wrong:
        error = post(refusing, "/edits", {"video": films().read_bytes()} | files).json()["error"]
        assert (error["param"], error["code"]) == ("mask", "invalid_value")
    assert refusing.ledger.page("ann").jobs == []
    assert not Path(refusing.config.output).exists()


def test_only_a_completed_video_of_the_same_key_can_be_edited(refusing: LiveService) -> None:
    queued = ask(refusing, "", size="48x32", num_frames=5)
    cases = [("ann", queued, 400, "video_not_ready"), ("bob", queued, 404, "not_found")]
    cases += [("ann", "video_" + "0" * 32, 404, "not_found"), ("ann", "../x", 404, "not_found")]
    for owner, video_id, status, code in cases:
        for data in ({"video": video_id}, {"video_id": video_id}, {"video[id]": video_id}):
            answer = post(refusing, "/extensions", owner=owner, num_frames=4, **data)
            assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    refusing.ledger.cancel(queued)
    assert post(refusing, "/extensions", video=queued, num_frames=4).json()["error"]["code"] == "video_failed"
    refusing.ledger.delete(queued)


def test_an_edit_that_the_model_was_not_trained_for_is_refused_with_what_it_can_do(
    door: LiveService, films: Callable[..., Path]
) -> None:
    (card,) = door.ledger.roster.model_cards()
    assert {"first_frame", "extend_forward", "restyle"} <= set(card["edits"])
    for path, data, name in (
        ("/extensions", {"num_frames": 4, "direction": "backward"}, "extend_backward"),
        ("/edits", {"size": "64x48"}, "outpaint"),
        ("", {"loop": True, "num_frames": 9, "size": "48x32"}, "loop"),
    ):
        files = {"video": films().read_bytes()} if path else {}
        error = post(door, path, files, **data).json()["error"]
        assert error["code"] == "unsupported"
        assert error["message"].startswith(f"{name}: model 'tiny' was not trained for it; it can do: first_frame")


def test_a_cancelled_edit_leaves_no_files(refusing: LiveService, films: Callable[..., Path]) -> None:
    video_id = ask(refusing, "/extensions", {"video": films().read_bytes()}, num_frames=4)
    folder = Path(work_folder(refusing.config.output, video_id))
    assert [path.name for path in folder.iterdir()] == ["clip-0.mkv"]
    refusing.ledger.cancel(video_id)
    job = refusing.ledger.get(video_id)
    assert job is not None
    assert job.status is Status.FAILED
    refusing.work()
    eventually(lambda: not folder.exists())
    refusing.rest()
