"""Hours of cores and GPUs by arithmetic: every product says which rates went into it."""

from collections.abc import Iterator
from dataclasses import dataclass

from jobs.plan.rates import COMPRESSION, MODELS, Rates
from sora_core.dit.cost import flops
from sora_core.errors import ConfigError

_PASSES = 3  # forward, and twice as much backward
_TEXT_TOKENS = 512
_BRANCHES = 2  # with the prompt and without


@dataclass(frozen=True, slots=True)
class Ask:
    """What is to be made, and on what; prices are of an hour."""

    footage: float
    model: str
    steps: int
    pack_tokens: int
    size: tuple[int, int]
    frames: int
    fps: float
    videos: int
    sampling_steps: int
    gpu: str
    gpus: int
    cores: int
    gpu_price: float | None
    core_price: float

    def __post_init__(self) -> None:
        for name in ("pack_tokens", "frames", "fps", "sampling_steps", "gpus", "cores"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"--{name.replace('_', '-')} {getattr(self, name)}: write a number above 0")
        for name in ("footage", "steps", "videos"):
            if getattr(self, name) < 0:
                raise ConfigError(f"--{name} {getattr(self, name)}: write 0 or more")
        if self.video_tokens > self.pack_tokens and self.steps:
            raise ConfigError(f"--pack-tokens {self.pack_tokens}: one video has {self.video_tokens} tokens already")

    @property
    def video_tokens(self) -> int:
        """Of one video of this size."""
        patch = MODELS[self.model].patch
        frames = 1 + (self.frames - 1) // COMPRESSION.time
        height, width = (side // COMPRESSION.space for side in self.size)
        return frames // patch.time * (height // patch.height) * (width // patch.width)


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that is paid for: hours of cores or GPUs, the days that takes, and the names of the rates behind it."""

    what: str
    hours: float
    unit: str
    days: float
    money: float | None
    rates: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Estimate:
    """The lines, what they count with, and what else there is to know."""

    ask: Ask
    rates: Rates
    lines: tuple[Line, ...]
    notes: tuple[str, ...]


def estimate(ask: Ask, rates: Rates) -> Estimate:
    """All of it. ConfigError for a device without a peak."""
    peak = rates.peak(ask.gpu)
    lines = [*_curation(ask, rates, peak), *_training(ask, rates, peak), *_videos(ask, rates, peak)]
    kept_s = 3600 * ask.footage * rates["kept_share"]
    height, width = (side // COMPRESSION.space for side in ask.size)
    latent_bytes = kept_s * ask.fps / COMPRESSION.time * height * width * MODELS[ask.model].in_channels * 2
    notes = [f"latents: {latent_bytes / 1e12:,.2f} TB in 16 bits"] if ask.footage else []
    if ask.steps:
        tokens = ask.steps * ask.pack_tokens * ask.gpus
        notes.append(
            f"training sees {tokens / 1e9:,.1f} G tokens: {tokens / ask.video_tokens / 1e6:,.1f} M clips of this size"
        )
    return Estimate(ask, rates, tuple(lines), tuple(notes))


def _curation(ask: Ask, rates: Rates, peak: float) -> Iterator[Line]:
    if not ask.footage:
        return
    hours = ask.footage * rates["examine_core_s"] / 3600
    money = None if ask.gpu_price is None else hours * ask.core_price
    yield Line("examine", hours, "core", hours / ask.cores / 24, money, ("examine_core_s",))
    pixels = ask.footage * rates["kept_share"] * 3600 * ask.fps * ask.size[0] * ask.size[1]
    seconds = pixels * rates["encode_flops_per_pixel"] / (peak * rates["convolution_mfu"])
    yield _on_gpus("encode", seconds, ask, ("kept_share", "encode_flops_per_pixel", "convolution_mfu"))


def _training(ask: Ask, rates: Rates, peak: float) -> Iterator[Line]:
    if not ask.steps:
        return
    clips = ask.pack_tokens // ask.video_tokens
    work = _PASSES * flops(MODELS[ask.model], [ask.video_tokens] * clips, [_TEXT_TOKENS] * clips)
    seconds = ask.steps * ask.gpus * work / (peak * rates["training_mfu"]) / rates["goodput"]
    yield _on_gpus("train", seconds, ask, ("training_mfu", "goodput"))


def _videos(ask: Ask, rates: Rates, peak: float) -> Iterator[Line]:
    if not ask.videos:
        return
    denoise = ask.sampling_steps * _BRANCHES * flops(MODELS[ask.model], [ask.video_tokens], [_TEXT_TOKENS])
    decode = ask.frames * ask.size[0] * ask.size[1] * rates["decode_flops_per_pixel"]
    seconds = denoise / (peak * rates["sampling_mfu"]) + decode / (peak * rates["convolution_mfu"])
    used = ("sampling_mfu", "decode_flops_per_pixel", "convolution_mfu")
    yield _on_gpus(f"{ask.videos} videos", ask.videos * seconds, ask, used)


def _on_gpus(what: str, seconds: float, ask: Ask, rates: tuple[str, ...]) -> Line:
    hours = seconds / 3600
    money = None if ask.gpu_price is None else hours * ask.gpu_price
    return Line(what, hours, "GPU", hours / ask.gpus / 24, money, rates)
