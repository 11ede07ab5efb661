"""Verdicts from scores: pure, so that thresholds can change without looking at a pixel again."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from jobs.curate.config import CurateConfig, Thresholds
from jobs.curate.measure.describe import CAPTIONER
from jobs.curate.rows import TABLE, Clip, Examined, Scores, Source, Words
from jobs.curate.words.gate import REFUSED, is_refused

# Reasons, each with the threshold whose name says the score and the way: ``min_luma`` drops what has less luma. In the
# order of judgement: exposure first, since a black picture is also flat, blurred and still.
RULES: Mapping[str, str] = {
    "too_dark": "min_luma",
    "too_bright": "max_luma",
    "flat": "min_contrast",
    "blurred": "min_sharpness",
    "frozen": "max_frozen",
    "too_still": "min_motion",
    "too_fast": "max_motion",
    "shaky": "max_shake",
    "blocky": "max_blockiness",
    "coarsely_coded": "max_quantiser",
    "duplicated_frames": "max_duplicated",
    "text": "max_text",
    "indecent": "max_indecency",
    "unaesthetic": "min_aesthetic",
    "watermarked": "max_watermark",
}


FORGOTTEN = "forgotten"
"""The reason of what was taken out for good, and what such a clip is said to be a copy of."""


def judged(row: Examined, config: CurateConfig) -> Examined:
    """A source with the words and the verdict of each clip; whatever was said of a clip before is forgotten."""
    clips = (replace(clip, same_as=row.source.copies.get(clip.clip_id)) for clip in row.clips)
    return replace(row, clips=[_judged(_captioned(clip, row.source, config), config) for clip in clips])


def _captioned(clip: Clip, source: Source, config: CurateConfig) -> Clip:
    """People's words go before the describer's, and those of the clip's time before those of its file."""
    words = words_on(clip, source.said)
    if words:
        return replace(clip, caption=words, captioner=TABLE)
    if source.caption or config.captioner == "none":
        return replace(clip, caption=source.caption, captioner=source.captioner)
    if config.caption_endpoint is None:
        return replace(clip, caption=clip.description, captioner=CAPTIONER)
    # What the model said before still holds; else the clip waits for its words.
    said = clip.caption if clip.captioner == config.caption_endpoint.name else None
    return replace(clip, caption=said, captioner=config.caption_endpoint.name)


def words_on(clip: Clip, said: Sequence[Words]) -> str | None:
    """What was said of a clip's time: of each span that covers half of it, or half of which it covers."""
    texts: dict[str, None] = {}
    for words in said:
        shared_s = min(words.end_s, clip.end_s) - max(words.start_s, clip.start_s)
        if shared_s >= max(0.0, min(words.end_s - words.start_s, clip.end_s - clip.start_s) / 2):
            texts[words.text] = None
    return " ".join(texts) or None


def _judged(clip: Clip, config: CurateConfig) -> Clip:
    reason = (
        reason_measured(clip, config)
        or (None if not clip.same_as else FORGOTTEN if clip.same_as == FORGOTTEN else "near_duplicate")
        or (None if clip.caption or config.caption_endpoint else "no_caption")
        or (REFUSED if config.gate and clip.caption and is_refused(clip.caption) else None)
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
    return next((reason for reason, limit in RULES.items() if _breaks(limit, scores, thresholds)), None)


def _breaks(limit: str, scores: Scores, thresholds: Thresholds) -> bool:
    side, name = limit.split("_", 1)
    score, threshold = getattr(scores, name), getattr(thresholds, limit)
    if score is None or threshold is None:
        return False
    return bool(score < threshold if side == "min" else score > threshold)
