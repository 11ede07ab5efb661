"""Against diffusers' own transformer, every parameter random, in float32."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import WanTransformer3DModel
from safetensors.torch import load_file, save_file
from torch import Tensor

from sora_core.dit.convert import load_wan, read_rows, save_wan
from sora_core.dit.packing import Clip, pack, unpack
from sora_core.errors import CheckpointError

from .tiny import SIZES, randomise, relative_error, tiny_clips, tiny_dit

TOLERANCE = 2e-6
WEIGHTS = "diffusion_pytorch_model.safetensors"
INDEX = "diffusion_pytorch_model.safetensors.index.json"
IMAGE = {"image_dim": 7, "added_kv_proj_dim": 48, "in_channels": 9}

# Layouts of the published folders at a tiny size: text to video, image to video (36 channels there), the same from a
# first and a last frame, image to video without image tokens, a noise level for each token with wide latents.
LAYOUTS: dict[str, dict[str, Any]] = {
    "Wan 2.1 T2V": {},
    "Wan 2.1 I2V": IMAGE,
    "Wan 2.1 first and last frame": IMAGE | {"pos_embed_seq_len": 10},
    "Wan 2.2 I2V": {"in_channels": 9},
    "Wan 2.2 TI2V": {"in_channels": 6, "out_channels": 6},
    "no cross norm": {"cross_attn_norm": False},
    "odd sizes": {"num_attention_heads": 3, "attention_head_dim": 20, "freq_dim": 64, "num_layers": 3},
}


def peer_model(**changes: Any) -> WanTransformer3DModel:
    peer = WanTransformer3DModel(**(SIZES | changes)).eval()
    randomise(peer)
    return peer


def peer_velocity(peer: WanTransformer3DModel, clip: Clip) -> Tensor:
    """The peer on one clip: text filled with zeros to 512, timesteps of a thousand."""
    text = torch.zeros(1, 512, clip.text.shape[1])
    text[0, : len(clip.text)] = clip.text
    time = 1000 * torch.as_tensor(clip.sigma).reshape(1, -1)
    image = clip.image
    if image is not None:
        halves = 2 if peer.config.pos_embed_seq_len else 1
        image = image.reshape(halves, -1, image.shape[-1])
    with torch.no_grad():
        return peer(
            clip.latent[None],
            time[0] if time.numel() == 1 else time,
            text,
            encoder_hidden_states_image=image,
        ).sample[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Folders that diffusers itself wrote."""

    def write(**changes: Any) -> Path:
        path = tmp_path_factory.mktemp("wan")
        shards = changes.pop("max_shard_size", "1GB")
        peer_model(**changes).save_pretrained(path, max_shard_size=shards)
        return path

    return write


@pytest.mark.parametrize("layout", LAYOUTS)
def test_velocities_equal_the_open_models(layout: str, folder: Callable[..., Path]) -> None:
    """Alone and in a pack of mixed shapes, with noise levels by clip and by token."""
    changes = LAYOUTS[layout]
    peer, dit = peer_model(**changes), load_wan(folder(**changes))
    image = None if dit.config.image_dim is None else (dit.config.pos_embed_seq_len or 6, dit.config.image_dim)
    clips = tiny_clips(dit.config.in_channels, image)
    together = pack(clips)
    with torch.no_grad():
        ours = unpack(together, dit(together))
        for clip, packed in zip(clips, ours, strict=True):
            wanted, single = peer_velocity(peer, clip), pack([clip])
            assert relative_error(unpack(single, dit(single))[0], wanted) <= TOLERANCE
            assert relative_error(packed, wanted) <= TOLERANCE


def test_a_text_of_full_length_needs_no_padding(folder: Callable[..., Path]) -> None:
    dit, clip = load_wan(folder()), tiny_clips()[0]
    full = Clip(clip.latent, clip.sigma, torch.randn(512, 12, generator=torch.Generator().manual_seed(3)))
    packed = pack([full, clip])
    ours = unpack(packed, dit(packed))
    assert relative_error(ours[0], peer_velocity(peer_model(), full)) <= TOLERANCE
    assert relative_error(ours[1], peer_velocity(peer_model(), clip)) <= TOLERANCE


def test_gradients_equal_the_open_models(folder: Callable[..., Path]) -> None:
    """To 1e-3: random weights saturate the softmax, whose small gradients keep few digits in float32."""
    peer, dit, clip = peer_model(), load_wan(folder()), tiny_clips()[0]
    text = torch.zeros(1, 512, 12)
    text[0, : len(clip.text)] = clip.text
    peer(clip.latent[None], torch.tensor([1000 * clip.sigma]), text).sample.square().sum().backward()
    dit(pack([clip])).square().sum().backward()
    wanted = dict(peer.named_parameters())
    for name, parameter in dit.named_parameters():
        assert parameter.grad is not None
        assert relative_error(parameter.grad, wanted[name].grad) < 1e-3, name


def test_rows_are_read_alone_and_as_strictly(folder: Callable[..., Path]) -> None:
    path = folder()
    whole, rows = load_wan(path), read_rows(path)
    for name, value in whole.state_dict().items():
        assert torch.equal(rows(name, slice(1, 3)), value[1:3]), name
    index = {"weight_map": {"proj_out.weight": "gone.safetensors"}}
    (path / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="missing shards"):
        read_rows(path)


def test_bfloat16_weights_answer_as_the_open_model_in_bfloat16(folder: Callable[..., Path]) -> None:
    """Norms, tables and the time embedder stay float32 in both; what remains is the rounding of attention."""
    path = folder()
    dit, clip = load_wan(path, dtype=torch.bfloat16), tiny_clips()[0]
    peer = WanTransformer3DModel.from_pretrained(path, torch_dtype=torch.bfloat16)
    ours = {name: value.dtype for name, value in dit.state_dict().items()}
    assert ours == {name: value.dtype for name, value in peer.state_dict().items()}
    text = torch.zeros(1, 512, 12)
    text[0, : len(clip.text)] = clip.text
    with torch.no_grad():
        wanted = peer(clip.latent[None].bfloat16(), torch.tensor([1000 * clip.sigma]), text.bfloat16()).sample[0]
        packed = pack([clip]).to("cpu", torch.bfloat16)
        rounded = relative_error(unpack(packed, dit(packed))[0], wanted)
    assert rounded < 2e-2


@pytest.mark.parametrize("layout", LAYOUTS)
def test_saved_folders_are_the_peers(layout: str, folder: Callable[..., Path], tmp_path: Path) -> None:
    """Out and back keeps every bit, and diffusers reads what we wrote."""
    dit = load_wan(folder(**LAYOUTS[layout]))
    save_wan(dit, tmp_path, max_shard_bytes=40_000)
    assert (tmp_path / INDEX).is_file()
    peer = WanTransformer3DModel.from_pretrained(tmp_path).state_dict()
    for again in (peer, load_wan(tmp_path).state_dict()):
        assert again.keys() == dit.state_dict().keys()
        assert all(torch.equal(value, again[name]) for name, value in dit.state_dict().items())


def test_one_file_when_the_weights_are_few(tmp_path: Path) -> None:
    dit = tiny_dit(text_padding_len=512)
    save_wan(dit, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", WEIGHTS]
    assert load_wan(tmp_path).config == dit.config


def test_shards_of_diffusers_and_pipeline_folders_are_read(folder: Callable[..., Path], tmp_path: Path) -> None:
    sharded = folder(max_shard_size="50KB")
    assert (sharded / INDEX).is_file()
    shutil.copytree(sharded, tmp_path / "transformer")
    whole = load_wan(folder()).state_dict()
    assert all(torch.equal(value, whole[name]) for name, value in load_wan(tmp_path).state_dict().items())


def test_weights_that_the_open_code_never_reads_are_left_out(folder: Callable[..., Path]) -> None:
    path = folder(**IMAGE)
    weights = load_file(path / WEIGHTS)
    save_file(weights | {"blocks.0.attn2.norm_added_q.weight": torch.ones(48)}, path / WEIGHTS)
    assert load_wan(path).state_dict().keys() == weights.keys()


# --- wrong input: refused before any weight is read


def edit_config(path: Path, **changes: Any) -> None:
    values = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(values | changes))


def cut_shard(path: Path) -> None:
    shard = sorted(path.glob("*.safetensors"))[0]
    shard.write_bytes(shard.read_bytes()[:-100])


def lose_shard(path: Path) -> None:
    sorted(path.glob("*.safetensors"))[0].unlink()


def drop_weight(path: Path) -> None:
    weights = load_file(path / WEIGHTS)
    weights["surplus.weight"] = weights.pop("proj_out.bias")
    save_file(weights, path / WEIGHTS)


FAULTS: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "another architecture": (
        "1GB",
        lambda p: edit_config(p, _class_name="FluxTransformer2DModel"),
        "architecture 'Flux",
    ),
    "unknown config key": ("1GB", lambda p: edit_config(p, window_size=3), r"unknown keys \['window_size'\]"),
    "our own config key": ("1GB", lambda p: edit_config(p, pooled_text=True), r"unknown keys \['pooled_text'\]"),
    "another q/k norm": ("1GB", lambda p: edit_config(p, qk_norm="layer_norm"), "qk_norm = 'layer_norm'"),
    "another width": ("1GB", lambda p: edit_config(p, ffn_dim=44), r"other shapes \['blocks.0.ffn.net.0.proj.bias"),
    "more layers": ("1GB", lambda p: edit_config(p, num_layers=3), r"missing \['blocks.2.attn1.norm_k.weight'"),
    "a weight missing, one too many": (
        "1GB",
        drop_weight,
        r"missing \['proj_out.bias'\], surplus \['surplus.weight'\]",
    ),
    "a config that isn't JSON": ("1GB", lambda p: (p / "config.json").write_text("{"), "can't be read as JSON"),
    "no config": ("1GB", lambda p: (p / "config.json").unlink(), "no config.json there"),
    "no weights": ("1GB", lose_shard, "neither diffusion_pytorch_model.safetensors nor"),
    "a shard missing": ("50KB", lose_shard, r"missing shards \['diffusion_pytorch_model-00001-of"),
    "a shard cut short": ("50KB", cut_shard, "cut short or damaged"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_wrong_folders_are_refused_by_name(fault: str, folder: Callable[..., Path]) -> None:
    shards, spoil, message = FAULTS[fault]
    path = folder(max_shard_size=shards)
    load_wan(path)
    spoil(path)
    with pytest.raises(CheckpointError, match=message):
        load_wan(path)


def test_a_dtype_that_the_device_lacks_is_refused(folder: Callable[..., Path]) -> None:
    with pytest.raises(CheckpointError, match=r"torch.float16 on cpu: choose one of torch.float32, torch.bfloat16"):
        load_wan(folder(), dtype=torch.float16)


def test_neither_folder_nor_hub_id() -> None:
    with pytest.raises(CheckpointError, match="neither a folder nor a hub id"):
        load_wan("no/such model")


@pytest.mark.parametrize("changes", [{}, {"text_padding_len": 512, "pooled_text": True}])
def test_what_the_open_layout_cannot_say_is_not_written(changes: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="save a checkpoint of our own"):
        save_wan(tiny_dit(**changes), tmp_path / "out")
    assert not (tmp_path / "out").exists()
