"""Low-rank adapters (Hu et al. 2021) by peft: a few factors learn, the weights that they correct stay as they are.

peft takes seconds to import, so it is imported where an adapter is asked for.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from sora_core.errors import ConfigError

_NAME = "default"
_BASE, _FACTOR = ".base_layer.", ".lora_"


@dataclass(frozen=True, slots=True)
class LoraRules:
    """The rank of the factors, what their product is scaled by (``alpha / rank``), and the ends of the names of the
    linear maps that get them."""

    rank: int
    alpha: float
    targets: tuple[str, ...]

    def _peft(self) -> Any:
        from peft import LoraConfig

        return LoraConfig(r=self.rank, lora_alpha=self.alpha, target_modules=list(self.targets), lora_dropout=0.0)


def add_adapter(model: nn.Module, rules: LoraRules, seed: int) -> None:
    """Put factors beside the targeted maps of a model, in place; the model computes what it did before.

    Nothing but the factors needs gradients then. ConfigError when no map has such a name.
    """
    from peft import inject_adapter_in_model

    names = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    missing = [target for target in rules.targets if not any(f".{name}".endswith(f".{target}") for name in names)]
    if missing:
        ends = sorted({name.split(".", 2)[-1] if name.startswith("blocks.") else name for name in names})
        raise ConfigError(f"lora.targets {missing}: no linear map is called so; they are {', '.join(ends)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(rules._peft(), model, adapter_name=_NAME)


def has_adapter(model: nn.Module) -> bool:
    """Whether `add_adapter` has been here."""
    return any(_FACTOR in name for name, _ in model.named_parameters())


def base_weights(model: nn.Module) -> dict[str, Tensor]:
    """The weights without the adapter, under the names that they had."""
    return {
        name.replace(_BASE, "."): value.detach()
        for name, value in model.state_dict(keep_vars=True).items()
        if _FACTOR not in name
    }


@torch.no_grad()
def merged_weights(model: nn.Module, factors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The model's weights with these factors multiplied out and added, on the CPU, under their plain names.

    ``factors`` are values for the parameters of the adapter, such as their averages.
    """
    weights = {name: value.cpu() for name, value in base_weights(model).items()}
    for path, scale in _adapted(model):
        down, up = (factors[f"{path}{_FACTOR}{side}.{_NAME}.weight"].cpu().float() for side in "AB")
        name = f"{path}.weight"
        weights[name] = (weights[name].float() + scale * (up @ down)).to(weights[name].dtype)
    return weights


def _adapted(model: nn.Module) -> Iterator[tuple[str, float]]:
    """The name of each map that has factors, and what their product is scaled by."""
    from peft.tuners.lora import LoraLayer

    for name, module in model.named_modules():
        if isinstance(module, LoraLayer):
            yield name, float(module.scaling[_NAME])


def save_adapter(folder: Path, rules: LoraRules, factors: Mapping[str, Tensor]) -> None:
    """Write factors in peft's own format: ``PeftModel.from_pretrained(base, folder)`` reads them."""
    folder.mkdir(parents=True, exist_ok=True)
    rules._peft().save_pretrained(str(folder))
    named = {
        f"base_model.model.{name.replace(f'.{_NAME}.', '.')}": value.detach().cpu().contiguous()
        for name, value in factors.items()
    }
    save_file(named, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    save_file(for_pipelines(rules, factors), folder / "pytorch_lora_weights.safetensors", metadata={"format": "pt"})


def for_pipelines(rules: LoraRules, factors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Factors under the names by which diffusers' ``load_lora_weights`` finds them.

    It scales by alpha / rank only where it is told of an alpha, so the scale lies in the second factor.
    """
    scale = rules.alpha / rules.rank
    return {
        f"transformer.{name.replace(f'.{_NAME}.', '.')}": (value * scale if f"{_FACTOR}B." in name else value)
        .detach().cpu().contiguous()
        for name, value in factors.items()
    }  # fmt: skip
