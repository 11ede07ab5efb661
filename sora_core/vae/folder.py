"""AutoencoderKLWan from a folder in the published layout, strictly, and back."""

import hashlib
import inspect
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sora_core.errors import CheckpointError

DEFAULT = "default"
_SHIPPED = Path(__file__).parent / "weights"
_CLASS = "AutoencoderKLWan"
_WEIGHTS = ("diffusion_pytorch_model.safetensors", "model.safetensors")
_INDEX = "diffusion_pytorch_model.safetensors.index.json"
_WANTED = [f"{part}{name}" for part in ("", "vae/") for name in ("config.json", "*.safetensors", "*.index.json")]
_REMEDY = "give 'default', a folder with config.json and weights, or an s3:// URI of one"
_LISTED = 5  # keys named in an error


@contextmanager
def opened(source: str) -> Iterator[Path]:
    """The local folder with the config.json and weights of "default", a folder, an s3:// URI, or a hub id."""
    from sora_core import storage  # its clients are asked for by places alone: whitening does without

    with storage.scratch() as temporary:
        if source == DEFAULT:
            root = _SHIPPED
        elif storage.is_s3(source):
            root = storage.download_folder(source, temporary)
        elif (local := Path(source.removeprefix("file://"))).is_dir():
            root = local
        else:
            root = storage.fetch_from_hub(source, _WANTED, what="autoencoder", remedy=_REMEDY)
        yield root / "vae" if (root / "vae").is_dir() else root


def read_config(folder: Path) -> dict[str, Any]:
    """The options of the model in a folder; CheckpointError unless it is an AutoencoderKLWan that this code knows."""
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{folder}: no readable config.json ({error}); give a folder in diffusers' {_CLASS} format"
        ) from error
    if config.get("_class_name") != _CLASS:
        raise CheckpointError(f"{folder}: config.json is of class {config.get('_class_name')!r}; this loads {_CLASS}")
    options = {key: value for key, value in config.items() if not key.startswith("_")}
    if unknown := options.keys() - inspect.signature(_wan_class().__init__).parameters.keys():
        raise CheckpointError(
            f"{folder}: config.json has options that the installed diffusers doesn't know: {_some(unknown)}; update it"
        )
    return options


def read_model(folder: Path) -> Any:
    """The model of a folder in float32, in evaluation mode; CheckpointError names every kind of misfit."""
    model = _wan_class()(**read_config(folder))
    weights = _read_weights(folder)
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    faults = {
        "missing": wanted.keys() - weights.keys(),
        "surplus": weights.keys() - wanted.keys(),
        "of another shape": {k for k in wanted.keys() & weights.keys() if wanted[k] != tuple(weights[k].shape)},
    }
    if any(faults.values()):
        listed = "; ".join(f"{len(keys)} {fault}: {_some(keys)}" for fault, keys in faults.items() if keys)
        raise CheckpointError(f"{folder}: the weights don't fit config.json ({listed}); fetch or save both together")
    model.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    return model.eval().requires_grad_(False)


def new_model(**options: Any) -> Any:
    """An untrained AutoencoderKLWan."""
    return _wan_class()(**options)


def write_model(model: Any, folder: Path, dtype: torch.dtype) -> None:
    """Leave config.json and model.safetensors, rounded to ``dtype``, in a folder that `read_model` takes."""
    folder.mkdir(parents=True, exist_ok=True)
    options = {key: value for key, value in model.config.items() if not key.startswith("_")}
    (folder / "config.json").write_text(json.dumps({"_class_name": _CLASS, **options}, indent=1) + "\n")
    weights = {name: tensor.to(dtype).contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def fingerprint(folder: Path) -> str:
    """sha256 of a folder's config and weights, in hex: equal for equal files, whatever they are called."""
    digest = hashlib.sha256()
    for path in (folder / "config.json", *_weight_files(folder)):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _read_weights(folder: Path) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = {}
    for path in _weight_files(folder):
        weights |= load_file(path)
    return weights


def _weight_files(folder: Path) -> list[Path]:
    """The folder's weights, as one file or as the shards that an index names."""
    if (folder / _INDEX).exists():
        names: dict[str, str] = json.loads((folder / _INDEX).read_text())["weight_map"]
        paths = [folder / name for name in sorted(set(names.values()))]
    else:
        paths = [folder / name for name in _WEIGHTS if (folder / name).exists()][:1]
    if not paths or not all(path.exists() for path in paths):
        raise CheckpointError(f"{folder}: no {' or '.join(_WEIGHTS)} (or a shard is missing); fetch the weights again")
    return paths


def _some(keys: set[str]) -> str:
    shown = sorted(keys)[:_LISTED]
    return ", ".join(shown) + (", ..." if len(keys) > _LISTED else "")


def _wan_class() -> Any:
    """Imported when first needed: it takes seconds, and statistics and metrics do without."""
    from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan

    return AutoencoderKLWan
