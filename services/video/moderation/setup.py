"""The gate that the config describes."""

from functools import lru_cache
from typing import Any

from services.video.config import ModerationEndpoint, ModerationSettings
from sora_core import installed, storage
from sora_core.errors import ConfigError, StorageError
from sora_core.safety.gate.endpoints import Endpoint, GuardJudge, ModerationsJudge
from sora_core.safety.gate.gate import Gate
from sora_core.safety.gate.pictures import PictureJudge, open_network
from sora_core.safety.gate.verdict import Judge
from sora_core.safety.gate.words import TextJudge


def text_judge(settings: ModerationSettings) -> TextJudge:
    """The local judge of texts."""
    return TextJudge(settings.text_threshold, settings.text_margin, settings.text_sense)


def picture_judge(settings: ModerationSettings) -> PictureJudge | None:
    """The local judge of pictures, where there is one."""
    if not settings.image_model:
        return None
    return PictureJudge(_network(settings.image_model), settings.image_threshold, settings.image_margin)


@lru_cache(maxsize=2)
def _network(uri: str) -> Any:
    """The network at a URI, or in an installed package, kept for this process. ConfigError when there is none."""
    try:
        file = installed.find(uri)
        return open_network(file.read_bytes() if file else storage.read_bytes(uri))
    except (StorageError, OSError, ConfigError) as error:
        message = f"moderation.image_model = {uri!r} can't be used ({error}): correct it, or leave it empty"
        raise ConfigError(message) from error


def gate_of(settings: ModerationSettings, *, reads: bool) -> Gate:
    """The gate; ConfigError where what it needs isn't there. ``reads``: whether it will be shown texts."""
    words = text_judge(settings) if settings.text and reads else None
    if words is not None:
        words.warm()
    local: list[Judge] = [judge for judge in (words, picture_judge(settings)) if judge is not None]
    always = [_endpoint(one) for one in settings.endpoints if one.asked == "always"]
    second = [_endpoint(one) for one in settings.endpoints if one.asked == "unsure"]
    return Gate(
        (*local, *always),
        tuple(second),
        refuse_unsure=settings.when_unsure == "refuse",
        open_when_away=settings.when_away == "open",
    )


def _endpoint(settings: ModerationEndpoint) -> Judge:
    endpoint = Endpoint(settings.url, settings.model, settings.api_key_env, settings.timeout_s)
    return GuardJudge(endpoint) if settings.kind == "guard" else ModerationsJudge(endpoint)
