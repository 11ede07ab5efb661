"""Notice board 2, from training to serving: weights and everything needed to use them.

A run's folder holds ``checkpoints/step-<n>/{state/, model.safetensors, meta.json}``. They are written in this order,
so ``meta.json`` says that the checkpoint is whole; one without it is as if it weren't there.
"""

import dataclasses
import json
import re
import types
import typing
from dataclasses import dataclass
from typing import Any, Self

import safetensors
import safetensors.torch
from torch import Tensor

from sora_core import storage
from sora_core.errors import CheckpointError, MissingObject
from sora_core.shapes import Compression
from sora_core.shards import Encoder

MODEL = "model.safetensors"
META = "meta.json"
STATE = "state"

SOLVER, NUM_STEPS = "ab2", 30
"""How a model is sampled that says nothing else."""


@dataclass(frozen=True, slots=True)
class ChannelStatistics:
    """What whitened the latents, one value a channel: ``(latent - mean) / std``; ``later_mean`` and ``later_std``
    frames after the first, where those have their own."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    later_mean: tuple[float, ...] | None = None
    later_std: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class DataSummary:
    """What the weights have seen. ``licences`` counts clips by licence, "unknown" among them."""

    uri: str
    clips: int
    seconds: float
    licences: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Meta:
    """Everything about a checkpoint that isn't a weight.

    ``fps`` is the usual rate of the training clips; ``max_tokens`` the longest clip trained on; ``given`` the kinds of
    masks of given latents it has learned; ``shift`` the timestep shift of training (that of ``shift_tokens``
    tokens, where it grows with them) and, with ``guidance_scale``, ``solver`` and ``num_inference_steps``, how it is
    sampled unless asked; ``base`` the weights that training began with; ``training`` the resolved config.
    """

    step: int
    dit: dict[str, Any]
    vae: Encoder
    text_encoder: Encoder
    whitening: ChannelStatistics
    compression: Compression
    fps: float
    max_tokens: int
    given: tuple[str, ...]
    shift: float
    shift_tokens: int | None = None
    guidance_scale: float
    solver: str = SOLVER
    num_inference_steps: int = NUM_STEPS
    base: Encoder | None
    git_revision: str | None
    training: dict[str, Any]
    data: DataSummary

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Strict: CheckpointError names every key that is missing or unknown, and a value of the wrong kind.

        A meta from before `given`, `base` and `shift_tokens` were written says them in its training config; one without
        a solver and a number of steps was sampled with the defaults of then.
        """
        try:
            values = json.loads(text)
        except ValueError as error:
            raise CheckpointError(f"{META} is not JSON ({error}); choose another checkpoint") from error
        if isinstance(values, dict) and isinstance(before := values.get("training"), dict):
            values.setdefault("given", [kind for kind, share in before.get("given", {}).items() if share])
            values.setdefault("base", None)
            values.setdefault("shift_tokens", before.get("shift_tokens"))
            values = {"solver": SOLVER, "num_inference_steps": NUM_STEPS} | values
        if isinstance(values, dict) and isinstance(whitening := values.get("whitening"), dict):
            for name in ("later_mean", "later_std"):
                whitening.setdefault(name, None)
        meta = _build(cls, values, META)
        assert isinstance(meta, cls)
        return meta


def _build(kind: Any, value: Any, where: str) -> Any:
    """A JSON value as the annotated type ``kind``."""
    if dataclasses.is_dataclass(kind):
        return _build_dataclass(kind, value, where)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is types.UnionType and type(None) in arguments:
        [some] = set(arguments) - {type(None)}
        return None if value is None else _build(some, value, where)
    if origin is tuple and isinstance(value, list):
        return tuple(_build(arguments[0], item, where) for item in value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    plain = dict if origin is dict else kind
    if origin is tuple or not isinstance(value, plain):
        raise CheckpointError(f"{where}: {value!r} is not a {kind}; it was written by another version or by hand")
    return value


def _build_dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise CheckpointError(f"{where}: expected an object, found {value!r}")
    hints = typing.get_type_hints(kind)
    missing, unknown = sorted(hints.keys() - value.keys()), sorted(value.keys() - hints.keys())
    if missing or unknown:
        faults = [f"missing {', '.join(missing)}"] * bool(missing) + [f"unknown {', '.join(unknown)}"] * bool(unknown)
        raise CheckpointError(f"{where}: {'; '.join(faults)}; use the version of the project that wrote it")
    return kind(**{key: _build(hints[key], item, f"{where}: {key}") for key, item in value.items()})


# --- finding


@dataclass(frozen=True, slots=True, order=True)
class CheckpointInfo:
    """One whole checkpoint of a run."""

    step: int
    uri: str


def step_uri(run_uri: str, step: int) -> str:
    """Where a run keeps the checkpoint of a step."""
    return storage.join(run_uri, "checkpoints", f"step-{step}")


def list_checkpoints(run_uri: str) -> list[CheckpointInfo]:
    """The whole checkpoints of a run, oldest first; a half-written one is not among them."""
    root = storage.join(run_uri, "checkpoints")
    pattern = re.compile(rf"/checkpoints/step-(\d+)/{re.escape(META)}$")
    try:
        found = [pattern.search(item.uri) for item in storage.list_objects(root)]
    except MissingObject:
        return []
    steps = sorted(int(match.group(1)) for match in found if match)
    return [CheckpointInfo(step, step_uri(run_uri, step)) for step in steps]


def latest(run_uri: str) -> str | None:
    """The newest whole checkpoint of a run, or None."""
    found = list_checkpoints(run_uri)
    return found[-1].uri if found else None


def resolve(uri: str) -> str:
    """A checkpoint's URI from its own URI or its run's. CheckpointError when there is none."""
    if storage.exists(storage.join(uri, META)):
        return uri.rstrip("/")
    newest = latest(uri.rstrip("/").removesuffix("/checkpoints"))
    if newest is None:
        raise CheckpointError(f"{uri}: no whole checkpoint there; give a run's folder or .../checkpoints/step-<n>")
    return newest


# --- writing and reading


def save_model(uri: str, weights: dict[str, Tensor], meta: Meta) -> None:
    """Write the serving weights, then ``meta.json``, which makes the checkpoint whole: ``state/`` must be there first.

    StorageError when the place can't be written; what was there before is no longer whole then.
    """
    storage.delete(storage.join(uri, META))
    with storage.scratch() as folder:
        path = folder / MODEL
        safetensors.torch.save_file({name: value.detach().cpu().contiguous() for name, value in weights.items()}, path)
        storage.upload(path, storage.join(uri, MODEL))
    storage.write_bytes(storage.join(uri, META), meta.to_json().encode())


def read_meta(uri: str) -> Meta:
    """The meta of the checkpoint at exactly this URI. CheckpointError if it isn't whole or not understood."""
    try:
        text = storage.read_bytes(storage.join(uri, META))
    except MissingObject as error:
        raise CheckpointError(f"{uri}: no {META}, so no whole checkpoint; choose another step") from error
    return Meta.from_json(text.decode(errors="replace"))


def load_model(uri: str) -> tuple[dict[str, Tensor], Meta]:
    """Serving weights (on the CPU) and meta of a checkpoint's or a run's URI. CheckpointError when unusable."""
    uri = resolve(uri)
    meta = read_meta(uri)
    try:
        with storage.local_file(storage.join(uri, MODEL)) as path:
            return safetensors.torch.load_file(path), meta
    except (MissingObject, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{uri}: {MODEL} is missing or damaged ({error}); choose another checkpoint") from error
