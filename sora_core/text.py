"""Prompts to the token states that a DiT attends to."""

import hashlib
import html
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import ftfy
import torch
from jaxtyping import Float
from torch import Tensor, nn

from sora_core import storage
from sora_core.errors import CheckpointError
from sora_core.vocabulary import DEFAULT, default_folder

log = logging.getLogger(__name__)

# Root mean square of the default's last states over captions of footage; their mean is 0.001.
_DEFAULT_RMS = 0.458
# The default was tuned on texts of this length; the open T5 encoders of video models on the other.
_DEFAULT_MAX_TOKENS, _T5_MAX_TOKENS = 256, 512
_BATCH = 32


class TextEncoder:
    """A frozen language model and its tokenizer; see `load`."""

    def __init__(
        self, model: nn.Module, tokenizer: Any, source: str, folder: Path, max_tokens: int, scale: float
    ) -> None:
        self.source = source
        self.max_tokens = max_tokens
        self._model = model.eval().requires_grad_(False)
        self._tokenizer = tokenizer
        self._folder = folder
        self._scale = scale
        self._device = next(model.parameters()).device

    @property
    def weights_bytes(self) -> int:
        """What its weights take in memory."""
        return sum(value.numel() * value.element_size() for value in self._model.parameters())

    @classmethod
    def load(cls, source: str = DEFAULT, device: str = "cpu", dtype: torch.dtype = torch.float32) -> "TextEncoder":
        """The encoder called ``source``.

        "default" is the MiniLM that comes with the dependencies and needs no network. Else a transformers folder or
        hub id, or a pipeline folder with ``text_encoder/`` and ``tokenizer/``. CheckpointError when it isn't there or
        isn't an encoder that this code knows.
        """
        if source == DEFAULT:
            folder = default_folder()
            model, tokenizer = _load_pair(folder, folder, source, dtype)
            return cls(model.to(device), tokenizer, source, folder, _DEFAULT_MAX_TOKENS, 1 / _DEFAULT_RMS)
        root = _local_folder(source)
        folder = root / "text_encoder" if (root / "text_encoder").is_dir() else root
        words = root / "tokenizer" if (root / "tokenizer").is_dir() else root
        model, tokenizer = _load_pair(folder, words, source, dtype)
        return cls(model.to(device), tokenizer, source, folder, _T5_MAX_TOKENS, 1.0)

    @property
    def dim(self) -> int:
        """Width of a token state."""
        config: Any = self._model.config
        return int(getattr(config, "d_model", None) or config.hidden_size)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over the weights and the files that decide what they compute; read once, when first asked for."""
        digest = hashlib.sha256()
        for path in sorted([*self._folder.glob("*.safetensors"), self._folder / "config.json"]):
            with path.open("rb") as file:
                digest.update(path.name.encode())
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> list[Float[Tensor, "m d"]]:
        """Token states of each prompt, unpadded, float32 on the CPU; beyond ``max_tokens`` it is cut, with a warning.

        The empty prompt has states too (of its end marks). Texts of one length run together, so no padding exists
        and a prompt's states don't depend on its neighbours.
        """
        tokens = [self._tokenize(prompt) for prompt in prompts]
        by_length: dict[int, list[int]] = {}
        for index, ids in enumerate(tokens):
            by_length.setdefault(len(ids), []).append(index)
        states: dict[int, Tensor] = {}
        for indices in by_length.values():
            for start in range(0, len(indices), _BATCH):
                batch = indices[start : start + _BATCH]
                words = torch.tensor([tokens[index] for index in batch], device=self._device)
                hidden = self._model(input_ids=words, attention_mask=torch.ones_like(words)).last_hidden_state
                states.update(zip(batch, hidden.float().cpu() * self._scale, strict=True))
        return [states[index].clone() for index in range(len(tokens))]

    def _tokenize(self, prompt: str) -> list[int]:
        clean = cleaned(prompt)
        ids: list[int] = self._tokenizer(clean).input_ids
        if len(ids) <= self.max_tokens:
            return ids
        log.warning("a prompt of %d tokens is cut to %d: %.60s...", len(ids), self.max_tokens, clean)
        cut: list[int] = self._tokenizer(clean, truncation=True, max_length=self.max_tokens).input_ids
        return cut


def cleaned(prompt: str) -> str:
    """A prompt as the open pipelines encode it: broken encodings mended, entities read, single spaces."""
    return " ".join(html.unescape(html.unescape(ftfy.fix_text(prompt))).split())


def _local_folder(source: str) -> Path:
    """A folder as it is, a hub id from the hub's cache or the hub."""
    if Path(source).is_dir():
        return Path(source)
    patterns = ["*.json", "*.safetensors", "*.model", "*.txt"]
    wanted = [*patterns, *(f"{part}/{name}" for part in ("text_encoder", "tokenizer") for name in patterns)]
    remedy = "give a folder with config.json, weights and tokenizer"
    return storage.fetch_from_hub(source, wanted, what="text encoder", remedy=remedy)


def _load_pair(folder: Path, words: Path, source: str, dtype: torch.dtype) -> tuple[nn.Module, Any]:
    """Model and tokenizer of a folder, strictly: missing or surplus weights are an error that lists them."""
    import transformers

    what = f"text encoder {source!r}"
    try:
        config = transformers.AutoConfig.from_pretrained(folder)
        tokenizer = transformers.AutoTokenizer.from_pretrained(words, local_files_only=True)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{what} can't be loaded: {error}") from error
    encoders = {"t5": transformers.T5EncoderModel, "umt5": transformers.UMT5EncoderModel}
    return load_strictly(encoders.get(config.model_type, transformers.AutoModel), folder, what, dtype), tokenizer


def load_strictly(kind: Any, folder: Path, what: str, dtype: torch.dtype) -> nn.Module:
    """A model of one of transformers' classes; CheckpointError lists weights that are missing or too many."""
    try:
        with _no_progress_bar():
            model, report = kind.from_pretrained(folder, dtype=dtype, output_loading_info=True, local_files_only=True)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{what} can't be loaded: {error}") from error
    faults = {name: sorted(map(str, report[name])) for name in ("missing_keys", "unexpected_keys", "mismatched_keys")}
    if any(faults.values()):
        raise CheckpointError(f"{what} doesn't fit its config.json: {faults}; fetch it again")
    loaded: nn.Module = model
    return loaded


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """Loading shows nothing; the setting is put back after."""
    from transformers.utils import logging as transformers_logging

    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()
