"""Sampling and decoding on a device that the host must not wait for."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from sora_core.diffusion.flow import ShiftLaw
from sora_core.edits import first_frame
from sora_core.pipeline import Pipeline, Request
from sora_core.pipeline.parts import Parts, Sampling
from sora_core.text import TextEncoder
from sora_core.training.masks import KINDS
from sora_core.vae import VideoAutoencoder
from sora_core.vae.folder import new_model
from sora_core.vae.whitening import Whitening
from tests.pretend import Pretend
from tests.sora_core.wan_folder import CHANNELS, VAE, random_dit

FRAMES, HEIGHT, WIDTH = 9, 32, 32


@pytest.fixture(scope="module")
def text_encoder() -> TextEncoder:
    return TextEncoder.load()


def pipeline(text_encoder: TextEncoder, device: torch.device | None = None) -> Pipeline:
    torch.manual_seed(0)
    model = new_model(**VAE).eval().requires_grad_(False)
    dit = random_dit(text_dim=text_encoder.dim, pooled_text=True)
    if device is not None:
        model, dit = torch.nn.Module.to(model, device), dit.to(device)
    whitening = Whitening((0.1,) * CHANNELS, (0.5,) * CHANNELS, (0.0,) * CHANNELS, (0.6,) * CHANNELS)
    parts = Parts(
        "tiny", dit, VideoAutoencoder(model, source="tiny", fingerprint="0"), text_encoder, whitening,
        Sampling(ShiftLaw(3.0), 2.0), 12.0, 256, frozenset({*KINDS, "reference"}),
    )  # fmt: skip
    return Pipeline(parts, "cpu" if device is None else str(device))


def requests() -> list[Request]:
    """Text alone, a first frame whose tokens are recalled, a reference, a feature cache: of mixed sizes."""
    picture = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    plain = Request(prompt="a red ball", num_frames=FRAMES, height=HEIGHT, width=WIDTH, num_inference_steps=3)
    return [
        plain,
        replace(plain, num_frames=5, width=48, guidance_scale=1.0, seed=3),
        replace(plain, canvas=first_frame(picture, FRAMES), refresh_given_every=2),
        replace(plain, num_frames=5, references=(picture[None],), guidance_scale=1.0),
    ]


def sample(
    subject: Pipeline, asked: list[Request], after_step: Callable[[], None] = lambda: None
) -> list[torch.Tensor]:
    running = [subject.start(request) for request in asked]
    while not running[0].done:
        after_step()
        subject.step(running)
    return [one.latent for one in running]


def test_a_mixed_pack_is_sampled_without_a_wait_to_what_the_cpu_makes_of_it(text_encoder: TextEncoder) -> None:
    wanted = sample(pipeline(text_encoder), requests())
    with Pretend() as host:
        subject = pipeline(text_encoder, host.device)
        seen: list[list[str]] = []

        def begin() -> None:
            seen.append([*host.waits, *host.reads])
            host.forget()

        found = sample(subject, requests(), begin)
        begin()
        assert seen[1:] == [[], [], []]
        torch.testing.assert_close([latent.cpu() for latent in found], wanted)


def test_a_feature_cache_asks_the_device_once_a_step(text_encoder: TextEncoder) -> None:
    asked = [replace(requests()[0], cache_threshold=0.5), replace(requests()[1], cache_threshold=1e-9)]
    with Pretend() as host:
        subject = pipeline(text_encoder, host.device)
        seen: list[int] = []

        def begin() -> None:
            seen.append(len(host.waits))
            host.forget()

        sample(subject, asked, begin)
        begin()
        assert max(seen[1:]) <= 1


def test_frames_are_read_once_a_latent_frame_and_equal_those_of_the_cpu(text_encoder: TextEncoder) -> None:
    latent = torch.randn(CHANNELS, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    wanted = np.concatenate(list(pipeline(text_encoder).frames.stream(latent)))
    with Pretend() as host:
        subject = pipeline(text_encoder, host.device)
        there = latent.to(host.device)
        host.forget()
        frames = list(subject.frames.stream(there))
        assert len(host.waits) <= len(frames) == 3, host.waits
        assert np.abs(np.concatenate(frames).astype(int) - wanted.astype(int)).max() <= 1


def test_a_clip_is_encoded_without_a_wait(text_encoder: TextEncoder) -> None:
    video = torch.rand(1, 3, FRAMES, HEIGHT, WIDTH) * 2 - 1
    wanted = pipeline(text_encoder).vae.encode(video).mean
    with Pretend() as host:
        subject = pipeline(text_encoder, host.device)
        there = video.to(host.device)
        host.forget()
        found = subject.vae.encode(there).mean
        assert host.waits == []
        torch.testing.assert_close(found.cpu(), wanted, rtol=1e-4, atol=1e-4)
