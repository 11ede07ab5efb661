"""The loss of a pack: noise on clean latents, the model's velocity, how far it is off."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from sora_core import precision as numbers
from sora_core.diffusion import condition, flow
from sora_core.diffusion.condition import Condition
from sora_core.diffusion.flow import ShiftLaw
from sora_core.dit.packing import Clip, Pack, pack, part, patchify
from sora_core.errors import SoraError
from sora_core.nn.transfer import upload
from sora_core.nn.ulysses import share
from sora_core.shapes import LatentShape, Patch
from sora_core.training.draws import Draw
from sora_core.vae.whitening import Whitening

Velocity = Callable[[Pack], Tensor]

_UNSHIFTED = ShiftLaw(1.0)


class NonFiniteLoss(SoraError):
    """A loss or gradient that is infinite or not a number; the weights are as they were before the step."""


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """A clip as the shards hold it: the posterior of its latent, raw, and its text states; so the mean of another
    clip's, which is its reference."""

    clip_id: str
    latent_mean: Float[Tensor, "c t h w"]
    latent_std: Float[Tensor, "c t h w"]
    text: Float[Tensor, "m d"]
    reference: Float[Tensor, "c t2 h2 w2"] | None = None

    def referring_to(self, other: "Example", frames: int) -> "Example":
        """This clip with the first ``frames`` latent frames of another as its reference."""
        return replace(self, reference=other.latent_mean[:, :frames])

    def saying(self, text: Float[Tensor, "m d"]) -> "Example":
        """This clip under another caption."""
        return replace(self, text=text)


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """A noised clip, and the velocity ``(n, p)`` that the model should answer; zeros for its reference."""

    clip: Clip
    target: Float[Tensor, "n p"]


@dataclass(frozen=True, slots=True)
class Objective:
    """What turns an example and a draw into a task.

    ``null_text`` stands in for a dropped caption; ``spread`` is the width of the law of noise levels, before its shift.
    ``clean_share`` of them are drawn without a shift, so that low ones are visited too.
    """

    patch: Patch
    whitening: Whitening
    shift: ShiftLaw
    null_text: Float[Tensor, "m d"]
    spread: float = 1.0
    clean_share: float = 0.0

    def clean(self, example: Example, posterior_seed: int) -> Float[Tensor, "c t h w"]:
        """A whitened latent drawn from the clip's posterior."""
        spread = flow.noise(posterior_seed, example.latent_mean.shape)
        return self.whitening.apply(example.latent_mean.float() + example.latent_std.float() * spread)

    def task(self, example: Example, draw: Draw) -> Task:
        """The clip at the noise level that the draw and the clip's number of tokens make."""
        shape = LatentShape(*example.latent_mean.shape)
        num_tokens = self.patch.grid(shape).num_tokens
        sigma = self._sigma(draw.u, num_tokens)
        latent = self.clean(example, draw.posterior_seed)
        mask = draw.mask(shape, self.patch)
        given = Condition(mask, latent) if bool(mask.any()) else condition.none(*mask.shape)
        text = self.null_text if draw.drop_caption else example.text
        return self.noised(latent, sigma, draw.noise_seed, given, text, example.reference)

    def _sigma(self, u: float, num_tokens: int) -> float:
        """The noise level of a draw: stratified draws stay so in either part of the law."""
        share = self.clean_share
        law, u = (_UNSHIFTED, u / share) if u < share else (self.shift, (u - share) / (1 - share))
        return float(flow.sample_sigma(torch.tensor([u], dtype=torch.float64), [num_tokens], law, self.spread))

    def noised(
        self,
        latent: Float[Tensor, "c t h w"],
        sigma: float,
        noise_seed: int,
        given: Condition,
        text: Tensor,
        reference: Float[Tensor, "c t2 h2 w2"] | None = None,
    ) -> Task:
        """A clean latent as a task at one noise level; a ``reference`` is raw, as `Example` holds it."""
        noise = flow.noise(noise_seed, latent.shape)
        noisy = given.apply(flow.add_noise(latent, noise, sigma))
        references = () if reference is None else (self.whitening.apply(reference.float()),)
        clip = Clip(noisy, given.sigma_tokens(sigma, self.patch), text.float(), references=references)
        targets = [flow.target(latent, noise), *map(torch.zeros_like, references)]
        return Task(clip, torch.cat([patchify(target, self.patch) for target in targets]))


def task_losses(
    velocity: Velocity,
    tasks: Sequence[Task],
    patch: Patch,
    device: torch.device,
    precision: torch.dtype,
    context: tuple[int, int] = (0, 1),
) -> Float[Tensor, " n"]:
    """The loss of each task, all in one packed forward; differentiable. Matrices multiply in ``precision``.

    With ``context`` (index, count) the velocity is asked for one part of the tokens, and what that part adds to each
    loss is returned: the losses are the sums over the parts.
    """
    packed = pack([task.clip for task in tasks], patch).to(device)
    target = upload(torch.cat([task.target for task in tasks]), device)
    own = share(packed.num_tokens, *context)
    with numbers.autocast(device, precision):
        predicted = velocity(packed if context[1] == 1 else part(packed, *context))
    if context[1] > 1:  # elsewhere this part errs by nothing
        predicted = torch.cat((target[: own.start], predicted, target[own.stop :]))
    return flow.clip_losses(predicted, target, packed.sigma, packed.cu_seqlens)
