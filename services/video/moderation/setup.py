"""The gate that the config describes."""

from services.video.config import ModerationEndpoint, ModerationSettings
from sora_core.safety.gate.endpoints import Endpoint, GuardJudge, ModerationsJudge
from sora_core.safety.gate.gate import Gate
from sora_core.safety.gate.pictures import PictureJudge
from sora_core.safety.gate.verdict import Judge
from sora_core.safety.gate.words import TextJudge


def text_judge(settings: ModerationSettings) -> TextJudge:
    """The local judge of texts."""
    return TextJudge(settings.text_threshold, settings.text_margin)


def picture_judge(settings: ModerationSettings) -> PictureJudge | None:
    """The local judge of pictures, where there is one."""
    if not settings.image_model:
        return None
    return PictureJudge(settings.image_model, settings.image_threshold, settings.image_margin)


def gate_of(settings: ModerationSettings, *, reads: bool) -> Gate:
    """The gate; ConfigError where what it needs isn't there. ``reads``: whether it will be shown texts."""
    local: list[TextJudge | PictureJudge] = [text_judge(settings)] if settings.text and reads else []
    pictures = picture_judge(settings)
    if pictures is not None:
        local.append(pictures)
    for judge in local:
        judge.warm()
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
