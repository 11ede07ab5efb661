"""A loaded model: text encoder, transformer and autoencoder, and the sampling that joins them."""

from collections.abc import Iterator, Sequence
from typing import TypedDict

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from sora_core.diffusion import condition, flow
from sora_core.diffusion.condition import Condition
from sora_core.diffusion.guidance import Guidance, guide
from sora_core.diffusion.multistep import State
from sora_core.diffusion.solvers import make_solver, sigmas
from sora_core.dit.cache import ClipCache
from sora_core.dit.cost import flops
from sora_core.dit.given import GivenStates
from sora_core.dit.model import Context
from sora_core.dit.packing import Clip, pack, unpack
from sora_core.edits import Canvas, Room, first_frame, latent_mask
from sora_core.errors import InputError
from sora_core.pipeline.decoding import FrameDecoder
from sora_core.pipeline.frames import fit_frames, to_video
from sora_core.pipeline.generation import Generation, Limits, Request
from sora_core.pipeline.open_weights import load_open_weights, opened
from sora_core.pipeline.parts import EXTRAPOLATION, Parts, load_checkpoint
from sora_core.shapes import LatentShape, fit_area
from sora_core.training.references import MAX_REFERENCE_FRAMES


class _Kept(TypedDict, total=False):
    caches: tuple[ClipCache, ClipCache]
    given_states: tuple[GivenStates, GivenStates]


class Pipeline:
    """Makes videos with one model; `load` it, then call it, or `start`, `step` and `decode` requests together."""

    def __init__(self, parts: Parts, device: str = "cpu") -> None:
        """``parts`` lie on ``device`` already."""
        self.name = parts.name
        self.weights = parts.weights
        self.fps = parts.fps
        self.dit = parts.dit.eval().requires_grad_(False)
        self.vae = parts.vae
        self.text_encoder = parts.text_encoder
        self.whitening = parts.whitening
        self.sampling = parts.sampling
        self.shown = parts.shown
        self.device = device
        self.frames = FrameDecoder(parts.name, parts.vae, parts.whitening, device)
        patch, compression = self.dit.config.patch, self.vae.compression
        multiple_of = compression.space * max(patch.height, patch.width)
        sides = self.dit.config.rope_max_seq_len
        self.limits = Limits(parts.max_tokens, sides, multiple_of, compression.time, parts.given)

    @property
    def origin(self) -> dict[str, str]:
        """What its unfinished latents are tied to: these weights, and the space in which they were trained."""
        return {"weights": f"{self.name}@{self.weights}"} | self.frames.origin

    @property
    def weights_bytes(self) -> int:
        """What the weights of all its parts take in memory."""
        own = sum(value.numel() * value.element_size() for value in self.dit.parameters())
        return own + self.vae.weights_bytes + self.text_encoder.weights_bytes

    @classmethod
    def load(cls, uri: str, device: str | None = None) -> "Pipeline":
        """The model at a checkpoint's URI (``.../checkpoints/step-<n>``), or the newest of a run's.

        Also open Wan weights in the diffusers layout, by folder, s3:// URI or hub id. ``device`` None
        is the first CUDA device, else the CPU. CheckpointError when the model can't be read, FingerprintMismatch when
        its autoencoder or text encoder is another than it was trained with.
        """
        chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
        with opened(uri) as folder:
            parts = load_checkpoint(uri, chosen) if folder is None else load_open_weights(folder, uri, chosen)
        return cls(parts, chosen)

    def __call__(
        self,
        prompt: str,
        *,
        num_frames: int,
        height: int,
        width: int,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        seed: int = 0,
        image: UInt8[np.ndarray, "hi wi 3"] | None = None,
        reference: UInt8[np.ndarray, "tr hr wr 3"] | None = None,
        negative_prompt: str = "",
        cache_threshold: float = 0.0,
    ) -> UInt8[np.ndarray, "t h w 3"]:
        """One video; ``image``, cut to its size, becomes the first frame, and the ``reference`` shows its subject.

        Steps and guidance are the model's own unless given.

        InputError for what the model can't do.
        """
        canvas = None if image is None else first_frame(fit_frames(image[None], height, width)[0], num_frames)
        generation = self.start(
            Request(
                prompt=prompt,
                negative_prompt=negative_prompt,
                num_frames=num_frames,
                height=height,
                width=width,
                num_inference_steps=num_inference_steps or self.sampling.num_inference_steps,
                guidance_scale=guidance_scale,
                seed=seed,
                canvas=canvas,
                references=() if reference is None else (self.fit_reference(reference, height * width),),
                cache_threshold=cache_threshold,
            )
        )
        while not generation.done:
            self.step([generation])
        return self.decode(generation)

    @torch.no_grad()
    def start(self, request: Request) -> Generation:
        """The request at its first noise level. InputError before any compute for what the model can't do."""
        num_tokens = self.limits.check(request, self.vae.compression, self.dit.config.patch)
        shape = self.vae.compression.latent(request.shape, self.vae.channels)
        scale = self.sampling.guidance_scale if request.guidance_scale is None else request.guidance_scale
        guidance = Guidance(scale)
        prompts = [request.prompt] if guidance.scale == 1 else [request.prompt, request.negative_prompt]
        texts = self.text_encoder.encode(prompts)
        image, beside = self._show(request.canvas)
        contexts = [self.dit.context(text.to(self.device, self._dtype), image) for text in texts]
        given = self._condition(request.canvas, shape)
        strength = 1.0 if request.canvas is None else request.canvas.strength
        levels = sigmas(request.num_inference_steps, self.sampling.shift.shift_for(num_tokens), strength)
        solver = make_solver(self.sampling.solver, levels)
        patch = self.dit.config.patch
        references = tuple(self._encode(clip) for clip in request.references)
        added = sum(patch.grid(LatentShape(*reference.shape)).num_tokens for reference in references)
        lengths = [num_tokens + added, num_tokens][: len(texts)]
        work = flops(self.dit.config, lengths, [len(text) for text in texts])
        return Generation(
            request=request,
            latent=given.begin(flow.noise(request.seed, shape.as_tuple()).to(self.device), solver.sigma),
            condition=given,
            guidance=guidance,
            solver=solver,
            cond=contexts[0],
            uncond=contexts[1] if len(contexts) == 2 else None,
            references=references,
            clip_tokens=num_tokens,
            reference_tokens=added,
            cost=work * solver.num_evaluations,
            **_kept(request, bool(given.mask.any()) or bool(references)),
            beside=beside,
        )

    def resume(self, request: Request, state: State) -> Generation:
        """The request where the generation was whose `Generation.state` this is."""
        generation = self.start(request)
        generation.restore(state)
        return generation

    @torch.no_grad()
    def step(self, generations: Sequence[Generation]) -> None:
        """Move each on by one evaluation, all in one packed forward: any mix of shapes, steps and guidance.

        InputError when one is done already.
        """
        if any(generation.done for generation in generations):
            raise InputError("a generation that is done can't be stepped: decode it and leave it out")
        clips: list[Clip] = []
        contexts: list[Context] = []
        caches: list[ClipCache | None] = []
        states: list[GivenStates | None] = []
        for generation in generations:
            branches = [(generation.cond, generation.references)]
            if generation.guided and generation.uncond is not None:
                branches.append((generation.uncond, ()))
            clips += [self._clip(generation, references) for _, references in branches]
            contexts += [context for context, _ in branches]
            caches += generation.caches[: len(branches)]
            states += generation.given_states[: len(branches)]
        packed = pack(clips, self.dit.config.patch).to(self.device, self._dtype)
        velocities = iter(unpack(packed, self.dit(packed, Context.join(contexts), caches, states).float()))
        for generation in generations:
            velocity = next(velocities)
            if generation.guided:
                guidance = generation.guidance
                velocity = guide(velocity, next(velocities), guidance.scale, guidance.rescale)
            moved = generation.solver.step(generation.latent, velocity)
            generation.latent = generation.condition.apply(moved)

    def decode(self, generation: Generation) -> UInt8[np.ndarray, "t h w 3"]:
        """All frames of a generation that is done."""
        return np.concatenate(list(self.decode_stream(generation)))

    def decode_stream(self, generation: Generation) -> Iterator[UInt8[np.ndarray, "t h w 3"]]:
        """Its frames as the autoencoder makes them, a latent frame at a time. InputError when it isn't done."""
        if not generation.done:
            raise InputError(
                f"step {generation.step} of {generation.num_steps}: only a generation that is done can be decoded"
            )
        yield from self.frames.stream(generation.latent)

    def fit_reference(self, frames: UInt8[np.ndarray, "t h w 3"], area: int) -> UInt8[np.ndarray, "_ _ _ 3"]:
        """The beginning of a clip, or a still, as a reference of at most ``area`` pixels a frame, never stretched."""
        most = self.vae.compression.pixel_frames(MAX_REFERENCE_FRAMES)
        fit = fit_area(frames.shape[1], frames.shape[2], area, self.limits.multiple_of)
        return fit_frames(frames[: self.vae.compression.trim_frames(min(len(frames), most))], fit.height, fit.width)

    @property
    def room(self) -> Room:
        """What one window of an edit holds."""
        most = self.limits.max_tokens
        return Room(
            compression=self.vae.compression,
            patch=self.dit.config.patch,
            usual_tokens=most // EXTRAPOLATION,
            max_tokens=most,
            max_side_tokens=self.limits.max_side_tokens,
            given=self.limits.given,
        )

    @property
    def _dtype(self) -> torch.dtype:
        return self.dit.proj_out.weight.dtype

    def _clip(self, generation: Generation, references: tuple[Tensor, ...]) -> Clip:
        """The clip as the next forward sees it; its text is in the context already."""
        sigma = generation.condition.sigma_tokens(generation.solver.sigma, self.dit.config.patch)
        no_text = generation.latent.new_zeros(0, self.dit.config.text_dim)
        beside = generation.beside
        latent = generation.latent if beside is None else torch.cat([generation.latent, beside])
        return Clip(latent, sigma, no_text, references=references)

    def _show(self, canvas: Canvas | None) -> tuple[Float[Tensor, "k e"] | None, Float[Tensor, "m t h w"] | None]:
        """The image tokens and the channels of what the model sees beside the noise."""
        if self.shown is None:
            return None, None
        seen = self.shown.check(canvas)
        tokens = self.shown.tokens(seen).to(self.device, self._dtype)
        return tokens, self.shown.channels(seen, self.vae.compression, self._encode_video)

    def _condition(self, canvas: Canvas | None, shape: LatentShape) -> Condition:
        """What of the latents is given. Of a canvas that starts from noise only the beginning is encoded that holds
        known parts: later frames never change earlier latents."""
        if canvas is None:
            return condition.none(shape.frames, shape.height, shape.width)
        known = canvas.known if self.shown is None else np.zeros_like(canvas.known)
        mask = torch.from_numpy(latent_mask(known, self.vae.compression, self.dit.config.patch))
        if canvas.strength < 1:
            latent = self._encode(canvas.frames)
            return Condition(mask, latent, start=latent)
        if not bool(mask.any()):
            return Condition(mask)
        count = int(mask.any(2).any(1).nonzero().max()) + 1
        given = torch.zeros(shape.as_tuple(), device=self.device)
        given[:, :count] = self._encode(canvas.frames[: self.vae.compression.pixel_frames(count)])
        return Condition(mask, given)

    def _encode(self, frames: UInt8[np.ndarray, "t h w 3"]) -> Float[Tensor, "c k i j"]:
        return self._encode_video(to_video(frames))

    def _encode_video(self, video: Float[Tensor, "3 f i j"]) -> Float[Tensor, "c t h w"]:
        latent: Tensor = self.whitening.apply(self.vae.encode(video[None].to(self.device)).mean[0]).float()
        return latent


def _kept(request: Request, has_given: bool) -> _Kept:
    """What is kept from step to step of each of a request's two branches."""
    if has_given and request.refresh_given_every > 1:
        every = request.refresh_given_every
        return {"given_states": (GivenStates(every), GivenStates(every))}
    if request.cache_threshold > 0:
        return {"caches": (ClipCache(request.cache_threshold), ClipCache(request.cache_threshold))}
    return {}
