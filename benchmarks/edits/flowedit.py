"""FlowEdit (Kulikov et al. 2024), an editing of video by prompt without inversion: the peer of restyling by SDEdit."""

import itertools

import torch

from sora_core.diffusion import flow
from sora_core.diffusion.guidance import guide
from sora_core.diffusion.solvers import sigmas
from sora_core.dit.model import Context
from sora_core.dit.packing import Clip as PackedClip
from sora_core.dit.packing import pack, unpack
from sora_core.edits import Clip
from sora_core.pipeline import Pipeline
from sora_core.pipeline.frames import to_frames, to_video


@torch.no_grad()
def flow_edit(
    pipe: Pipeline, frames: Clip, source: str, target: str, *, strength: float, scales: tuple[float, float],
    num_steps: int, seed: int,
) -> Clip:  # fmt: skip
    """The frames moved along the difference of the velocities that both prompts have, from the same noise.

    ``scales`` are the guidance towards the source's and the target's prompt. Four branches a step.
    """
    clean = pipe.whitening.apply(pipe.vae.encode(to_video(frames)[None]).mean[0]).float()
    edited = clean.clone()
    prompts = pipe.text_encoder.encode([source, target, ""])
    texts = [pipe.dit.context(text) for text in prompts]
    contexts = Context.join([texts[0], texts[2], texts[1], texts[2]])
    num_tokens = clean[0].numel() // 4
    levels = sigmas(num_steps, pipe.sampling.shift.shift_for(num_tokens), strength).tolist()
    no_text = clean.new_zeros(0, pipe.dit.config.text_dim)
    for number, (now, after) in enumerate(itertools.pairwise(levels)):
        noisy = flow.add_noise(clean, flow.noise(seed * 1000 + number, clean.shape), now)
        moved = edited + noisy - clean
        clips = [PackedClip(latent, now, no_text) for latent in (noisy, noisy, moved, moved)]
        packed = pack(clips, pipe.dit.config.patch)
        from_source, no_source, to_target, no_target = unpack(packed, pipe.dit(packed, contexts).float())
        velocity = guide(to_target, no_target, scales[1]) - guide(from_source, no_source, scales[0])
        edited = edited + (after - now) * velocity
    return to_frames(pipe.vae.decode(pipe.whitening.invert(edited)[None])[0])
