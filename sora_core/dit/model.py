"""The diffusion transformer: a pack of clips to the velocity of each token."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain

import torch
import torch.distributed as dist
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from sora_core.dit.blocks import Block, Join, KeyValues, Modulation, TextStates
from sora_core.dit.cache import ClipCache, decide, finish
from sora_core.dit.config import DiTConfig
from sora_core.dit.embedders import ConditionEmbedder
from sora_core.dit.given import GivenStates, Recall
from sora_core.dit.packing import Pack
from sora_core.dit.precondition import Preconditioning
from sora_core.errors import ConfigError, InputError
from sora_core.nn.attention import Segments
from sora_core.nn.layers import PatchEmbedding, modulated_norm
from sora_core.nn.rope import rotations
from sora_core.nn.ulysses import UlyssesAttention


@dataclass(frozen=True, slots=True)
class Context:
    """All that a DiT reads of clips' texts, for every layer: made once a request, joined for each packed step."""

    layers: tuple[KeyValues, ...]
    pooled: Float[Tensor, "n d"] | None

    @staticmethod
    def join(contexts: Sequence["Context"]) -> "Context":
        """The context of a pack whose clips have these contexts, in this order."""
        if len(contexts) == 1:
            return contexts[0]
        layers = zip(*(context.layers for context in contexts), strict=True)
        pooled = [context.pooled for context in contexts if context.pooled is not None]
        return Context(tuple(map(_join_layer, layers)), torch.cat(pooled) if pooled else None)


def _join_layer(parts: Sequence[KeyValues]) -> KeyValues:
    def segments(of: Sequence[Segments | None]) -> Segments | None:
        known = [one for one in of if one is not None]
        lengths = tuple(chain.from_iterable(one.lengths for one in known))
        return Segments.of(lengths, known[0].offsets.device) if known else None

    def cat(of: Sequence[Tensor | None]) -> Tensor | None:
        known = [one for one in of if one is not None]
        return torch.cat(known) if known else None

    joined = segments([part.segments for part in parts])
    assert joined is not None
    return KeyValues(
        torch.cat([part.key for part in parts]),
        torch.cat([part.value for part in parts]),
        joined,
        cat([part.key_bias for part in parts]),
        cat([part.image_key for part in parts]),
        cat([part.image_value for part in parts]),
        segments([part.image_segments for part in parts]),
    )


def _join(recall: Recall | None, layer: int) -> Join | None:
    return None if recall is None else partial(recall.join, layer)


# Kept in float32 beside weights of lower precision, as the open code does: they decide scale, not work.
_FLOAT32 = ("time_embedder.", "scale_shift_table", "norm2.")


def dtype_of(name: str, dtype: torch.dtype) -> torch.dtype:
    """What a parameter is kept in when the model's products run in ``dtype``."""
    return torch.float32 if any(part in name for part in _FLOAT32) else dtype


class DiT(nn.Module):
    """Computes what the open Wan 2.1 / 2.2 transformers compute, under their parameter names.

    A fresh model is the identity on its residual stream and answers zero (with ``data_variance``: as the best linear
    one would). Set ``activation_checkpointing`` to trade a second forward of each block for its activations' memory.
    """

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.config = config
        self.activation_checkpointing = False
        self._compiled = False
        self.patch_embedding = PatchEmbedding(config.in_channels, config.dim, config.patch_size)
        self.condition_embedder = ConditionEmbedder(config)
        self.blocks = nn.ModuleList([Block(config) for _ in range(config.num_layers)])
        patch = config.patch
        self.proj_out = nn.Linear(config.dim, config.out_channels * patch.time * patch.height * patch.width)
        self.scale_shift_table = nn.Parameter(torch.zeros(1, 2, config.dim))
        self._initialise()

    @property
    def num_params(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())

    def compile_blocks(self, backend: str = "inductor") -> None:
        """Compile each block, once for all shapes."""
        self._compiled = True
        for block in self._blocks():
            block.compile_for_all_shapes(backend)

    def attend_across(self, group: dist.ProcessGroup) -> None:
        """From now on each worker of a group gives its own `packing.part` of a pack. ConfigError: too few heads."""
        if self.config.num_attention_heads % group.size():
            raise ConfigError(
                f"{self.config.num_attention_heads} attention heads can't be divided among {group.size()} workers: "
                "choose a context_parallel that divides num_attention_heads"
            )
        for block in self._blocks():
            block.attn1.attend = UlyssesAttention(group)

    @torch.no_grad()
    def _initialise(self) -> None:
        """Xavier for linear maps; zero where a branch joins the residual stream (Peebles & Xie 2022, adaLN-Zero)."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.xavier_uniform_(self.patch_embedding.weight.flatten(1))
        nn.init.zeros_(self.condition_embedder.time_proj.weight)
        nn.init.zeros_(self.proj_out.weight)
        for block in self._blocks():
            block.attn2.silence()

    def _blocks(self) -> list[Block]:
        return [block for block in self.blocks if isinstance(block, Block)]

    def context(self, text: Float[Tensor, "m e"], image: Float[Tensor, "k f"] | None = None) -> Context:
        """What every layer reads of one clip's text and image tokens; `forward` takes it at each step."""
        device = text.device
        segments = Segments.of((len(text),), device)
        image_segments = None if image is None else Segments.of((len(image),), device)
        states = self._text_states(text, segments, image, image_segments)
        layers = tuple(block.attn2.key_values(states) for block in self._blocks())
        return Context(layers, self.condition_embedder.pooled(text, segments))

    def forward(
        self,
        pack: Pack,
        context: Context | None = None,
        caches: Sequence[ClipCache | None] | None = None,
        given: Sequence[GivenStates | None] | None = None,
    ) -> Float[Tensor, "l p"]:
        """Velocity (noise minus data) of every token, its values in the order of ``pack.tokens``.

        ``context`` is the joined `context` of the pack's clips; without it the pack's own texts are read. ``caches``,
        one for each clip or None for those that have none, let clips leave after the first block; it needs ``context``.
        ``given``, likewise for clips without a cache, let given tokens be left out, whose velocity is 0 then.
        InputError for a pack that this model can't take: other channels, other text, a side beyond its positions.
        """
        self._check(pack, context)
        if given is None or not any(given):
            return self._velocity(pack, context, caches, None)
        recall = Recall.begin(pack, given)
        return recall.finish(self._velocity(recall.pack, context, caches, recall))

    def _velocity(
        self,
        pack: Pack,
        context: Context | None,
        caches: Sequence[ClipCache | None] | None,
        recall: Recall | None,
    ) -> Float[Tensor, "l p"]:
        if self.config.data_variance is None:
            return self._answer(pack.tokens, pack, context, caches, recall)
        guess = Preconditioning.of(pack, self.config.data_variance)
        return guess.velocity(self._answer(guess.inputs(), pack, context, caches, recall))

    def _answer(
        self,
        tokens: Float[Tensor, "l p"],
        pack: Pack,
        context: Context | None,
        caches: Sequence[ClipCache | None] | None,
        recall: Recall | None,
    ) -> Float[Tensor, "l q"]:
        x = self.patch_embedding(tokens)
        if context is None:
            states = self._text_states(pack.text, pack.text_segments, pack.image, pack.image_segments)
            pooled = self.condition_embedder.pooled(pack.text, pack.text_segments)
            memory: Sequence[TextStates | KeyValues] = [states] * len(self.blocks)
        else:
            memory, pooled = context.layers, context.pooled
        embedded = self._embed_levels(pack, pooled, x.dtype)
        projected = rearrange(self.condition_embedder.time_proj(F.silu(embedded)), "r (six d) -> r six d", six=6)
        modulation = Modulation(projected, pack.level)
        turns = rotations(pack.position, self.config.attention_head_dim)
        if self._compiled:
            # Else the compiler takes the side of 2 for the same as anything else that is 2 in the first pack.
            torch._dynamo.mark_static(turns, 2)
        if context is not None and caches is not None and any(caches):
            x = self._through_cache(x, modulation, turns, pack.segments, context, caches, recall)
            return self._head(x, embedded, pack)
        for layer, (block, read) in enumerate(zip(self.blocks, memory, strict=True)):
            if self.activation_checkpointing and torch.is_grad_enabled():
                x = checkpoint(block, x, modulation, turns, pack.segments, read, use_reentrant=False)
            else:
                x = block(x, modulation, turns, pack.segments, read, _join(recall, layer))
        return self._head(x, embedded, pack)

    def _through_cache(
        self,
        x: Float[Tensor, "l d"],
        modulation: Modulation,
        turns: Float[Tensor, "l f 2"],
        segments: Segments,
        context: Context,
        caches: Sequence[ClipCache | None],
        recall: Recall | None,
    ) -> Float[Tensor, "l d"]:
        """All blocks for the clips that have moved, the first alone for the others."""
        first = self.blocks[0](x, modulation, turns, segments, context.layers[0], _join(recall, 0))
        split = decide(first - x, segments, caches)
        if not split.running:
            return finish(first, first[:0], split, segments, caches)
        whole = len(split.running) == len(caches)
        out = first if whole else first[split.rows]
        part = modulation if whole else Modulation(modulation.values, modulation.level[split.rows])
        part_turns = turns if whole else turns[split.rows]
        part_recall = recall if whole or recall is None else recall.of_clips(split.running, split.segments)
        for layer, (block, read) in enumerate(zip(self._blocks()[1:], context.layers[1:], strict=True), start=1):
            seen = read if whole else read.of_clips(split.running)
            out = block(out, part, part_turns, split.segments, seen, _join(part_recall, layer))
        return finish(first, out, split, segments, caches)

    def _head(self, x: Float[Tensor, "l d"], embedded: Float[Tensor, "r d"], pack: Pack) -> Float[Tensor, "l p"]:
        """The last norm and map, from the open weights' order of values (pt, ph, pw, c) to the pack's."""
        table = (self.scale_shift_table + embedded.float()[:, None]).flatten(1)
        shift, scale = table.index_select(0, pack.level).chunk(2, dim=1)
        values = self.proj_out(modulated_norm(x, 1 + scale, shift, self.config.eps))
        ordered: Tensor = rearrange(values, "l (patch c) -> l (c patch)", c=self.config.out_channels)
        return ordered

    def _embed_levels(
        self, pack: Pack, pooled: Float[Tensor, "n d"] | None, dtype: torch.dtype
    ) -> Float[Tensor, "r d"]:
        embedded: Tensor = self.condition_embedder.time_embedder(pack.levels).to(dtype)
        return embedded if pooled is None else embedded + pooled.index_select(0, pack.level_clip)

    def _text_states(
        self, text: Tensor, segments: Segments, image: Tensor | None, image_segments: Segments | None
    ) -> TextStates:
        padded, padded_segments, bias = self.condition_embedder.pad_text(text, segments)
        embedded = self.condition_embedder.text_embedder(padded)
        if image is None or self.condition_embedder.image_embedder is None:
            return TextStates(embedded, padded_segments, bias)
        assert image_segments is not None
        seen = self.condition_embedder.image_embedder(image, image_segments.lengths)
        return TextStates(embedded, padded_segments, bias, seen, image_segments)

    def _check(self, pack: Pack, context: Context | None) -> None:
        config = self.config
        patch = config.patch
        width = config.in_channels * patch.time * patch.height * patch.width
        if pack.patch != patch or pack.tokens.shape[1] != width:
            raise InputError(
                f"tokens of {pack.tokens.shape[1]} values in patches {pack.patch}: this model takes "
                f"{config.in_channels} channels in patches {patch}"
            )
        for grid in pack.grids:
            if max(grid.frames, grid.height, grid.width) > config.rope_max_seq_len:
                raise InputError(
                    f"a clip of {grid.frames}x{grid.height}x{grid.width} tokens: this model has positions for "
                    f"{config.rope_max_seq_len} a side; make the clip shorter or smaller"
                )
        if context is None:
            self._check_text(pack)

    def _check_text(self, pack: Pack) -> None:
        config = self.config
        if pack.text.shape[1] != config.text_dim:
            raise InputError(
                f"text states of width {pack.text.shape[1]}: this model reads {config.text_dim}; "
                f"use the text encoder that it was trained with"
            )
        if config.text_padding_len is None and 0 in pack.text_segments.lengths:
            raise InputError("a clip without text states: encode the empty prompt instead")
        if (pack.image is None) != (config.image_dim is None):
            wants = "needs" if config.image_dim else "takes no"
            raise InputError(f"this model {wants} image tokens: give Clip.image for all clips or none")
