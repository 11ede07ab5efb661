"""Judges behind an endpoint: any OpenAI-compatible ``/v1/moderations``, and guard models that chat, such as Llama
Guard."""

import base64
import io
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
from PIL import Image

from sora_core.safety.gate.verdict import Finding, JudgeAway, Opinion, Picture, Shown

_SHOWN = 8  # pictures of a request
_LONGEST_SIDE = 512
# Llama Guard's hazards in OpenAI's names; what it has no name for is illicit.
_HAZARDS = {
    "S1": "violence", "S2": "illicit", "S3": "sexual", "S4": "sexual/minors", "S5": "harassment",
    "S9": "illicit/violent", "S10": "hate", "S11": "self-harm", "S12": "sexual",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a judge is asked; the key is read from the variable ``api_key_env``."""

    url: str
    model: str | None
    api_key_env: str
    timeout_s: float
    client: httpx.Client = field(default_factory=lambda: httpx.Client(follow_redirects=False))

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """The answer's JSON. JudgeAway for any other answer and for none."""
        key = os.environ.get(self.api_key_env)
        headers = {"authorization": f"Bearer {key}"} if key else {}
        try:
            answer = self.client.post(f"{self.url}{path}", json=body, headers=headers, timeout=self.timeout_s)
            answer.raise_for_status()
            return answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise JudgeAway(f"the moderation endpoint {self.url} doesn't answer: {type(error).__name__}") from error


@dataclass(frozen=True, slots=True)
class ModerationsJudge:
    """An OpenAI-compatible ``/v1/moderations``."""

    endpoint: Endpoint

    def judge(self, shown: Shown) -> Opinion:
        model = {"model": self.endpoint.model} if self.endpoint.model else {}
        answer = self.endpoint.post("/moderations", model | {"input": _content(shown)})
        try:
            found = [finding for result in answer["results"] for finding in self._findings(result)]
        except (KeyError, TypeError, ValueError) as error:
            raise JudgeAway(f"the answer of {self.endpoint.url} is no moderation") from error
        return Opinion(tuple(found))

    def _findings(self, result: Mapping[str, Any]) -> list[Finding]:
        named = [name for name, found in result["categories"].items() if found]
        rule, scores = f"endpoint.{self.endpoint.model or 'moderations'}", result.get("category_scores", {})
        if result["flagged"] and not named:
            named = ["illicit"]
        return [Finding(name, float(scores.get(name, 1.0)), rule) for name in named] if result["flagged"] else []


@dataclass(frozen=True, slots=True)
class GuardJudge:
    """A guard model behind ``/v1/chat/completions``: ``safe``, or ``unsafe`` and the hazards' numbers below."""

    endpoint: Endpoint

    def judge(self, shown: Shown) -> Opinion:
        messages = [{"role": "user", "content": _content(shown)}]
        answer = self.endpoint.post(
            "/chat/completions", {"model": self.endpoint.model, "temperature": 0, "messages": messages}
        )
        try:
            said: str = answer["choices"][0]["message"]["content"].strip()
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            raise JudgeAway(f"the answer of {self.endpoint.url} is no completion") from error
        first, _, rest = said.partition("\n")
        if first.strip().lower() == "safe":
            return Opinion()
        if first.strip().lower() != "unsafe":
            raise JudgeAway(f"{self.endpoint.url} says neither safe nor unsafe: {said[:80]!r}")
        hazards = re.findall(r"S\d+", rest) or ["S2"]
        rule = f"endpoint.{self.endpoint.model}"
        return Opinion(tuple(Finding(_HAZARDS.get(one, "illicit"), 1.0, f"{rule}.{one}") for one in hazards))


def _content(shown: Shown) -> str | list[dict[str, Any]]:
    """A text alone, or with some of the pictures, spread over all of them."""
    text, images = shown.text, shown.images
    if not len(images):
        return text or ""
    said: list[dict[str, Any]] = [{"type": "text", "text": text}] if text else []
    step = -(-len(images) // _SHOWN)
    return said + [{"type": "image_url", "image_url": {"url": _data_url(image)}} for image in list(images)[::step]]


def _data_url(image: Picture) -> str:
    shown = Image.fromarray(image)
    shown.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
    stream = io.BytesIO()
    shown.save(stream, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"
