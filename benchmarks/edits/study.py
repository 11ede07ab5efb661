"""Every edit, measured on the controlled world and on real footage that the model never saw.

``python -m benchmarks.edits.study`` measures what ``docs/scaling/edits.json`` lacks with the model of
``benchmarks.edits.model``, a few minutes of one core, and prints it; ``--only extend loop`` measures these again.
"""

import argparse
import itertools
import json
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import torch

from benchmarks.edits.cases import NUM_SCENES, Case, cases
from benchmarks.edits.flowedit import flow_edit
from benchmarks.edits.footage import HELD_OUT, LONG, WINDOW, named, new_name, read
from benchmarks.edits.measures import jump, kept_identity, psnr, through_mp4
from benchmarks.edits.model import load
from benchmarks.scaling.judge import NUM_STEPS
from benchmarks.scaling.results import Results
from sora_core.edits import (
    Clip,
    Edit,
    Extend,
    Interpolate,
    Keyframes,
    Loop,
    Outpaint,
    Region,
    Repaint,
    Restyle,
    Transition,
    make_canvas,
    plan_windows,
    settle,
)
from sora_core.pipeline import Pipeline, edit
from sora_core.pipeline.frames import to_frames, to_video
from sora_core.precision import autocast, fast_dtype
from sora_core.shapes import PixelShape
from sora_core.vae.metrics import ssim
from sora_core.world.looks import objects
from sora_core.world.readback import read as look
from sora_core.world.readback import score
from sora_core.world.render import render
from sora_core.world.scene import Attributes
from sora_core.world.words import caption

logger = logging.getLogger(__name__)

CRF = 18  # as videos are served
SIZE = PixelShape(WINDOW, 64, 64)
NEW = LONG - WINDOW
EXTENSIONS = 5
_OPPOSITE = {"left": "right", "right": "left", "up": "down", "down": "up"}
REFRESHED = (2, 4, NUM_STEPS)
STRENGTHS = (0.1, 0.2, 0.3, 0.5, 0.7)
Numbers = dict[str, list[float]]


class Editor:
    """Runs edits; each has a seed of its own."""

    def __init__(self, pipe: Pipeline) -> None:
        self.pipe = pipe
        self._seed = 0

    def __call__(self, asked: Edit, sources: Sequence[Clip], prompt: str) -> Clip:
        self._seed += 1
        return edit(self.pipe, asked, sources, prompt, num_inference_steps=NUM_STEPS, seed=self._seed)


def _hits(found: Numbers, film: Clip, truth: Attributes, names: Sequence[str]) -> None:
    hits = score(look(film), truth)
    for name in names:
        found[name].append(float(hits[name]))


def text(run: Editor, found: Numbers) -> None:
    for case in cases():
        film = run.pipe(case.prompt, num_frames=WINDOW, height=64, width=64, num_inference_steps=NUM_STEPS, seed=1)
        _hits(found, film, case.scene.attributes, ("colour", "shape", "background", "direction"))


def image(run: Editor, found: Numbers) -> None:
    """The first frame says colour, shape and ground; the direction comes from the prompt alone."""
    for case in cases():
        film = run(Keyframes((0,), SIZE), [case.source[:1]], case.prompt)
        found["given pixels changed"].append(float((film[0] != case.source[0]).sum()))
        found["seam"].append(jump(film, 1, case.source))
        _hits(found, film[1:], case.scene.attributes, ("colour", "shape", "background", "direction"))


def ends(run: Editor, found: Numbers) -> None:
    """First and last frame given: what lies between is compared with the truth there."""
    for case in cases():
        film = run(Keyframes((0, WINDOW - 1), SIZE), [case.source[:1], case.source[-1:]], case.prompt)
        found["given pixels changed"].append(float((film[[0, -1]] != case.source[[0, -1]]).sum()))
        found["seam"] += [jump(film, 1, case.source), jump(film, WINDOW - 1, case.source)]
        _identity(found, film, case.source)


def extend(run: Editor, found: Numbers) -> None:
    for case in cases():
        film = run(Extend(NEW), [case.source], case.prompt)
        found["given pixels changed"].append(float((film[:WINDOW] != case.source).sum()))
        found["seam"].append(jump(film, WINDOW, case.source))
        found["seam, of the new part's own change"].append(jump(film, WINDOW, film[WINDOW:]))
        _hits(found, film[WINDOW:], case.scene.attributes, ("colour", "shape", "background", "direction"))
        _identity(found, film[WINDOW:], case.frames[WINDOW:])


def extend_back(run: Editor, found: Numbers) -> None:
    for case in cases():
        end = case.frames[NEW:]
        film = run(Extend(NEW, "backward"), [end], case.prompt)
        found["given pixels changed"].append(float((film[NEW:] != end).sum()))
        found["seam"].append(jump(film, NEW, end))
        _hits(found, film[:NEW], case.scene.attributes, ("colour", "shape", "background", "direction"))
        _identity(found, film[:NEW], case.frames[:NEW])


def loop(run: Editor, found: Numbers) -> None:
    """The way back, by a prompt that says so: a turn, which no training clip shows."""
    for case in cases():
        told = case.scene.attributes
        assert told.direction is not None
        film = run(Loop(8), [case.source], caption(replace(told, direction=_OPPOSITE[told.direction])))
        found["given pixels changed"].append(float((film[:WINDOW] != case.source).sum()))
        found["seam"].append(jump(film, WINDOW, case.source))
        found["closure"].append(jump(film, 0, case.source))
        found["closure without the loop"].append(jump(case.source, 0, case.source))
        _hits(found, film[WINDOW:], case.scene.attributes, ("colour", "background"))
        of_text = run(Loop(8, SIZE), [], case.prompt)
        found["closure, from text"].append(jump(of_text, 0, of_text[:WINDOW]))


def transition(run: Editor, found: Numbers) -> None:
    all_cases = cases()
    for case, after in itertools.pairwise(all_cases):
        film = run(Transition(8), [case.source, after.source], f"{case.prompt}, then {after.prompt}")
        both = np.concatenate([case.source, after.source])
        found["seam"] += [jump(film, WINDOW, case.source), jump(film, WINDOW + 8, after.source)]
        found["cut without it"].append(jump(both, WINDOW, case.source))
        found["largest step between"].append(max(jump(film, at, case.source) for at in range(WINDOW, WINDOW + 9)))


def interpolate(run: Editor, found: Numbers) -> None:
    """Every second frame is left out and made again; PSNR of those against the truth."""
    for case in cases():
        slow = case.source
        for strength in (0.05, 0.1, 0.2, 0.4):
            film = run(Interpolate(2, strength), [slow[::2]], case.prompt)
            found[f"dB at strength {strength}"].append(psnr(film[1::2], slow[1::2]))
        blend = ((slow[:-1:2].astype(np.float32) + slow[2::2]) / 2).round().astype(np.uint8)
        found["dB of a blend"].append(psnr(blend, slow[1::2]))


def restyle(run: Editor, found: Numbers) -> None:
    """Asked for: another colour, shape and ground in the same place; off: how far the object is from its place."""
    for number, case in enumerate(cases()):
        wanted, names = case.other(), ("colour", "background", "shape", "direction")
        for strength in STRENGTHS:
            film = run(Restyle(strength), [case.source], caption(wanted))
            _followed(found, f"SDEdit {strength}", film, case.source, wanted, names)
        for strength, scales in (*((one, (1.0, 1.5)) for one in STRENGTHS), (0.3, (1.5, 4.0))):
            film = flow_edit(
                run.pipe, case.source, case.prompt, caption(wanted), strength=strength, scales=scales,
                num_steps=NUM_STEPS, seed=number,
            )  # fmt: skip
            label = f"FlowEdit {strength}, guidance {scales[0]:g} and {scales[1]:g}"
            _followed(found, label, film, case.source, wanted, names)


def repaint(run: Editor, found: Numbers) -> None:
    """The box that the object is ever in is freed; asked for: another object on the same ground."""
    for case in cases(still=True):
        rows, columns = (np.flatnonzero(objects(case.source).any(axis=axes)) for axes in ((0, 2), (0, 1)))
        top, left = max(0, int(rows[0]) - 2), max(0, int(columns[0]) - 2)
        height, width = min(64, int(rows[-1]) + 3) - top, min(64, int(columns[-1]) + 3) - left
        told = case.scene.attributes
        wanted = replace(case.other(), background=told.background, direction="still")
        film = run(Repaint((Region(0, WINDOW, top, left, height, width),)), [case.source], caption(wanted))
        outside = np.ones(film.shape[:3], bool)
        outside[:, top : top + height, left : left + width] = False
        found["pixels changed outside"].append(float((film != case.source)[outside].sum()))
        found["dB outside, in the mp4"].append(psnr(through_mp4(film, 8, CRF), case.source, outside))
        found["dB of the source in an mp4"].append(psnr(through_mp4(case.source, 8, CRF), case.source, outside))
        _hits(found, film, wanted, ("colour", "shape", "background"))


def outpaint(run: Editor, found: Numbers) -> None:
    """A column of 32 pixels of a wider scene is given, and grown to 64 again."""
    for case in cases():
        source = case.source[:, :, 16:48]
        film = run(Outpaint(64, 64, 0, 16), [source], case.prompt)
        found["given pixels changed"].append(float((film[:, :, 16:48] != source).sum()))
        edges = np.abs(np.diff(film.astype(np.float32), axis=2)).mean(axis=(0, 1, 3))
        found["seam, of the step between columns"] += [float(edges[at] / edges[16:47].mean()) for at in (15, 47)]
        _hits(found, film, case.scene.attributes, ("colour", "background"))


def drift(run: Editor, found: Numbers) -> None:
    """Five extensions in a row of a scene that stays still: the truth is the same for ever."""
    for case in cases(still=True)[: NUM_SCENES // 2]:
        film = case.source
        for number in range(EXTENSIONS):
            film = run(Extend(12), [film], case.prompt)
            new = film[-12:]
            truth = np.repeat(case.source[:1], 12, axis=0)
            for name, value in kept_identity(new, truth).items():
                found[f"{name}, extension {number + 1}"].append(value)


def character(run: Editor, found: Numbers) -> None:
    """The prompt says a name that no training saw, a ground and a direction; the object is shown elsewhere, or not."""
    size = {"num_frames": WINDOW, "height": 64, "width": 64, "num_inference_steps": NUM_STEPS}
    for number, case in enumerate(cases()):
        told, elsewhere = case.scene.attributes, case.elsewhere()
        prompt = named(told, new_name(np.random.default_rng(number)))
        shown = render(elsewhere)
        for label, reference in (("a clip", shown), ("a still", shown[:1]), ("nothing", None)):
            part: Numbers = defaultdict(list)
            film = run.pipe(prompt, **size, seed=number, reference=reference)
            _hits(part, film, told, ("colour", "shape", "background", "direction"))
            hits = score(look(film), elsewhere.attributes)
            part["the reference's ground"].append(float(hits["background"]))
            part["the reference's direction"].append(float(hits["direction"]))
            identity = kept_identity(film, shown)
            for what in ("hue off, degrees", "outline", "lost"):
                part[what].append(identity[what])
            for what, values in part.items():
                found[f"shown {label}: {what}"] += values


def real(run: Editor, found: Numbers) -> None:
    """Real footage that no training saw."""
    for name in HELD_OUT:
        frames = read(name)
        height, width = frames.shape[1:3]
        for start in range(0, max(1, min(len(frames) - LONG, 3 * LONG)), LONG):
            clip = frames[start : start + WINDOW]
            if len(clip) < WINDOW:
                continue
            film = run(Extend(12), [clip], "")
            found["extend: seam"].append(jump(film, WINDOW, clip))
            found["extend: seam, of the new part's own change"].append(jump(film, WINDOW, film[WINDOW:]))
            found["extend: given pixels changed"].append(float((film[:WINDOW] != clip).sum()))
            film = run(Extend(13, "backward"), [clip], "")
            found["extend backward: seam"].append(jump(film, 13, clip))
            film = run(Loop(8), [clip], "")
            found["loop: closure"].append(jump(film, 0, clip))
            found["loop: closure without it"].append(jump(clip, 0, clip))
            film = run(Keyframes((0,), PixelShape(WINDOW, height, width)), [clip[:1]], "")
            found["image to video: seam"].append(jump(film, 1, clip))
            box = Region(0, WINDOW, height // 4, width // 4, height // 2, width // 4)
            film = run(Repaint((box,)), [clip], "")
            outside = np.ones(film.shape[:3], bool)
            outside[:, box.top : box.top + box.height, box.left : box.left + box.width] = False
            found["repaint: pixels changed outside"].append(float((film != clip)[outside].sum()))
            found["repaint: dB outside, in the mp4"].append(psnr(through_mp4(film, 8, CRF), clip, outside))
            found["repaint: dB of the source in an mp4"].append(psnr(through_mp4(clip, 8, CRF), clip, outside))


def seams(run: Editor, found: Numbers) -> None:
    """What a seam owes to the autoencoder: the true latents in place of the model's, and its error faded out or not."""
    clips = [("world", case.frames) for case in cases()]
    clips += [("real", frames) for frames in map(read, HELD_OUT) if len(frames) >= LONG]
    for kind, frames in clips:
        source = frames[:WINDOW]
        plan = plan_windows(Extend(12), [PixelShape(*source.shape[:3])], run.pipe.room)
        canvas, truth = make_canvas(plan, 0, [source], []), frames[WINDOW - 5 : WINDOW + 12]
        latent = run.pipe.vae.encode(to_video(truth)[None]).mean
        decoded = to_frames(run.pipe.vae.decode(latent)[0])
        for name, window in (("as decoded", np.concatenate([truth[:5], decoded[5:]])), ("", settle(canvas, decoded))):
            label = f"{kind}, true latents {name or 'settled'}"
            found[f"{label}: seam"].append(jump(window, 5, source))
            found[f"{label}: dB of the next 4 frames"].append(psnr(window[5:9], truth[5:9]))


def refresh(run: Editor, found: Numbers) -> None:
    """Kept tokens computed at some steps only, against every step: what is made, in the worst scene."""
    box = Region(0, WINDOW, 16, 16, 32, 32)
    inside = np.s_[:, box.top : box.top + box.height, box.left : box.left + box.width]
    edits: dict[str, tuple[Edit, Callable[[Case], list[Clip]], Any]] = {
        "still as first frame": (Keyframes((0,), SIZE), lambda case: [case.source[:1]], np.s_[1:]),
        "first and last frame": (
            Keyframes((0, WINDOW - 1), SIZE), lambda case: [case.source[:1], case.source[-1:]], np.s_[1 : WINDOW - 1],
        ),
        "extend": (Extend(12), lambda case: [case.source], np.s_[WINDOW:]),
        "repaint": (Repaint((box,)), lambda case: [case.source], inside),
    }  # fmt: skip
    for name, (asked, sources, new) in edits.items():
        for number, case in enumerate(cases()[: NUM_SCENES // 2]):
            films = {
                every: edit(
                    run.pipe, asked, sources(case), case.prompt, num_inference_steps=NUM_STEPS, seed=number,
                    refresh_given_every=every,
                )[new]
                for every in (1, *REFRESHED)
            }  # fmt: skip
            for every in REFRESHED:
                pair = [to_video(np.ascontiguousarray(films[one]))[None] for one in (1, every)]
                label = f"{name}, every {every}" if every < NUM_STEPS else f"{name}, once"
                found[f"{label}: dB"].append(psnr(films[every], films[1]))
                with torch.autocast("cpu", enabled=False):
                    found[f"{label}: SSIM"].append(ssim(*pair).mean().item())
    for label, values in list(found.items()):
        found[f"{label}, worst"] = [min(values)]


def _identity(found: Numbers, film: Clip, truth: Clip) -> None:
    for name, value in kept_identity(film, truth).items():
        found[name].append(value)


def _followed(found: Numbers, label: str, film: Clip, source: Clip, wanted: Attributes, names: Sequence[str]) -> None:
    hits = score(look(film), wanted)
    for name in names:
        found[f"{label}: {name}"].append(float(hits[name]))
    found[f"{label}: off its place, sides"].append(kept_identity(film, source)["off its place, sides"])


STUDIES: Mapping[str, Callable[[Editor, Numbers], None]] = {
    study.__name__: study
    for study in (
        text, image, ends, extend, extend_back, loop, transition, interpolate, restyle, repaint, outpaint, drift,
        character, real, seams, refresh,
    )
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=None, choices=list(STUDIES))
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    results, run = Results("edits"), Editor(load())
    for name in arguments.only or [name for name in STUDIES if name not in results.runs]:
        found: Numbers = defaultdict(list)
        with autocast("cpu", fast_dtype("cpu")):
            STUDIES[name](run, found)
        means = {key: round(float(np.nanmean(values)), 3) for key, values in found.items()}
        results.add(name, means | {"number": max(map(len, found.values()))})
        logger.info("%s %s", name, json.dumps(means, indent=1))


if __name__ == "__main__":
    main()
