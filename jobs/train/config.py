"""What a person may choose about a training run."""

from collections.abc import Iterator
from re import Pattern
from typing import Annotated, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from jobs.launch import JobConfig
from jobs.train.data import Dataset, Source
from jobs.train.groups import RowGroups
from sora_core.diffusion.flow import ShiftLaw
from sora_core.dit.config import DiTConfig
from sora_core.errors import ConfigError
from sora_core.precision import Choice, dtype_of
from sora_core.training import references
from sora_core.training.draws import DrawRules
from sora_core.training.lora import LoraRules
from sora_core.training.masks import KINDS, SHARES
from sora_core.training.optim import OptimRules
from sora_core.training.parallel import Layout, Mode
from sora_core.training.plan import Plan, PlanRules, Stage

Share = Annotated[float, Field(ge=0, le=1)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelConfig(_Part):
    """Sizes of the transformer; channels and text width come with the data.

    ``precondition`` adds the best linear answer to the network's own (`sora_core.dit.precondition`).
    """

    num_layers: PositiveInt = 4
    num_attention_heads: PositiveInt = 4
    attention_head_dim: PositiveInt = 32
    ffn_dim: PositiveInt = 512
    patch_size: tuple[PositiveInt, PositiveInt, PositiveInt] = (1, 2, 2)
    pooled_text: bool = True
    text_padding_len: PositiveInt | None = None
    activation_checkpointing: bool = False
    precondition: bool = False

    def dit(self, channels: int, text_dim: int, variances: tuple[float, ...]) -> DiTConfig:
        """The transformer for latents of so many channels, of these variances, and text states of so many values."""
        return DiTConfig(
            num_attention_heads=self.num_attention_heads,
            attention_head_dim=self.attention_head_dim,
            in_channels=channels,
            out_channels=channels,
            text_dim=text_dim,
            ffn_dim=self.ffn_dim,
            num_layers=self.num_layers,
            patch_size=self.patch_size,
            text_padding_len=self.text_padding_len,
            pooled_text=self.pooled_text,
            data_variance=variances if self.precondition else None,
        )


class LoraConfig(_Part):
    """Train low-rank factors beside the linear maps whose names end in ``targets``, and leave all weights as they are.

    Their product is scaled by ``alpha / rank``.
    """

    rank: PositiveInt = 16
    alpha: PositiveFloat = 16.0
    targets: tuple[str, ...] = ("to_q", "to_k", "to_v", "to_out.0", "net.0.proj", "net.2")

    def rules(self) -> LoraRules:
        return LoraRules(self.rank, self.alpha, self.targets)


class OptimizerConfig(_Part):
    """AdamW, with Muon for the blocks' matrices unless ``muon_lr`` is 0; the rates fall to 0 by half a cosine.

    With ``decay_steps`` they stay as they are until so many steps are left and fall in a line.
    """

    lr: PositiveFloat = 1.5e-3
    muon_lr: Annotated[float, Field(ge=0)] = 0.02
    betas: tuple[Share, Share] = (0.9, 0.95)
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    warmup_clips: Annotated[int, Field(ge=0)] = 500
    clip_norm: PositiveFloat = 1.0
    ema_decay: Share = 0.995
    decay_steps: PositiveInt | None = None

    def rules(self) -> OptimRules:
        return OptimRules(
            self.lr,
            self.muon_lr or None,
            self.betas,
            self.weight_decay,
            self.warmup_clips,
            self.clip_norm,
            self.decay_steps,
        )


class SampleConfig(_Part):
    """Videos of ``prompts``, else of captions of the data: at the end, and with every checkpoint at ``every`` steps."""

    every: PositiveInt | None = None
    count: Annotated[int, Field(ge=0)] = 8
    prompts: tuple[str, ...] = ()
    num_inference_steps: PositiveInt = 16


class ValidationConfig(_Part):
    """The loss on clips kept out of training, at noise levels in the middle of ``sigma_bins`` equal bins.

    With ``words``, also how much greater it is when captions of the controlled world say something else.
    """

    every: PositiveInt = 200
    clips: Annotated[int, Field(ge=0)] = 32
    sigma_bins: PositiveInt = 5
    words: bool = True


class SourceConfig(_Part):
    """A curated folder among several; a clip of weight 2 is met twice as often as one of weight 1."""

    data: str
    weight: PositiveFloat = 1.0


class StageConfig(_Part):
    """What is met before step ``until``, where it differs from what is met in the end."""

    until: PositiveInt
    image_share: Share


class TrainConfig(JobConfig):
    """Train a video diffusion transformer on a curated folder, or on several ``[[sources]]``.

    ``image_share`` is the share of stills among the clips met, after the ``stages``; ``clean_share`` that of the noise
    levels that are drawn without ``shift``; ``whiten_later`` gives a clip's frames after its first statistics of their
    own; ``shuffle_clips`` are shuffled together, and what they
    take should fit in ``cache_bytes``. ``given`` are shares of the clips; a ``reference``, the beginning of another
    clip of its subject, comes beside the others, to those that have one. Clips of one file have one subject, or, with
    ``subject``, those in whose captions this regular expression (its first group, if any) finds the same words.
    ``shift`` and ``guidance_scale`` are those that the first weights were trained and are sampled with, unless given.
    ``precision`` is what matrices multiply in: ``auto`` is what all workers compute fast, and stays with the run.
    ``init`` is a checkpoint or a run of ours, or a folder or hub id of open weights, to begin with: its sizes are the
    model's then.
    """

    data: str | None = None
    sources: tuple[SourceConfig, ...] = ()
    output: str
    steps: PositiveInt
    checkpoint_every: PositiveInt
    seed: int = 0
    init: str | None = None
    lora: LoraConfig | None = None
    model: ModelConfig = ModelConfig()
    pack_tokens: PositiveInt = 1280
    packs_per_step: PositiveInt = 2
    optimizer: OptimizerConfig = OptimizerConfig()
    shift: PositiveFloat | None = None
    shift_tokens: PositiveInt | None = None
    sigma_spread: PositiveFloat = 1.0
    clean_share: Share = 0.0
    whiten_later: bool = False
    caption_dropout: Share = 0.1
    given: dict[str, Share] = Field(default=dict(SHARES))
    subject: Pattern[str] | None = None
    guidance_scale: PositiveFloat | None = None
    precision: Choice = "auto"
    num_workers: PositiveInt | tuple[PositiveInt, PositiveInt] = 2
    parallel: Mode = "ddp"
    shards: PositiveInt | None = None
    context_parallel: PositiveInt = 1
    use_gpu: bool = False
    resources_per_worker: dict[str, PositiveFloat] | None = None
    memory_gib: PositiveFloat | None = None
    max_failures: Annotated[int, Field(ge=-1)] = 3
    keep_checkpoints: PositiveInt | None = None
    image_share: Share | None = None
    stages: tuple[StageConfig, ...] = ()
    shuffle_clips: PositiveInt = 16_384
    prefetch_steps: PositiveInt = 8
    read_threads: PositiveInt = 8
    cache_bytes: PositiveInt = 1 << 30
    on_corrupt: Literal["stop", "skip"] = "stop"
    log_every_s: PositiveFloat = 10.0
    peak_tflops: PositiveFloat | None = None
    validation: ValidationConfig = ValidationConfig()
    samples: SampleConfig = SampleConfig()

    @model_validator(mode="after")
    def _check_sources(self) -> Self:
        if (self.data is None) == (not self.sources):
            raise ValueError("give data = URI, or a [[sources]] table with data and weight for each of several")
        return self

    @model_validator(mode="after")
    def _check_stages(self) -> Self:
        ends = [stage.until for stage in self.stages]
        if ends != sorted(set(ends)):
            raise ValueError(f"stages: until = {ends}: each stage must end after the one before it")
        return self

    @model_validator(mode="after")
    def _check_shift(self) -> Self:
        if self.shift_tokens is not None and self.shift is None:
            raise ValueError(f"shift_tokens = {self.shift_tokens}: give the shift that holds at so many tokens, too")
        return self

    @model_validator(mode="after")
    def _check_samples(self) -> Self:
        if self.samples.every is not None and self.samples.every % self.checkpoint_every:
            raise ValueError(
                f"samples.every = {self.samples.every}: samples are made by checkpoints, so give a multiple of "
                f"checkpoint_every = {self.checkpoint_every}"
            )
        return self

    @model_validator(mode="after")
    def _check_lora(self) -> Self:
        if self.lora is not None and self.init is None:
            raise ValueError("lora adapts weights that are there: give init = URI, or leave [lora] out")
        return self

    @model_validator(mode="after")
    def _check_given(self) -> Self:
        known = {**KINDS, references.KIND: None}
        if unknown := sorted(set(self.given) - set(known)):
            raise ValueError(f"given: unknown kinds of mask {unknown}; the kinds are {', '.join(known)}")
        if (share := sum(self.masks.values())) > 1:
            raise ValueError(f"given: the shares of masks add up to {share}; they can't exceed 1")
        return self

    @property
    def masks(self) -> dict[str, float]:
        """The share of the clips that are given a part of themselves, by kind."""
        return {kind: share for kind, share in self.given.items() if kind != references.KIND}

    def layout(self, rank: int, workers: int) -> Layout:
        """One worker's place among so many. ConfigError when they can't be divided as asked."""
        return Layout.of(self.parallel, rank, workers, self.shards, self.context_parallel)

    def check_layouts(self, dit: DiTConfig) -> None:
        """ConfigError when some number of workers that may be running can't be divided as asked."""
        fewest = self.num_workers if isinstance(self.num_workers, int) else self.num_workers[0]
        for workers in range(fewest, self.max_workers + 1):
            self.layout(0, workers)
        if dit.num_attention_heads % self.context_parallel:
            raise ConfigError(
                f"context_parallel = {self.context_parallel} doesn't divide the model's {dit.num_attention_heads} "
                "attention heads: choose a divisor"
            )
        if self.lora is not None and self.parallel != "ddp":
            raise ConfigError(
                f'parallel = "{self.parallel}" with lora: an adapter is merged into whole weights; use parallel = "ddp"'
            )

    def plan_rules(self, dit: DiTConfig) -> PlanRules:
        # A block's linear maps cost 12 D^2 + 4 D F operations a token, its attention 4 D a pair of tokens.
        linear_work = float(3 * dit.dim + dit.ffn_dim)
        return PlanRules(
            self.seed,
            self.pack_tokens,
            self.packs_per_step,
            linear_work,
            self.shuffle_clips,
            self.image_share,
            tuple(Stage(stage.until, stage.image_share) for stage in self.stages),
        )

    def draw_rules(self) -> DrawRules:
        return DrawRules(self.seed, self.caption_dropout, self.masks)

    def plan(self, dataset: Dataset, dit: DiTConfig) -> Plan:
        """Which clips and references meet in which step. InputError when no clip has another of its subject."""
        rules, share = self.plan_rules(dit), self.given.get(references.KIND, 0.0)
        return dataset.plan(dit.patch, rules, dataset.references(dit.patch, share, self.seed, self.subject))

    def open_data(self) -> Dataset:
        """The clips of all sources, by their sizes."""
        sources = [Source(source.data, source.weight) for source in self.sources] or [Source(self.data or "")]
        return Dataset.open(sources, skip_corrupt=self.on_corrupt == "skip")

    def read_rows(self, dataset: Dataset) -> RowGroups:
        """What reads their tensors."""
        skip = self.on_corrupt == "skip"
        return RowGroups(dataset, self.cache_bytes, readers=self.read_threads, skip_corrupt=skip)

    @property
    def shift_law(self) -> ShiftLaw:
        """Settled by the start (`jobs.train.start`) where nothing was said."""
        assert self.shift is not None
        return ShiftLaw(self.shift, self.shift_tokens)

    @property
    def dtype(self) -> torch.dtype:
        """What matrices multiply in; the workers have agreed on it (`jobs.train.agree`)."""
        assert self.precision != "auto"
        return dtype_of(self.precision)

    @property
    def max_workers(self) -> int:
        return self.num_workers if isinstance(self.num_workers, int) else self.num_workers[1]


def differences(now: object, before: object, path: str = "") -> Iterator[str]:
    """Every leaf that differs between two nested dicts, as ``key: before -> now``."""
    if isinstance(now, dict) and isinstance(before, dict):
        for key in sorted({*now, *before}):
            yield from differences(now.get(key), before.get(key), f"{path}.{key}" if path else str(key))
    elif now != before:
        yield f"{path}: {before!r} -> {now!r}"
