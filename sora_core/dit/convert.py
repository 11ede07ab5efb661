"""Open Wan weights in the diffusers layout, in and out, strictly."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from sora_core import storage
from sora_core.dit.config import DiTConfig
from sora_core.dit.model import DiT, dtype_of
from sora_core.errors import CheckpointError
from sora_core.precision import weight_dtypes

_CLASS = "WanTransformer3DModel"
_QK_NORM = "rms_norm_across_heads"
_STEM = "diffusion_pytorch_model"
# The open models read texts filled with zeros to this length.
_TEXT_LEN = 512
# Weights that published image-to-video folders carry and their own code never reads.
_UNREAD = ".norm_added_q.weight"
_OURS = ("text_padding_len", "pooled_text", "data_variance")

Shapes = dict[str, tuple[int, ...]]


def load_wan(source: str | Path, *, dtype: torch.dtype = torch.float32, device: str = "cpu") -> DiT:
    """The transformer in a diffusers folder, a pipeline folder with a ``transformer/``, or under a hub id.

    Names and shapes are compared before a weight is read. CheckpointError for another architecture, a config key that
    this code doesn't know, a missing, damaged or surplus file or weight, and a dtype that the device lacks.
    """
    _check_dtype(dtype, device)
    folder = transformer_folder(source)
    config = read_config(folder)
    files = _weight_files(folder)
    shapes: Shapes = {}
    for path in files:
        shapes |= _read_shapes(path)
    _compare(shapes, config, str(folder))
    weights = {name: value.to(dtype_of(name, dtype)) for path in files for name, value in _read_weights(path)}
    return load_strictly(config, weights, str(folder), dtype).to(device)


def read_rows(source: str | Path) -> Callable[[str, slice], Tensor]:
    """What reads some rows of one weight at a time of what `load_wan` loads, in float32; the same errors."""
    folder = transformer_folder(source)
    return rows_of(_weight_files(folder), read_config(folder), str(folder))


def rows_of(files: Sequence[Path], config: DiTConfig, where: str) -> Callable[[str, slice], Tensor]:
    """`read_rows` of safetensors, whose names and shapes are compared with a config first."""
    shapes, home = Shapes(), dict[str, Path]()
    for path in files:
        found = _read_shapes(path)
        shapes |= found
        home |= dict.fromkeys(found, path)
    _compare(shapes, config, where)

    def rows(name: str, which: slice) -> Tensor:
        with safe_open(home[name], framework="pt") as file:
            part: Tensor = file.get_slice(name)[which]
        return part.float()

    return rows


def load_strictly(
    config: DiTConfig, weights: Mapping[str, Tensor], where: str, dtype: torch.dtype = torch.float32
) -> DiT:
    """A DiT with these weights in ``dtype``; CheckpointError lists what is missing, surplus or of another shape."""
    _compare({name: tuple(value.shape) for name, value in weights.items()}, config, where)
    with torch.device("meta"):
        dit = DiT(config)
    dit.load_state_dict({name: value.to(dtype_of(name, dtype)) for name, value in weights.items()}, assign=True)
    return dit


def save_wan(dit: DiT, folder: str | Path, *, max_shard_bytes: int = 5 * 2**30) -> None:
    """Write ``config.json`` and safetensors (in shards with an index when they are many bytes) that `load_wan` reads.

    CheckpointError for a model that the open architecture can't express.
    """
    config = dit.config
    if config.pooled_text or config.text_padding_len != _TEXT_LEN or config.data_variance is not None:
        raise CheckpointError(
            f"pooled_text = {config.pooled_text}, text_padding_len = {config.text_padding_len}, data_variance = "
            f"{config.data_variance}: the open layout knows no pooled text, no other padding than {_TEXT_LEN} and no "
            "preconditioning; save a checkpoint of our own instead"
        )
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    values = {name: value for name, value in config.to_dict().items() if name not in _OURS}
    values |= {"_class_name": _CLASS, "qk_norm": _QK_NORM}
    (out / "config.json").write_text(json.dumps(values, indent=2, sort_keys=True) + "\n")
    weights = {name: value.detach().cpu().contiguous() for name, value in dit.state_dict().items()}
    shards = list(_shards(weights, max_shard_bytes))
    if len(shards) == 1:
        save_file(weights, out / f"{_STEM}.safetensors", metadata={"format": "pt"})
        return
    where: dict[str, str] = {}
    for number, shard in enumerate(shards, 1):
        name = f"{_STEM}-{number:05d}-of-{len(shards):05d}.safetensors"
        save_file(shard, out / name, metadata={"format": "pt"})
        where |= dict.fromkeys(shard, name)
    total = sum(value.nbytes for value in weights.values())
    index = {"metadata": {"total_size": total}, "weight_map": where}
    (out / f"{_STEM}.safetensors.index.json").write_text(json.dumps(index, indent=2, sort_keys=True) + "\n")


def transformer_folder(source: str | Path) -> Path:
    """The local folder with the transformer's ``config.json``; a hub id is fetched first."""
    root = Path(source)
    if not root.is_dir():
        wanted = ["config.json", f"{_STEM}*", "transformer/*"]
        remedy = "download it first and give the folder"
        root = storage.fetch_from_hub(str(source), wanted, what="transformer", remedy=remedy)
    for folder in (root / "transformer", root):
        if (folder / "config.json").is_file():
            return folder
    raise CheckpointError(f"{source}: no config.json there nor in transformer/; give a diffusers folder or a hub id")


def _check_dtype(dtype: torch.dtype, device: str) -> None:
    allowed = weight_dtypes(device)
    if dtype not in allowed:
        raise CheckpointError(f"dtype {dtype} on {device}: choose one of {', '.join(map(str, allowed))}")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: can't be read as JSON ({error}); fetch the folder again") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path}: a JSON object is wanted; fetch the folder again")
    return values


def read_config(folder: Path) -> DiTConfig:
    """The config of a transformer's folder; what the open code would ignore is refused."""
    path = folder / "config.json"
    values = _read_json(path)
    architecture = values.get("_class_name")
    if architecture != _CLASS:
        raise CheckpointError(f"{path}: architecture {architecture!r}; only {_CLASS} folders can be loaded")
    norm = values.get("qk_norm", _QK_NORM)
    if norm != _QK_NORM:
        raise CheckpointError(f"{path}: qk_norm = {norm!r}; only {_QK_NORM!r} is known")
    public = {name: value for name, value in values.items() if not name.startswith("_") and name != "qk_norm"}
    ours = sorted(set(public) & set(_OURS))
    if ours:
        raise CheckpointError(f"{path}: unknown keys {ours}; they are not part of the open layout")
    return DiTConfig.from_dict(public | {"text_padding_len": _TEXT_LEN})


def _weight_files(folder: Path) -> list[Path]:
    """All weight files, each there; a folder is one file or shards with an index."""
    index = folder / f"{_STEM}.safetensors.index.json"
    single = folder / f"{_STEM}.safetensors"
    if not index.is_file():
        if not single.is_file():
            raise CheckpointError(f"{folder}: neither {single.name} nor {index.name}; fetch the folder again")
        return [single]
    weight_map = _read_json(index).get("weight_map")
    if not isinstance(weight_map, dict):
        raise CheckpointError(f"{index}: no weight_map; fetch the folder again")
    files = [folder / str(name) for name in sorted(set(weight_map.values()))]
    missing = [path.name for path in files if not path.is_file()]
    if missing:
        raise CheckpointError(f"{folder}: missing shards {missing}; fetch the folder again")
    return files


def _read_shapes(path: Path) -> Shapes:
    """Names and shapes from a file's header."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys() if _is_read(name)}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: cut short or damaged ({error}); fetch it again") from error


def _read_weights(path: Path) -> Iterator[tuple[str, Tensor]]:
    with safe_open(path, framework="pt") as file:
        for name in file.keys():  # noqa: SIM118 - a file, not a dict
            if _is_read(name):
                yield name, file.get_tensor(name)


def _is_read(name: str) -> bool:
    return not name.endswith(_UNREAD)


def _compare(found: Shapes, config: DiTConfig, where: str) -> None:
    with torch.device("meta"):
        wanted = {name: tuple(value.shape) for name, value in DiT(config).state_dict().items()}
    missing, surplus = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    common = sorted(found.keys() & wanted.keys())
    wrong = [f"{name} {found[name]}, not {wanted[name]}" for name in common if found[name] != wanted[name]]
    if missing or surplus or wrong:
        raise CheckpointError(
            f"{where}: weights don't fit the config: missing {missing}, surplus {surplus}, other shapes {wrong}; "
            f"it is another architecture, or an incomplete copy"
        )


def _shards(weights: dict[str, Tensor], max_bytes: int) -> Iterator[dict[str, Tensor]]:
    """The weights in their order, cut into parts of at most ``max_bytes`` (or one weight)."""
    shard: dict[str, Tensor] = {}
    size = 0
    for name, value in weights.items():
        if shard and size + value.nbytes > max_bytes:
            yield shard
            shard, size = {}, 0
        shard[name] = value
        size += value.nbytes
    yield shard
