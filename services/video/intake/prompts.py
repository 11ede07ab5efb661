"""Short prompts written out by a language model, where the operator has named one."""

from services.video.config import ApiSettings, PromptEndpoint
from services.video.errors import refused, unavailable
from sora_core.captioner import Captioner, NoCaption

_RETRY_S = 5


class Prompts:
    """Writes prompts out; safe to use from several threads."""

    def __init__(self, limits: ApiSettings) -> None:
        self._writer = _writer(limits.prompt_endpoint) if limits.prompt_endpoint else None

    def revised(self, prompt: str, enhance: bool) -> str | None:
        """The prompt in the style of the captions that the model was trained on; None where nobody asks for it.
        ApiError 400 where it isn't offered, 503 while the endpoint is away or talks nonsense."""
        if not enhance:
            return None
        if self._writer is None:
            raise refused("enhance_prompt", "no language model is set up here: leave it out", "unsupported")
        try:
            return self._writer.expand(prompt).long
        except NoCaption as error:
            message = f"the prompt can't be written out now ({error}): try again, or leave enhance_prompt out"
            raise unavailable(message, retry_after_s=_RETRY_S) from error


def _writer(endpoint: PromptEndpoint) -> Captioner:
    return Captioner(
        endpoint.url, endpoint.model, api_key_env=endpoint.api_key_env, timeout_s=endpoint.timeout_s,
        max_retries=endpoint.max_retries,
    )  # fmt: skip
