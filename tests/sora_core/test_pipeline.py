"""Prompt to frames on small random models, real in every part."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import PIL.Image
import pytest
import torch
from diffusers import (
    AutoencoderKLWan,
    FlowMatchEulerDiscreteScheduler,
    WanImageToVideoPipeline,
    WanPipeline,
    WanTransformer3DModel,
)
from transformers import AutoTokenizer, CLIPImageProcessorPil, CLIPVisionModel, UMT5EncoderModel

from sora_core import checkpoint, storage
from sora_core.checkpoint import DataSummary, Meta
from sora_core.diffusion import flow
from sora_core.edits import (
    Canvas,
    Clip,
    Edit,
    Extend,
    Interpolate,
    Keyframes,
    Loop,
    Outpaint,
    Region,
    Repaint,
    Restyle,
    Transition,
    first_frame,
    make_canvas,
    plan_windows,
    supported,
)
from sora_core.errors import CheckpointError, FingerprintMismatch, InputError
from sora_core.pipeline import FrameDecoder, Generation, Pipeline, Request, check_present, edit
from sora_core.pipeline.frames import fit_frames, to_frames, to_video
from sora_core.pipeline.parts import EXTRAPOLATION, load_checkpoint
from sora_core.shapes import PixelShape
from sora_core.shards import Encoder
from sora_core.text import TextEncoder
from sora_core.training.masks import KINDS
from sora_core.vae import VideoAutoencoder
from sora_core.vae.folder import new_model, write_model
from sora_core.vae.whitening import Whitening

from .wan_folder import CHANNELS, VAE, random_dit, write_wan

PROMPT = "a red ball moves left"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training run's folder with one checkpoint, at step 7, as training leaves it."""
    root = tmp_path_factory.mktemp("runs")
    torch.manual_seed(0)
    write_model(new_model(**VAE), root / "vae", torch.float32)
    vae, text = VideoAutoencoder.load(str(root / "vae")), TextEncoder.load()
    dit = random_dit(text_dim=text.dim, pooled_text=True)
    meta = Meta(
        step=7,
        dit=dit.config.to_dict(),
        vae=Encoder(vae.source, vae.fingerprint),
        text_encoder=Encoder(text.source, text.fingerprint),
        whitening=Whitening((0.1,) * CHANNELS, (0.5,) * CHANNELS),
        compression=vae.compression,
        fps=12.0,
        max_tokens=48,
        given=(*KINDS, "reference"),
        shift=3.0,
        guidance_scale=2.0,
        base=None,
        git_revision=None,
        training={},
        data=DataSummary("file:///nowhere", 1, 1.0, {"unknown": 1}),
    )
    checkpoint.save_model(checkpoint.step_uri(str(root / "balls"), 7), dit.state_dict(), meta)
    return root / "balls"


@pytest.fixture(scope="module")
def pipe(run: Path) -> Pipeline:
    return Pipeline.load(str(run), "cpu")


def ask(**changes: Any) -> Request:
    values: dict[str, Any] = {
        "prompt": PROMPT,
        "num_frames": 9,
        "height": 32,
        "width": 48,
        "num_inference_steps": 4,
        "seed": 5,
    }
    return Request(**(values | changes))


def finish(pipe: Pipeline, *requests: Request) -> list[Generation]:
    """All requests in one batch, each leaving when it is done."""
    generations = [pipe.start(request) for request in requests]
    while running := [generation for generation in generations if not generation.done]:
        pipe.step(running)
    return generations


MIX = [
    ask(),
    ask(prompt="a blue square", num_frames=1, height=64, width=64, seed=6),
    ask(guidance_scale=1.0, num_inference_steps=2, seed=7),
    ask(num_frames=5, width=32, num_inference_steps=6, canvas=first_frame(np.full((32, 32, 3), 200, np.uint8), 5)),
    ask(negative_prompt="blurred", seed=8),
]


def test_a_call_gives_frames_of_the_asked_size(pipe: Pipeline) -> None:
    video = pipe(PROMPT, num_frames=5, height=48, width=32, num_inference_steps=2, seed=1)
    assert video.shape == (5, 48, 32, 3)
    assert video.dtype == np.uint8
    assert video.std() > 1


def test_a_request_does_not_depend_on_its_neighbours(pipe: Pipeline) -> None:
    """Mixed sizes, lengths, step counts, guidance and conditions in one packed forward: one seed means the same."""
    for request, together in zip(MIX, finish(pipe, *MIX), strict=True):
        alone = finish(pipe, request)[0].latent
        assert (together.latent - alone).norm() / alone.norm() < 1e-4


SUBJECT = np.random.default_rng(3).integers(0, 256, (5, 32, 32, 3), np.uint8)


def test_a_reference_steers_the_clip_that_has_it_and_no_other(pipe: Pipeline) -> None:
    """Beside clips without one in the same packed forward; it is seen, and it is no part of the result."""
    plain, shown = ask(), ask(references=(SUBJECT,))
    still = ask(references=(255 - SUBJECT[:1],), canvas=first_frame(SUBJECT[0, :, :16], 5), num_frames=5, width=16)
    mix = [plain, shown, still, ask(references=(SUBJECT[:1],), guidance_scale=1.0)]
    together = finish(pipe, *mix)
    for request, generation in zip(mix, together, strict=True):
        alone = finish(pipe, request)[0].latent
        assert (generation.latent - alone).norm() / alone.norm() < 1e-4
    assert together[0].latent.shape == together[1].latent.shape
    assert (together[0].latent - together[1].latent).norm() > 1e-2 * together[0].latent.norm()


def test_an_edit_may_be_shown_its_subject(pipe: Pipeline) -> None:
    films = [
        edit(pipe, Extend(4), [NOISE[:9]], PROMPT, num_inference_steps=2, reference=shown)
        for shown in (None, np.full((40, 50, 60, 3), 200, np.uint8))
    ]
    assert all(np.array_equal(film[:9], NOISE[:9]) for film in films)
    assert not np.array_equal(*films)


def test_the_tokens_of_a_reference_are_counted_where_they_are_computed(pipe: Pipeline) -> None:
    plain, shown = pipe.start(ask()), pipe.start(ask(references=(SUBJECT,)))
    assert shown.reference_tokens == 2 * 4
    assert shown.num_tokens == plain.num_tokens + 8 == 2 * plain.clip_tokens + 8  # the branch of no prompt sees none
    assert shown.cost > plain.cost


def test_a_reference_is_cut_to_what_was_learned_and_never_stretched(pipe: Pipeline) -> None:
    long = np.zeros((40, 90, 120, 3), np.uint8)
    assert pipe.fit_reference(long, 32 * 48).shape == (17, 32, 32, 3)
    assert pipe.fit_reference(long[:1], 64 * 64).shape == (1, 48, 64, 3)
    video = pipe(PROMPT, num_frames=1, height=32, width=48, num_inference_steps=1, reference=long[:7])
    assert video.shape == (1, 32, 48, 3)


NOISE = np.random.default_rng(0).integers(0, 256, (17, 32, 48, 3), np.uint8)
EDITS: list[tuple[Edit, list[Clip]]] = [
    (Keyframes((0,), PixelShape(9, 32, 48)), [NOISE[:1]]),
    (Keyframes((0, 4), PixelShape(9, 32, 48)), [NOISE[:1], NOISE[1:2]]),
    (Extend(8), [NOISE]),
    (Extend(7, "backward"), [NOISE]),
    (Loop(4), [NOISE]),
    (Transition(4), [NOISE[:9], NOISE[9:]]),
    (Interpolate(2), [NOISE[:5]]),
    (Restyle(0.5), [NOISE[:9]]),
    (Repaint((Region(2, 7, 0, 16, 32, 16),)), [NOISE[:9]]),
    (Outpaint(32, 64, 0, 16), [NOISE[:9]]),
]


def canvas_of(pipe: Pipeline, asked: Edit, sources: list[Clip]) -> Canvas:
    """What the first window of an edit is given."""
    plan = plan_windows(asked, [PixelShape(*source.shape[:3]) for source in sources], pipe.room)
    return make_canvas(plan, 0, sources, [])


def test_edits_of_every_kind_and_prompts_share_a_batch(pipe: Pipeline) -> None:
    """One packed forward a step for all of them, and each comes out as it does alone."""
    mix = [*MIX]
    for seed, (asked, sources) in enumerate(EDITS):
        canvas = canvas_of(pipe, asked, sources)
        size = {"num_frames": canvas.shape.frames, "height": canvas.shape.height, "width": canvas.shape.width}
        mix.append(ask(**size, canvas=canvas, seed=seed, guidance_scale=1.0 + seed % 2))
    for request, together in zip(mix, finish(pipe, *mix), strict=True):
        alone = finish(pipe, request)[0].latent
        assert (together.latent - alone).norm() / alone.norm() < 1e-4


@pytest.mark.parametrize(("asked", "sources"), EDITS[2:6])
def test_an_edit_in_one_call_gives_the_film_with_the_sources_in_it(
    pipe: Pipeline, asked: Edit, sources: list[Clip]
) -> None:
    film = edit(pipe, asked, sources, PROMPT, num_inference_steps=1)
    begin = 7 if asked == Extend(7, "backward") else 0
    assert np.array_equal(film[begin : begin + len(sources[0])], sources[0])
    assert len(film) > sum(map(len, sources))


def test_a_strength_runs_the_last_of_the_steps_from_the_noised_source(pipe: Pipeline) -> None:
    canvas = canvas_of(pipe, Restyle(0.5), [NOISE[:9]])
    generation = pipe.start(ask(canvas=canvas, num_inference_steps=6))
    full = pipe.start(ask(num_inference_steps=6))
    for _ in range(3):
        pipe.step([full])
    assert generation.num_steps == 3
    assert generation.solver.sigma == pytest.approx(full.solver.sigma)
    source = pipe.whitening.apply(pipe.vae.encode(to_video(canvas.frames)[None]).mean[0])
    noise = flow.noise(5, source.shape)
    torch.testing.assert_close(generation.latent, flow.add_noise(source, noise, generation.solver.sigma))


def test_joining_late_changes_nothing(pipe: Pipeline) -> None:
    first, second = pipe.start(MIX[0]), pipe.start(MIX[4])
    pipe.step([first])
    while not (first.done and second.done):
        pipe.step([one for one in (second, first) if not one.done])
    alone = finish(pipe, MIX[4])[0].latent
    assert (second.latent - alone).norm() / alone.norm() < 1e-4


def test_the_seed_decides(pipe: Pipeline) -> None:
    same, again, other = (finish(pipe, ask(seed=seed))[0].latent for seed in (5, 5, 6))
    assert torch.equal(same, again)
    assert (same - other).norm() > 0.1 * same.norm()


def test_prompt_and_negative_prompt_steer(pipe: Pipeline) -> None:
    base, prompted, negated = (
        one.latent for one in finish(pipe, ask(), ask(prompt="dogs"), ask(negative_prompt="dogs"))
    )
    assert (base - prompted).norm() > 1e-3 * base.norm()
    assert (base - negated).norm() > 1e-3 * base.norm()


def test_scale_one_is_the_prompt_alone(pipe: Pipeline) -> None:
    plain = pipe.start(ask(guidance_scale=1.0))
    assert not plain.guided
    assert plain.num_tokens == plain.clip_tokens == 18
    guided = pipe.start(ask(guidance_scale=1.5))
    assert guided.num_tokens == 36
    same, other = (finish(pipe, ask(guidance_scale=1.0, negative_prompt=text))[0].latent for text in ("", "dogs"))
    assert torch.equal(same, other)


def test_the_model_brings_its_own_guidance(pipe: Pipeline) -> None:
    own, said = (finish(pipe, ask(guidance_scale=scale))[0].latent for scale in (None, 2.0))
    assert torch.equal(own, said)


def test_a_given_first_frame_is_left_as_it_is(pipe: Pipeline) -> None:
    image = np.random.default_rng(0).integers(0, 255, (32, 48, 3), np.uint8)
    generation = pipe.start(ask(canvas=first_frame(image, 9)))
    given = pipe.whitening.apply(pipe.vae.encode(to_video(image[None])[None]).mean[0])
    while not generation.done:
        assert torch.equal(generation.latent[:, :1], given)
        pipe.step([generation])
    assert torch.equal(generation.latent[:, :1], given)
    free = finish(pipe, ask())[0].latent
    assert (generation.latent[:, 1:] - free[:, 1:]).norm() > 1e-3 * free.norm()


def test_frames_stream_as_they_are_decoded(pipe: Pipeline) -> None:
    generation = finish(pipe, ask())[0]
    parts = list(pipe.decode_stream(generation))
    assert [len(part) for part in parts] == [1, 4, 4]
    assert np.array_equal(np.concatenate(parts), pipe.decode(generation))


def test_progress_and_cost_are_known_from_the_start(pipe: Pipeline) -> None:
    generation = pipe.start(ask(num_inference_steps=3))
    assert (generation.step, generation.num_steps) == (0, 3)
    assert generation.cost == pytest.approx(3 / 6 * pipe.start(ask(num_inference_steps=6)).cost)
    assert pipe.start(ask(num_frames=17)).cost > 1.5 * generation.cost
    pipe.step([generation])
    assert generation.step == 1


def test_only_what_is_running_steps_and_only_what_is_done_decodes(pipe: Pipeline) -> None:
    generation = pipe.start(ask(num_inference_steps=1))
    with pytest.raises(InputError, match="step 0 of 1"):
        pipe.decode(generation)
    pipe.step([generation])
    with pytest.raises(InputError, match="can't be stepped"):
        pipe.step([generation])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"height": 40}, r"size 48x40: both sides must be multiples of 16; 48x32 would do"),
        ({"num_frames": 8}, "8 frames.*use 5 or 9"),
        ({"num_frames": 0}, "0 frames"),
        ({"height": 0}, "size 48x0"),
        (
            {"height": 512, "width": 512},
            f"3072 tokens, 32 along the longest side: this model takes {48 * EXTRAPOLATION} and 1024",
        ),
        ({"height": 16, "width": 16 * 1025, "num_frames": 1}, "1025 along the longest side"),
        ({"seed": -1}, "seed -1: give 0 to"),
        ({"guidance_scale": float("inf")}, "guidance scale inf"),
        ({"num_inference_steps": 0}, "num_inference_steps = 0: give 1 to"),
        ({"canvas": first_frame(np.zeros((32, 32, 3), np.uint8), 9)}, "a canvas of 9x32x32 for a video of 9x32x48"),
        ({"references": (SUBJECT, SUBJECT)}, "2 references: models learn from 1 a clip"),
        ({"references": (np.zeros((21, 32, 32, 3), np.uint8),)}, "a reference of 21 frames: give 17 or fewer"),
        ({"references": (SUBJECT[:4],)}, "4 frames.*use 1 or 5"),
        ({"references": (SUBJECT[:, :30],)}, "a reference of 32x30: both sides must be multiples of 16"),
    ],
)
def test_what_the_model_cannot_do_is_refused_with_the_remedy(
    pipe: Pipeline, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        pipe.start(ask(**changes))


def test_a_run_a_checkpoint_and_their_names(run: Path, pipe: Pipeline) -> None:
    exact = Pipeline.load(str(run / "checkpoints" / "step-7"), "cpu")
    assert exact.name == pipe.name == "balls"
    assert pipe.fps == 12.0
    assert all(torch.equal(value, exact.dit.state_dict()[name]) for name, value in pipe.dit.state_dict().items())


def test_other_encoders_than_trained_with_are_refused(run: Path, tmp_path: Path) -> None:
    weights, meta = checkpoint.load_model(str(run))
    for part in ("vae", "text_encoder"):
        encoder = getattr(meta, part)
        wrong = dataclasses.replace(meta, **{part: Encoder(encoder.source, "0" * 64)})
        checkpoint.save_model(str(tmp_path / part), weights, wrong)
        with pytest.raises(FingerprintMismatch, match="000000000000: put back those weights"):
            Pipeline.load(str(tmp_path / part), "cpu")


def test_weights_that_do_not_fit_are_refused(run: Path, tmp_path: Path) -> None:
    weights, meta = checkpoint.load_model(str(run))
    weights["surplus"] = weights.pop("proj_out.bias")
    checkpoint.save_model(str(tmp_path), weights, meta)
    with pytest.raises(CheckpointError, match=r"missing \['proj_out.bias'\], surplus \['surplus'\]"):
        Pipeline.load(str(tmp_path), "cpu")
    with pytest.raises(CheckpointError, match="no whole checkpoint"):
        Pipeline.load(str(tmp_path / "nowhere"), "cpu")
    with pytest.raises(CheckpointError, match="'no/such' is neither a folder nor a hub id"):
        Pipeline.load("no/such", "cpu")


# --- pictures


def test_frames_survive_the_way_to_the_autoencoder_and_back() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 4, 6, 3), np.uint8)
    assert np.array_equal(to_frames(to_video(frames)), frames)


def test_a_still_of_another_aspect_is_cut_not_stretched() -> None:
    """A disc stays round."""
    rows, columns = np.mgrid[:90, :160]
    disc = ((rows - 45) ** 2 + (columns - 80) ** 2 < 30**2).astype(np.uint8) * 255
    fitted = fit_frames(np.repeat(disc[..., None], 3, axis=2)[None], 64, 64)[0, ..., 0] > 127
    assert fitted.shape == (64, 64)
    height, width = (np.ptp(np.nonzero(fitted.any(axis))[0]) for axis in (1, 0))
    assert abs(int(height) - int(width)) <= 1
    assert height == pytest.approx(60 * 64 / 90, abs=2)


# --- open weights in the published layout


@pytest.fixture
def published(tmp_path: Path) -> Callable[..., Path]:
    """A small random model as a published Wan pipeline folder."""

    return lambda **changes: write_wan(tmp_path, **changes)


def test_a_published_folder_is_served(published: Callable[..., Path]) -> None:
    pipe = Pipeline.load(str(published()), "cpu")
    assert (pipe.fps, pipe.sampling.shift.shift_for(1), pipe.whitening.std[0]) == (24.0, 5.0, 0.7)
    image = np.zeros((32, 48, 3), np.uint8)
    for generation in finish(pipe, ask(), ask(canvas=first_frame(image, 9), seed=1)):
        assert pipe.decode(generation).shape == (9, 32, 48, 3)


def test_a_hub_id_is_served_from_the_hub_s_cache(
    published: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cache as a download leaves it; nothing is asked of the network."""
    cache = tmp_path_factory.mktemp("hub")
    repository = cache / "models--tiny--wan"
    shutil.copytree(published(), repository / "snapshots" / "0123abcd")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0123abcd")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    check_present("tiny/wan")
    pipe = Pipeline.load("tiny/wan", "cpu")
    [generation] = finish(pipe, ask())
    assert pipe.decode(generation).shape == (9, 32, 48, 3)
    with pytest.raises(CheckpointError, match="'tiny/other' is neither a folder nor a hub id"):
        check_present("tiny/other")


class PlainGrid(FlowMatchEulerDiscreteScheduler):
    """The peer's own default grid puts its last noise level through the shift twice; this one shifts once."""

    def set_timesteps(self, num_inference_steps: int, device: str | None = None) -> None:
        levels = torch.linspace(1, 0, num_inference_steps + 1)[:-1]
        super().set_timesteps(sigmas=levels.tolist(), device=device)


def frames_of_peer(kind: Any, folder: Path, request: Request, **pictures: PIL.Image.Image) -> np.ndarray:
    """What diffusers makes of the request from the same noise, in [0, 1]."""
    parts = {
        "tokenizer": AutoTokenizer,
        "text_encoder": UMT5EncoderModel,
        "transformer": WanTransformer3DModel,
        "vae": AutoencoderKLWan,
        "image_encoder": CLIPVisionModel,
        "image_processor": CLIPImageProcessorPil,
    }
    loaded = {name: part.from_pretrained(folder / name) for name, part in parts.items() if (folder / name).is_dir()}
    token_times = json.loads((folder / "model_index.json").read_text())["expand_timesteps"]
    peer = kind(**loaded, scheduler=PlainGrid(shift=5.0), expand_timesteps=token_times)
    peer.set_progress_bar_config(disable=True)
    frames: np.ndarray = peer(
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        height=request.height,
        width=request.width,
        num_frames=request.num_frames,
        num_inference_steps=request.num_inference_steps,
        guidance_scale=request.guidance_scale,
        latents=flow.noise(request.seed, (CHANNELS, 3, 4, 6))[None],
        output_type="np",
        **pictures,
    ).frames[0]
    return frames


@pytest.mark.parametrize("with_image", [False, True], ids=["text", "text and image"])
def test_videos_equal_the_open_pipelines(published: Callable[..., Path], with_image: bool) -> None:
    """From the same prompt, noise and Euler steps, guided: diffusers' own pipelines give the same frames."""
    folder = published()
    image = np.random.default_rng(0).integers(0, 255, (32, 48, 3), np.uint8) if with_image else None
    canvas = None if image is None else first_frame(image, 9)
    request = ask(negative_prompt="blue square", guidance_scale=3.0, canvas=canvas)
    pipe = Pipeline.load(str(folder), "cpu")
    pipe.sampling = dataclasses.replace(pipe.sampling, solver="euler")
    ours = pipe.decode(finish(pipe, request)[0]).astype(np.float64) / 255
    kind = WanImageToVideoPipeline if with_image else WanPipeline
    theirs = frames_of_peer(kind, folder, request, **({"image": PIL.Image.fromarray(image)} if with_image else {}))
    assert ours.std() > 0.01
    assert np.abs(ours - theirs).max() < 1.01 / 255


@pytest.mark.parametrize("places", [(0,), (0, 8)], ids=["first frame", "first and last frame"])
def test_frames_beside_the_noise_equal_the_open_pipeline(
    published: Callable[..., Path], places: tuple[int, ...]
) -> None:
    """Wan 2.1's image to video: mask channels, latents of the stills and image tokens, from the one canvas."""
    folder = published(num_shown=len(places))
    stills = np.random.default_rng(0).integers(0, 255, (len(places), 32, 48, 3), np.uint8)
    pipe = Pipeline.load(str(folder), "cpu")
    pipe.sampling = dataclasses.replace(pipe.sampling, solver="euler")
    plan = plan_windows(Keyframes(places, PixelShape(9, 32, 48)), [PixelShape(1, 32, 48)] * len(places), pipe.room)
    canvas = make_canvas(plan, 0, [still[None] for still in stills], [])
    request = ask(negative_prompt="blue square", guidance_scale=3.0, canvas=canvas)
    ours = pipe.decode(finish(pipe, request)[0]).astype(np.float64) / 255
    pictures = dict(zip(("image", "last_image"), map(PIL.Image.fromarray, stills), strict=False))
    theirs = frames_of_peer(WanImageToVideoPipeline, folder, request, **pictures)
    assert ours.std() > 0.01
    assert np.abs(ours - theirs).max() < 1.01 / 255


def test_a_model_that_is_shown_frames_needs_them_and_can_be_edited_with(published: Callable[..., Path]) -> None:
    pipe = Pipeline.load(str(published(num_shown=1)), "cpu")
    assert supported(pipe.room.given) == ("first_frame", "extend_forward", "interpolate", "restyle")
    source = np.random.default_rng(0).integers(0, 255, (5, 32, 48, 3), np.uint8)
    steps: dict[str, Any] = {"num_inference_steps": 2, "guidance_scale": 1.0}
    for asked, kept in ((Extend(8), np.s_[:5]), (Interpolate(2), np.s_[::2])):
        film = edit(pipe, asked, [source], PROMPT, **steps)
        np.testing.assert_array_equal(film[kept], source)
    for refused in (ask(), ask(canvas=Canvas(source[:1].repeat(9, 0), *np.zeros((2, 9, 32, 48), bool), strength=0.5))):
        with pytest.raises(InputError, match="from words alone: give the first frame"):
            pipe.start(refused)


@pytest.mark.slow
def test_models_are_loaded_from_a_bucket(run: Path, published: Callable[..., Path], s3: str) -> None:
    for name, folder in (("balls", run), ("wan", published())):
        storage.upload_folder(folder, storage.join(s3, name))
        pipe = Pipeline.load(storage.join(s3, name), "cpu")
        assert pipe.name == name
        assert pipe.decode(finish(pipe, ask(num_inference_steps=1))[0]).shape == (9, 32, 48, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"_class_name": "FluxPipeline"}, "a 'FluxPipeline'; only WanPipeline"),
        ({"boundary_ratio": 0.9}, "models of two transformers are not served"),
    ],
)
def test_folders_that_cannot_be_served_are_refused(
    published: Callable[..., Path], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        Pipeline.load(str(published(**changes)), "cpu")


def test_a_model_that_learned_no_given_frames_refuses_an_image(published: Callable[..., Path]) -> None:
    pipe = Pipeline.load(str(published(expand_timesteps=False)), "cpu")
    assert pipe.fps == 16.0
    with pytest.raises(InputError, match="has not learned to keep what is given"):
        pipe.start(ask(canvas=first_frame(np.zeros((32, 48, 3), np.uint8), 9)))


@pytest.mark.parametrize(("given", "can"), [((), False), (("last_frame",), False), (("prefix",), True)])
def test_a_checkpoint_starts_from_an_image_if_it_has_learned_to(
    run: Path, tmp_path: Path, given: tuple[str, ...], can: bool
) -> None:
    weights, meta = checkpoint.load_model(str(run))
    checkpoint.save_model(checkpoint.step_uri(str(tmp_path), 7), weights, dataclasses.replace(meta, given=given))
    assert ("first_frame" in supported(load_checkpoint(str(tmp_path), "cpu").given)) is can


def test_a_model_that_learned_no_references_refuses_them(run: Path, tmp_path: Path) -> None:
    weights, meta = checkpoint.load_model(str(run))
    given = tuple(KINDS)
    checkpoint.save_model(checkpoint.step_uri(str(tmp_path), 7), weights, dataclasses.replace(meta, given=given))
    pipe = Pipeline.load(str(tmp_path), "cpu")
    assert "character" not in supported(pipe.room.given)
    with pytest.raises(InputError, match="not trained with reference clips"):
        pipe.start(ask(references=(SUBJECT,)))


def test_a_resumed_generation_ends_as_the_uninterrupted_one(pipe: Pipeline) -> None:
    request = ask(num_inference_steps=5)
    (whole,) = finish(pipe, request)
    begun = pipe.start(request)
    for _ in range(2):
        pipe.step([begun])
    state = begun.state()
    pipe.step([begun])  # a state is a copy
    resumed = pipe.resume(request, state)
    assert resumed.step == 2
    while not resumed.done:
        pipe.step([resumed])
    assert torch.equal(resumed.latent, whole.latent)


def test_a_frame_decoder_alone_gives_the_frames_of_the_pipeline(run: Path, pipe: Pipeline) -> None:
    (generation,) = finish(pipe, ask())
    frames = FrameDecoder.load(str(run), "cpu")
    assert frames.name == pipe.name
    np.testing.assert_array_equal(np.concatenate(list(frames.stream(generation.latent))), pipe.decode(generation))
