"""What a run begins with: fresh weights, those of one of our checkpoints, or those of an open model."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from jobs.train.config import TrainConfig, differences
from jobs.train.data import Dataset
from jobs.train.groups import RowGroups
from sora_core import checkpoint, storage
from sora_core.checkpoint import Meta
from sora_core.diffusion.flow import DEFAULT_SHIFT, ShiftLaw
from sora_core.dit.config import DiTConfig
from sora_core.dit.convert import load_strictly, load_wan, read_config, read_rows, rows_of, transformer_folder
from sora_core.dit.model import DiT
from sora_core.errors import CheckpointError, ConfigError
from sora_core.pipeline.open_weights import GUIDANCE, sampling_of
from sora_core.pipeline.parts import Sampling
from sora_core.shards import Encoder, Manifest
from sora_core.training import lora
from sora_core.training.fill import Drawn, Rows, nothing
from sora_core.training.parallel import rank_and_size, told_by_first
from sora_core.vae.folder import fingerprint as vae_fingerprint
from sora_core.vae.whitening import Whitening, WhiteningStatistics

_MEASURED_CLIPS = 512

_FRESH = Sampling(ShiftLaw(6.0), guidance_scale=1.5)
"""What the controlled world is learned best by: its directions are decided at high noise."""


@dataclass(frozen=True, slots=True)
class Start:
    """The model of a run, known before a weight is read.

    ``whitening`` is what its latents are whitened with; ``given`` the kinds of masks that its first weights know;
    ``sampling`` how they are sampled, and were trained.
    """

    dit: DiTConfig
    whitening: Whitening
    given: tuple[str, ...] = ()
    sampling: Sampling = _FRESH


def find_start(config: TrainConfig, manifest: Manifest, before: Meta | None) -> Start:
    """What a run over this data begins with, or goes on with after a checkpoint.

    CheckpointError when the first weights can't be used with the data, or a resumed run is to have others.
    """
    if before is not None:
        _check_same_start(config, before)
    if config.init is None:
        whitening = Whitening(manifest.whitening_mean, manifest.whitening_std)
        sizes = config.model.dit(manifest.channels, manifest.text_dim, whitening.variances())
        start = Start(sizes, whitening)
    elif _is_ours(config.init):
        meta = checkpoint.read_meta(checkpoint.resolve(config.init))
        manifest.check_encoders(vae=meta.vae.fingerprint, text_encoder=meta.text_encoder.fingerprint)
        whitening = Whitening(*dataclasses.astuple(meta.whitening))
        start = Start(DiTConfig.from_dict(meta.dit), whitening, meta.given, Sampling.of(meta))
    else:
        start = _open_start(config.init, manifest)
    _check_fits(config.init, start.dit, manifest)
    if before is None:
        return start
    dit = start.dit
    if config.model.precondition and config.init is None:  # data that has grown since has other variances
        dit = dataclasses.replace(dit, data_variance=DiTConfig.from_dict(before.dit).data_variance)
    return Start(dit, Whitening(*dataclasses.astuple(before.whitening)), start.given, Sampling.of(before))


def with_later_frames(start: Start, dataset: Dataset, rows: RowGroups) -> Start:
    """The same with statistics of their own for frames after a clip's first, from clips spread over the data."""
    frames = np.array([shape.frames for shape in dataset.shapes])[dataset.shape_of[dataset.train]]
    films = dataset.train[frames > 1]
    statistics = WhiteningStatistics()
    for row in rows.rows([int(films[place]) for place in range(0, len(films), max(1, len(films) // _MEASURED_CLIPS))]):
        statistics.update(torch.tensor(row.latent_mean[:, 1:], dtype=torch.float32))
    return dataclasses.replace(start, whitening=start.whitening.with_later(statistics.result()))


def settled(config: TrainConfig, start: Start) -> TrainConfig:
    """The config with the start's own shift and guidance where it says nothing."""
    own, chosen = start.sampling, config
    if config.shift is None:
        chosen = chosen.model_copy(update={"shift": own.shift.shift, "shift_tokens": own.shift.tokens})
    if config.guidance_scale is None:
        chosen = chosen.model_copy(update={"guidance_scale": own.guidance_scale})
    return chosen


def check_sizes(config: TrainConfig, dit: DiTConfig) -> None:
    """ConfigError when [model] asks for other sizes than the first weights have."""
    if config.init is None:
        return
    has = dit.to_dict() | {"patch_size": dit.patch_size}
    asked = {name: getattr(config.model, name) for name in config.model.model_fields_set & has.keys()}
    if wrong := list(differences(asked, {name: has[name] for name in asked})):
        raise ConfigError(
            f"model: {'; '.join(wrong)} (the first are those of init = {config.init}): leave these keys out"
        )
    if config.model.precondition and dit.data_variance is None:
        raise ConfigError(
            f"model.precondition with init = {config.init}: its weights were trained without; leave it out"
        )


@dataclass(frozen=True, slots=True, eq=False)
class First:
    """A model with its first weights, which are those of ``base`` or drawn.

    Where each worker holds a shard it has no numbers yet, and ``rows`` gives them: no worker makes the whole.
    """

    dit: DiT
    base: Encoder | None
    rows: Rows | None = None


@contextmanager
def first_weights(config: TrainConfig, start: Start, before: Meta | None, *, sharded: bool) -> Iterator[First]:
    """The model to train, while what its weights are read from is at hand; the errors of `first_model`."""
    if not sharded:
        yield First(*first_model(config, start, before))
        return
    with torch.device("meta"):
        empty = DiT(start.dit)
    if before is not None:
        yield First(empty, before.base, nothing)
    elif config.init is None:
        yield First(empty, None, Drawn(lambda: DiT(start.dit), config.seed).rows)
    else:
        with _opened(config.init, start.dit) as rows:
            first = rank_and_size()[0] == 0  # the whole is read for its name once, not by every worker
            name = told_by_first(_fingerprint_of(rows, empty) if first else "")
            yield First(empty, Encoder(config.init, name), rows)


@contextmanager
def _opened(uri: str, dit: DiTConfig) -> Iterator[Rows]:
    if _is_ours(uri):
        file = storage.join(checkpoint.resolve(uri), checkpoint.MODEL)
        with storage.local_file(file) as path:
            yield rows_of([path], dit, uri)
    else:
        with _transformer(uri, weights=True) as folder:
            yield read_rows(folder)


def first_model(config: TrainConfig, start: Start, before: Meta | None) -> tuple[DiT, Encoder | None]:
    """The model with its first weights, and what they are; a resumed run's own are put in later.

    CheckpointError when the weights under an adapter aren't those that it was begun on.
    """
    if before is not None and config.lora is None:
        return _fresh(config, start), before.base
    if config.init is None:
        return _fresh(config, start), None
    dit = _read(config.init, start.dit)
    base = Encoder(config.init, _fingerprint(dit.state_dict()))
    if before is not None and before.base != base:
        raise CheckpointError(f"init = {config.init}: its weights have changed since this run began; put them back")
    if config.lora is not None:
        lora.add_adapter(dit, config.lora.rules(), config.seed)
    return dit, base


def _fresh(config: TrainConfig, start: Start) -> DiT:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return DiT(start.dit)


def _read(uri: str, dit: DiTConfig) -> DiT:
    if _is_ours(uri):
        weights, _ = checkpoint.load_model(uri)
        return load_strictly(dit, weights, uri)
    with _transformer(uri, weights=True) as folder:
        return load_wan(folder)


def _is_ours(uri: str) -> bool:
    return storage.exists(storage.join(uri, checkpoint.META)) or checkpoint.latest(uri) is not None


def _check_same_start(config: TrainConfig, before: Meta) -> None:
    now = {"init": config.init, "lora": config.lora and config.lora.model_dump(mode="json")}
    then = {name: before.training.get(name) for name in now}
    if changed := list(differences(now, then)):
        raise CheckpointError(
            f"{config.output} holds {before.step} steps that began otherwise ({'; '.join(changed)}): restore those "
            "values, or choose another output"
        )


def _check_fits(uri: str | None, dit: DiTConfig, manifest: Manifest) -> None:
    found = {"in_channels": dit.in_channels, "out_channels": dit.out_channels, "text_dim": dit.text_dim}
    data = {"in_channels": manifest.channels, "out_channels": manifest.channels, "text_dim": manifest.text_dim}
    if wrong := list(differences(data, found)):
        raise CheckpointError(
            f"init = {uri} doesn't fit the data ({'; '.join(wrong)}): curate with that model's autoencoder and text "
            "encoder, or begin with another"
        )


# --- open weights


def _open_start(uri: str, manifest: Manifest) -> Start:
    whitening = Whitening(manifest.whitening_mean, manifest.whitening_std)
    with _transformer(uri, weights=False) as folder:
        dit = read_config(folder)
        vae = folder.parent / "vae"
        if (vae / "config.json").is_file():
            values = json.loads((vae / "config.json").read_text())
            if "latents_mean" in values and "latents_std" in values:
                whitening = Whitening(tuple(values["latents_mean"]), tuple(values["latents_std"]))
            if any(vae.glob("*.safetensors")):
                manifest.check_encoders(vae=vae_fingerprint(vae), text_encoder=manifest.text_encoder.fingerprint)
        beside = (folder.parent / "scheduler" / "scheduler_config.json").is_file()
        # A transformer alone doesn't say; its family's law does.
        sampling = sampling_of(folder.parent) if beside else Sampling(DEFAULT_SHIFT, GUIDANCE)
    return Start(dit, whitening, sampling=sampling)


@contextmanager
def _transformer(uri: str, *, weights: bool) -> Iterator[Path]:
    """A local folder with an open transformer's config, and its weights if asked, beside what its pipeline says."""
    if not storage.is_s3(uri):
        yield transformer_folder(uri.removeprefix("file://"))
        return
    inner = storage.join(uri, "transformer")
    found = inner if storage.exists(storage.join(inner, "config.json")) else uri
    with storage.scratch() as temporary:
        folder = temporary / "transformer"
        if weights:
            storage.download_folder(found, folder)
        else:
            storage.download(storage.join(found, "config.json"), folder / "config.json")
        for part in ("vae/config.json", "scheduler/scheduler_config.json") if found == inner else ():
            if storage.exists(storage.join(uri, part)):
                storage.download(storage.join(uri, part), temporary / part)
        yield folder


def _fingerprint(weights: Mapping[str, Tensor]) -> str:
    """sha256 over names and values."""
    return _digest(sorted(weights), lambda name: weights[name])


def _fingerprint_of(rows: Rows, model: DiT) -> str:
    """The same, one weight after another."""
    return _digest(sorted(model.state_dict()), lambda name: rows(name, slice(None)))


def _digest(names: Sequence[str], value: Callable[[str], Tensor]) -> str:
    digest = hashlib.sha256()
    for name in names:
        digest.update(name.encode())
        digest.update(value(name).detach().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()
