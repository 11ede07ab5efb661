"""Words by a model behind any OpenAI-compatible endpoint, in one style: captions of frames, short prompts made long.

A model that was trained on long captions wants prompts like them.
"""

import base64
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from sora_core.errors import AccessDenied, ConfigError, SoraError

_MOST_CHARACTERS = 4000
_MOST_TOKENS = 600
# A list of models takes no thought.
_CHECK_S = 10.0
STYLE = """\
Describe what a viewer sees: subjects and what they do, setting, light, colours, style, and how the camera moves. Plain
sentences, nothing that isn't visible, no words like "frame" or "image".
Answer with JSON: {"long": "three to five sentences", "short": "one sentence of at most fifteen words"}."""
INSTRUCTION = f"These are frames of one clip, in order. {STYLE}"
EXPANSION = f"""\
The next message asks for a clip. Imagine it: keep all that is asked for, in %s, and add what is left open. {STYLE}"""
AS_ASKED = "the language of the message"


class NoCaption(SoraError):
    """The endpoint gave no words: it was away, or what it said is none."""


@dataclass(frozen=True, slots=True)
class Words:
    """What a model said, and the tokens that this took."""

    long: str
    short: str
    prompt_tokens: int
    completion_tokens: int


class Captioner:
    """A client of one model; safe to call from many threads.

    The key is ``api_key``, else what the variable ``api_key_env`` holds. A user name and a password in ``base_url`` are
    sent instead of one, and stand in no message.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        api_key_env: str,
        api_key: str | None = None,
        timeout_s: float = 120.0,
        max_retries: int = 4,
    ) -> None:
        import openai

        self.model = model
        self.base_url, user = without_credentials(base_url)
        encoded = base64.b64encode(unquote(user or "").encode()).decode()
        self._timeout_s = timeout_s
        self._errors = openai.OpenAIError
        self._client = openai.OpenAI(
            base_url=self.base_url,
            api_key=api_key or os.environ.get(api_key_env) or "none",
            default_headers={"Authorization": f"Basic {encoded}"} if user else None,
            timeout=timeout_s,
            max_retries=max_retries,
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def check(self) -> None:
        """ConfigError or AccessDenied, with the remedy, unless the endpoint answers and knows the model."""
        import openai

        try:
            asked = self._client.with_options(timeout=min(self._timeout_s, _CHECK_S), max_retries=1)
            known = {model.id for model in asked.models.list()}
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise AccessDenied(
                f"{self.base_url}: the key is refused; put the right one into the environment"
            ) from error
        except self._errors as error:
            raise ConfigError(
                f"{self.base_url}: no answer from the caption endpoint ({type(error).__name__}); start it, correct the "
                'URL, or choose captioner = "describer"'
            ) from error
        if self.model not in known:
            raise ConfigError(
                f"{self.base_url} doesn't serve {self.model!r}; it has {', '.join(sorted(known)[:5]) or 'no model'}"
            )

    def caption(self, frames: Sequence[bytes]) -> Words:
        """The captions of a clip from some of its frames, each a JPEG. NoCaption after the client's own retries."""
        content: list[Any] = [{"type": "text", "text": INSTRUCTION}]
        content += [
            {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64," + base64.b64encode(frame).decode()}}
            for frame in frames
        ]
        return self._ask([{"role": "user", "content": content}])

    def expand(self, prompt: str, language: str = AS_ASKED) -> Words:
        """A prompt as a caption of the clip that it asks for. NoCaption after the client's own retries."""
        return self._ask([{"role": "system", "content": EXPANSION % language}, {"role": "user", "content": prompt}])

    def _ask(self, messages: list[Any]) -> Words:
        try:
            answer = self._client.chat.completions.create(
                model=self.model, messages=messages, temperature=0, max_tokens=_MOST_TOKENS
            )
            said = answer.choices[0].message.content or ""
        except (self._errors, IndexError, TypeError, AttributeError) as error:
            raise NoCaption(f"{self.base_url}: {type(error).__name__}: {error}") from error
        long, short = parse(said)
        usage = answer.usage
        return Words(long, short, usage.prompt_tokens if usage else 0, usage.completion_tokens if usage else 0)


def without_credentials(url: str) -> tuple[str, str | None]:
    """A URL without its user name and password, and these as they stand in it."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=host)), user if at else None


def parse(said: str) -> tuple[str, str]:
    """The long and the short caption in a model's answer: JSON, perhaps fenced. NoCaption for anything else."""
    found = re.search(r"\{.*\}", said, re.DOTALL)
    try:
        values = json.loads(found.group()) if found else None
    except json.JSONDecodeError:
        values = None
    if not isinstance(values, dict):
        raise NoCaption(f"the answer is no JSON with captions: {said[:80]!r}")
    long, short = (" ".join(str(values.get(name) or "").split()) for name in ("long", "short"))
    if not long or len(long) > _MOST_CHARACTERS:
        raise NoCaption(f"the answer holds no caption: {said[:80]!r}")
    return long, short or long.split(". ")[0]
