"""ST-LPIPS: the shift-tolerant learned perceptual distance (Ghildyal & Liu, ECCV 2022) on our own layers.

The calibrated weights come from the PyPI package ``stlpips_pytorch`` and stay there: they measure and train, and
nothing of them ships. Only its weight files are read, because importing the package wants torchvision and IPython.
"""

import importlib.util
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sora_core.errors import InputError

Backbone = Literal["alex", "vgg"]

# Stages, each ending where features are compared: "p" pools (3x3, stride 1), "b<i>" blurs with filter i and halves,
# "c<i>:<n>" is convolution i padded by n, "r" rectifies. The numbers i are those of the published weights.
_STAGES: dict[Backbone, tuple[tuple[str, ...], ...]] = {
    "alex": (
        ("c0:2", "b1", "r"),
        ("p", "b4", "c5:2", "r"),
        ("p", "b8", "c9:1", "r"),
        ("c11:1", "r"),
        ("c13:1", "r"),
    ),
    "vgg": (
        ("c0:1", "r", "c2:1", "r"),
        ("p", "b5", "c6:1", "r", "c8:1", "r"),
        ("p", "b11", "c12:1", "r", "c14:1", "r", "c16:1", "r"),
        ("p", "b19", "c20:1", "r", "c22:1", "r", "c24:1", "r"),
        ("p", "b27", "c28:1", "r", "c30:1", "r", "c32:1", "r"),
    ),
}


class PerceptualDistance(nn.Module):
    """Distance of two pictures as calibrated features see them; 0 for equal pictures, about .1 for a good codec."""

    def __init__(self, backbone: Backbone = "alex") -> None:
        super().__init__()
        self.stages = _STAGES[backbone]
        for name, tensor in _weights(backbone).items():
            self.register_buffer(name.replace(".", "_"), tensor, persistent=False)

    def forward(self, a: Float[Tensor, "n 3 h w"], b: Float[Tensor, "n 3 h w"]) -> Float[Tensor, " n"]:
        """Distances, one a picture pair, of pictures in [-1, 1] with sides of 48 pixels or more."""
        distance = a.new_zeros(len(a))
        x = torch.cat((a, b))
        x = (x - self.get_buffer("scaling_layer_shift")) / self.get_buffer("scaling_layer_scale")
        for number, stage in enumerate(self.stages):
            x = self._stage(x, number + 1, stage)
            features = x * torch.rsqrt(x.square().sum(1, keepdim=True) + 1e-10)
            difference = (features[: len(a)] - features[len(a) :]).square()
            distance = distance + F.conv2d(difference, self.get_buffer(f"lin{number}_model_1_weight")).mean((1, 2, 3))
        return distance

    def _stage(self, x: Tensor, number: int, layers: tuple[str, ...]) -> Tensor:
        for layer in layers:
            name = f"net_slice{number}_{layer[1:].split(':')[0]}"
            if layer == "r":
                x = F.relu(x)
            elif layer == "p":
                x = F.max_pool2d(x, 3, stride=1)
            elif layer[0] == "b":
                x = F.pad(x, (2, 2, 2, 2), mode="reflect")
                x = F.conv2d(x, self.get_buffer(f"{name}_filt"), stride=2, groups=x.shape[1])
            else:
                weight, bias = self.get_buffer(f"{name}_weight"), self.get_buffer(f"{name}_bias")
                x = F.conv2d(x, weight, bias, padding=int(layer.split(":")[1]))
        return x


def _weights(backbone: Backbone) -> dict[str, Tensor]:
    spec = importlib.util.find_spec("stlpips_pytorch")
    if spec is None or spec.origin is None:
        raise InputError(
            "the perceptual distance takes its weights from a package that is missing: "
            "pip install --no-deps stlpips_pytorch==0.0.2"
        )
    path = Path(spec.origin).parent / "weights" / "vST0.0" / f"{backbone}_shift_tolerant.pth"
    weights: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return weights
