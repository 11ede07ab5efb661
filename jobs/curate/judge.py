"""Verdicts from scores: pure, so that thresholds can change without looking at a pixel again."""

from collections.abc import Callable
from dataclasses import replace

from jobs.curate.config import CurateConfig, Thresholds
from jobs.curate.describe import CAPTIONER
from jobs.curate.rows import Clip, Examined, Scores, Source

Rule = Callable[[Scores, Thresholds], bool]


def _below(score: float | None, least: float | None) -> bool:
    return score is not None and least is not None and score < least


def _above(score: float | None, most: float | None) -> bool:
    return score is not None and most is not None and score > most


# In the order of judgement: exposure first, since a black picture is also flat, blurred and still.
RULES: tuple[tuple[str, Rule], ...] = (
    ("too_dark", lambda scores, limits: _below(scores.luma, limits.min_luma)),
    ("too_bright", lambda scores, limits: _above(scores.luma, limits.max_luma)),
    ("flat", lambda scores, limits: _below(scores.contrast, limits.min_contrast)),
    ("blurred", lambda scores, limits: _below(scores.sharpness, limits.min_sharpness)),
    ("frozen", lambda scores, limits: _above(scores.frozen, limits.max_frozen)),
    ("too_still", lambda scores, limits: _below(scores.motion, limits.min_motion)),
    ("too_fast", lambda scores, limits: _above(scores.motion, limits.max_motion)),
    ("shaky", lambda scores, limits: _above(scores.shake, limits.max_shake)),
    ("blocky", lambda scores, limits: _above(scores.blockiness, limits.max_blockiness)),
    ("duplicated_frames", lambda scores, limits: _above(scores.duplicated, limits.max_duplicated)),
    ("text", lambda scores, limits: _above(scores.text, limits.max_text)),
    ("indecent", lambda scores, limits: _above(scores.indecency, limits.max_indecency)),
    ("unaesthetic", lambda scores, limits: _below(scores.aesthetic, limits.min_aesthetic)),
    ("watermarked", lambda scores, limits: _above(scores.watermark, limits.max_watermark)),
)


def judged(row: Examined, config: CurateConfig) -> Examined:
    """A source with the words and the verdict of each clip; whatever was said of a clip before is forgotten."""
    clips = (replace(clip, same_as=row.source.copies.get(clip.clip_id)) for clip in row.clips)
    return replace(row, clips=[_judged(_captioned(clip, row.source, config), config) for clip in clips])


def _captioned(clip: Clip, source: Source, config: CurateConfig) -> Clip:
    """People's words go before the describer's."""
    if source.caption or config.captioner == "none":
        return replace(clip, caption=source.caption, captioner=source.captioner)
    if config.caption_endpoint is None:
        return replace(clip, caption=clip.description, captioner=CAPTIONER)
    # What the model said before still holds; else the clip waits for its words.
    said = clip.caption if clip.captioner == config.caption_endpoint.name else None
    return replace(clip, caption=said, captioner=config.caption_endpoint.name)


def _judged(clip: Clip, config: CurateConfig) -> Clip:
    reason = (
        reason_measured(clip, config)
        or ("near_duplicate" if clip.same_as else None)
        or (None if clip.caption or config.caption_endpoint else "no_caption")
    )
    return replace(clip, status="dropped" if reason else "kept", reason=reason)


def reason_measured(clip: Clip, config: CurateConfig) -> str | None:
    """The first reason to drop a clip that lies in itself; None where it passes."""
    # A photograph, and a video of one frame, take no time; any other clip has to last.
    is_short = clip.frames < config.min_frames and clip.end_s > clip.start_s
    return (
        ("too_small" if not clip.height else None)
        or ("too_short" if is_short else None)
        or judge(clip.scores, config.thresholds)
    )


def judge(scores: Scores, thresholds: Thresholds) -> str | None:
    """The first reason to drop a clip; None keeps it. An unknown score is no reason."""
    return next((reason for reason, applies in RULES if applies(scores, thresholds)), None)
