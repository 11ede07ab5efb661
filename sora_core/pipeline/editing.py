"""An edit from its sources to its film, in one call; a server does the same, window by window."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import UInt8

from sora_core.edits import (
    Canvas,
    Clip,
    Edit,
    Keyframes,
    Plan,
    Transition,
    assemble,
    make_canvas,
    plan_windows,
    settle,
)
from sora_core.pipeline.frames import fit_frames
from sora_core.pipeline.generation import MAX_SEED, Request
from sora_core.pipeline.pipeline import Pipeline
from sora_core.shapes import PixelShape


def edit(
    pipeline: Pipeline,
    asked: Edit,
    sources: Sequence[Clip],
    prompt: str,
    *,
    num_inference_steps: int | None = None,
    guidance_scale: float | None = None,
    negative_prompt: str = "",
    seed: int = 0,
    refresh_given_every: int = 1,
    reference: Clip | None = None,
) -> UInt8[np.ndarray, "t h w 3"]:
    """The film of an edit, whose subject a ``reference`` may show. InputError, before any work, for what the model
    can't do."""
    fitted = fit_sources(asked, sources)
    plan = plan_windows(asked, [PixelShape(*source.shape[:3]) for source in fitted], pipeline.room)
    request = Request(
        prompt=prompt,
        negative_prompt=negative_prompt,
        num_frames=plan.film.frames,
        height=plan.film.height,
        width=plan.film.width,
        num_inference_steps=num_inference_steps or pipeline.sampling.num_inference_steps,
        guidance_scale=guidance_scale,
        seed=seed,
        refresh_given_every=refresh_given_every,
        references=()
        if reference is None
        else (pipeline.fit_reference(reference, plan.film.height * plan.film.width),),
    )
    made: list[Clip] = []
    for index in range(len(plan.windows)):
        canvas = make_canvas(plan, index, fitted, made)
        generation = pipeline.start(window_request(request, plan, index, canvas))
        while not generation.done:
            pipeline.step([generation])
        made.append(settle(canvas, pipeline.decode(generation)))
    return np.stack(list(assemble(plan, fitted, made)))


def fit_sources(asked: Edit, sources: Sequence[Clip]) -> list[Clip]:
    """Stills at their film's size, and the second clip of a transition at that of the first; others as they are."""
    if isinstance(asked, Keyframes):
        return [fit_frames(source, asked.film.height, asked.film.width) for source in sources]
    if isinstance(asked, Transition):
        return [fit_frames(source, *sources[0].shape[1:3]) for source in sources]
    return list(sources)


def window_request(request: Request, plan: Plan, index: int, canvas: Canvas) -> Request:
    """What is asked of the pipeline for a window; each has noise of its own."""
    shape = plan.windows[index].shape
    return replace(
        request,
        num_frames=shape.frames,
        height=shape.height,
        width=shape.width,
        seed=(request.seed + index) % MAX_SEED,
        canvas=canvas,
    )
