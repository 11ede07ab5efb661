"""Whether a model can read a prompt, and prompts written out by a language model where the operator has named one."""

from dataclasses import dataclass

from services.video.config import ApiSettings, PromptEndpoint
from services.video.errors import ApiError, refused, unavailable
from services.video.schemas import ModelCard, Wish
from sora_core import vocabulary
from sora_core.captioner import AS_ASKED, Captioner, NoCaption

_RETRY_S = 5
_MOST_UNREAD = 0.5
"""Of a prompt's pieces: a foreign name or a sign is no other language."""


@dataclass(frozen=True, slots=True)
class Words:
    """What the model will read: the prompt or what it was ``revised`` to; the beginning of it if ``truncated``."""

    revised: str | None
    truncated: bool


class Prompts:
    """Writes prompts out; safe to use from several threads."""

    def __init__(self, limits: ApiSettings) -> None:
        self._writer = _writer(limits.prompt_endpoint) if limits.prompt_endpoint else None

    def read(self, request: Wish, card: ModelCard) -> Words:
        """The words of a request as its model reads them.

        A prompt in a language that the model's text encoder doesn't know is written anew by the language model, as is
        one whose sender asks for it. ApiError 400 where there is none, 503 while it is away or talks nonsense.
        """
        known = vocabulary.find(card.text_encoder) if card.text_encoder else None
        foreign = _is_foreign(known, request.prompt)
        if _is_foreign(known, request.negative_prompt or ""):
            raise _foreign("negative_prompt", card)
        if foreign and self._writer is None:
            raise _foreign("prompt", card)
        revised = None
        if foreign or request.enhance_prompt:
            revised = self._written(request.prompt, "English" if foreign else AS_ASKED)
        if known is None or card.max_prompt_tokens is None:
            return Words(revised, truncated=False)
        return Words(revised, known.read(revised or request.prompt).num_tokens > card.max_prompt_tokens)

    def _written(self, prompt: str, language: str) -> str:
        if self._writer is None:
            raise refused("enhance_prompt", "no language model is set up here: leave it out", "unsupported")
        try:
            return self._writer.expand(prompt, language).long
        except NoCaption as error:
            message = f"the prompt can't be written out now ({error}): try again, or leave enhance_prompt out"
            raise unavailable(message, retry_after_s=_RETRY_S) from error


def _is_foreign(known: vocabulary.Vocabulary | None, text: str) -> bool:
    return known is not None and known.reads_english and known.read(text).unread > _MOST_UNREAD


def _foreign(field: str, card: ModelCard) -> ApiError:
    message = (
        f"model {card.id!r} doesn't know the language of this text: write it in English, or have the operator name a "
        "language model (api.prompt_endpoint) that translates prompts"
    )
    return refused(field, message, "unsupported_language")


def _writer(endpoint: PromptEndpoint) -> Captioner:
    return Captioner(
        endpoint.url, endpoint.model, api_key_env=endpoint.api_key_env, timeout_s=endpoint.timeout_s,
        max_retries=endpoint.max_retries,
    )  # fmt: skip
