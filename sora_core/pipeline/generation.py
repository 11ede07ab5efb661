"""What is asked of a pipeline, how far it came, and what it can do."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from sora_core.checkpoint import NUM_STEPS
from sora_core.diffusion.condition import Condition
from sora_core.diffusion.guidance import Guidance
from sora_core.diffusion.multistep import State
from sora_core.diffusion.solvers import Solver
from sora_core.dit.cache import ClipCache
from sora_core.dit.given import GivenStates
from sora_core.dit.model import Context
from sora_core.edits import Canvas, Clip
from sora_core.errors import InputError
from sora_core.shapes import Compression, Patch, PixelShape
from sora_core.training import references

_LATENT = "latent"
MAX_SEED = 2**63


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Request:
    """A video to make. ``guidance_scale`` None is the model's own; ``canvas`` is what is given (`sora_core.edits`).

    ``references`` show its subject: clips of any size, clean and no part of the video (`frames.fit_reference`).

    ``cache_threshold`` above 0 lets steps leave after the first block that change it by less (`sora_core.dit.cache`).
    ``refresh_given_every`` above 1 computes given tokens at every so many steps only (`sora_core.dit.given`); a clip
    with such tokens goes without the feature cache.
    """

    prompt: str
    negative_prompt: str = ""
    num_frames: int
    height: int
    width: int
    num_inference_steps: int = NUM_STEPS
    guidance_scale: float | None = None
    seed: int = 0
    canvas: Canvas | None = None
    references: tuple[Clip, ...] = ()
    cache_threshold: float = 0.0
    refresh_given_every: int = 1

    @property
    def shape(self) -> PixelShape:
        return PixelShape(self.num_frames, self.height, self.width)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a loaded model takes: ``frame_step * k + 1`` frames, sides in multiples, tokens a clip and a side.

    ``given`` are the kinds of given latents that it learned (`sora_core.training.masks`).
    """

    max_tokens: int
    max_side_tokens: int
    multiple_of: int
    frame_step: int
    given: frozenset[str]
    max_steps: int = 200

    def check(self, request: Request, compression: Compression, patch: Patch) -> int:
        """Tokens of the requested clip; InputError that names what is beyond the limits and what would fit."""
        if request.height % self.multiple_of or request.width % self.multiple_of:
            low = [max(side // self.multiple_of, 1) * self.multiple_of for side in (request.width, request.height)]
            raise InputError(
                f"size {request.width}x{request.height}: both sides must be multiples of {self.multiple_of}; "
                f"{low[0]}x{low[1]} would do"
            )
        grid = patch.grid(compression.latent(request.shape, channels=1))
        longest = max(grid.frames, grid.height, grid.width)
        if grid.num_tokens > self.max_tokens or longest > self.max_side_tokens:
            raise InputError(
                f"{request.num_frames} frames of {request.width}x{request.height} are {grid.num_tokens} tokens, "
                f"{longest} along the longest side: this model takes {self.max_tokens} and {self.max_side_tokens}; "
                f"ask for fewer frames or a smaller size"
            )
        if not 0 <= request.seed < MAX_SEED:
            raise InputError(f"seed {request.seed}: give 0 to {MAX_SEED - 1}")
        if not 1 <= request.num_inference_steps <= self.max_steps:
            raise InputError(f"num_inference_steps = {request.num_inference_steps}: give 1 to {self.max_steps}")
        self._check_canvas(request)
        self._check_references(request, compression)
        return grid.num_tokens

    def _check_canvas(self, request: Request) -> None:
        if request.canvas is None:
            return
        if request.canvas.shape != request.shape:
            raise InputError(f"a canvas of {request.canvas.shape} for a video of {request.shape}: make it of that size")
        if not self.given - {references.KIND} and bool(request.canvas.known.any()):
            raise InputError("this model has not learned to keep what is given: leave the image or the video out")

    def _check_references(self, request: Request, compression: Compression) -> None:
        if request.references and references.KIND not in self.given:
            raise InputError("this model was not trained with reference clips: leave the references out")
        if len(request.references) > references.MAX_REFERENCES:
            asked = f"{len(request.references)} references: models learn from {references.MAX_REFERENCES} a clip"
            raise InputError(f"{asked}; leave the others out")
        for clip in request.references:
            frames, height, width = clip.shape[:3]
            longest = compression.pixel_frames(references.MAX_REFERENCE_FRAMES)
            if compression.latent_frames(frames) > references.MAX_REFERENCE_FRAMES:
                raise InputError(f"a reference of {frames} frames: give {longest} or fewer")
            if (
                height % self.multiple_of
                or width % self.multiple_of
                or not 0 < max(height, width) <= self._longest_side
            ):
                raise InputError(
                    f"a reference of {width}x{height}: both sides must be multiples of {self.multiple_of}, "
                    f"at most {self._longest_side}"
                )

    @property
    def _longest_side(self) -> int:
        return self.max_side_tokens * self.multiple_of


@dataclass(slots=True, eq=False)
class Generation:
    """A request on its way from noise to frames. `Pipeline.step` moves it on; nothing else changes it.

    ``uncond`` is None where no step is guided; ``clip_tokens`` are the tokens of the clip, ``reference_tokens`` those
    of its references, which the unconditional branch does without; ``cost`` counts the floating-point operations of
    all steps; ``caches`` are those of both branches, None without a feature cache, as are ``given_states``, None where
    given tokens are computed at every step; ``beside`` are channels that the model sees and that never change.
    """

    request: Request
    latent: Float[Tensor, "c t h w"]
    condition: Condition
    guidance: Guidance
    solver: Solver
    cond: Context
    uncond: Context | None
    references: tuple[Float[Tensor, "c _ _ _"], ...]
    clip_tokens: int
    reference_tokens: int
    cost: float
    caches: tuple[ClipCache | None, ClipCache | None] = (None, None)
    given_states: tuple[GivenStates | None, GivenStates | None] = (None, None)
    beside: Float[Tensor, "m t h w"] | None = None

    @property
    def step(self) -> int:
        """Evaluations done, each a packed forward."""
        return self.solver.evaluation

    @property
    def num_steps(self) -> int:
        return self.solver.num_evaluations

    @property
    def done(self) -> bool:
        return self.solver.done

    @property
    def guided(self) -> bool:
        """Whether the next step needs the unconditional branch too."""
        return not self.done and self.uncond is not None and self.guidance.active(self.solver.sigma)

    @property
    def num_tokens(self) -> int:
        """Tokens that the next step adds to a pack: the clip's, twice when guided, and its references'."""
        return self.clip_tokens * (2 if self.guided else 1) + self.reference_tokens

    @property
    def tokens_left_out(self) -> int:
        """Tokens that the feature cache has spared the deep blocks so far, counted once a step."""
        branches = zip(self.caches, (self.clip_tokens + self.reference_tokens, self.clip_tokens), strict=True)
        return sum(tokens * cache.num_left_out for cache, tokens in branches if cache is not None)

    def state(self) -> State:
        """A copy, on the CPU, of how far it came; `Pipeline.resume` goes on from there, bit for bit.

        A feature cache and states of given tokens are no part of it: the first step after it runs whole.
        """
        state = self.solver.state() | {_LATENT: self.latent}
        return {name: value.detach().to("cpu", copy=True).contiguous() for name, value in state.items()}

    def restore(self, state: State) -> None:
        """Go on where another generation of the same request was."""
        moved = {name: value.to(self.latent.device) for name, value in state.items()}
        self.latent = moved.pop(_LATENT)
        self.solver.restore(moved)
