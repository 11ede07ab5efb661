"""What lies beside a checkpoint for people: its card, its curve, and videos that it made."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from sora_core.checkpoint import Meta
from sora_core.dit.config import DiTConfig
from sora_core.dit.model import DiT
from sora_core.edits import supported

CARD, CURVE, SAMPLES, SHEET = "README.md", "training.png", "samples", "sheet.png"

_CARD = """---
pipeline_tag: text-to-video
---
# {name}, step {step:,}

A video diffusion transformer of {parameters:.1f} M parameters ({layers} layers of width {dim}), {begun}.
It was trained on clips of up to {max_tokens:,} tokens that play at {fps:g} frames a second. Beside text to video it
learned: {edits}.

```python
from sora_core.pipeline import Pipeline

pipe = Pipeline.load("{uri}")
frames = pipe("{prompt}", num_frames={frames}, height={height}, width={width})
```

## Data
{clips:,} clips, {hours:.2f} hours, from {data}.

| licence | clips |
|---|---|
{licences}

Latents by the autoencoder `{vae}` ({vae_print}), text states by `{text}` ({text_print}).

## Training
{losses}

![losses]({curve})
{samples}
Code: {revision}. The whole config:

```json
{config}
```
"""


def card(
    uri: str, meta: Meta, lines: Mapping[int, Mapping[str, Any]], prompts: Sequence[str], shape: Sequence[int]
) -> str:
    """The README.md of a checkpoint, from what is stored of it; ``prompts`` are those of its samples, if it has any."""
    config = DiTConfig.from_dict(meta.dit)
    with torch.device("meta"):
        parameters = DiT(config).num_params
    frames, height, width = shape
    return _CARD.format(
        name=uri.rsplit("/checkpoints/", 1)[0].rsplit("/", 1)[-1],
        step=meta.step,
        parameters=parameters / 1e6,
        layers=config.num_layers,
        dim=config.dim,
        begun="trained from nothing" if meta.base is None else _begun(meta),
        edits=", ".join(supported(meta.given)),
        max_tokens=meta.max_tokens,
        fps=meta.fps,
        uri=uri,
        prompt=prompts[0].replace('"', "'") if prompts else "a prompt",
        frames=frames,
        height=height,
        width=width,
        clips=meta.data.clips,
        hours=meta.data.seconds / 3600,
        data=meta.data.uri,
        licences="\n".join(f"| {licence} | {count:,} |" for licence, count in meta.data.licences.items()),
        vae=meta.vae.source,
        vae_print=meta.vae.fingerprint[:12],
        text=meta.text_encoder.source,
        text_print=meta.text_encoder.fingerprint[:12],
        losses=_losses(lines, meta.step),
        curve=CURVE,
        samples=_samples(prompts),
        revision=meta.git_revision or "not from a checkout",
        config=json.dumps(meta.training, indent=1),
    )


def _begun(meta: Meta) -> str:
    assert meta.base is not None
    how = "by a low-rank adapter, merged here and alone in `adapter/`" if meta.training.get("lora") else "all weights"
    return f"tuned from `{meta.base.source}` ({meta.base.fingerprint[:12]}), {how}"


def _losses(lines: Mapping[int, Mapping[str, Any]], step: int) -> str:
    done = {number: line for number, line in lines.items() if number <= step}
    if not done:
        return ""
    recent = [float(line["loss"]) for line in list(done.values())[-max(1, len(done) // 50) :]]
    text = f"Mean loss of the last {len(recent)} steps: {sum(recent) / len(recent):.4f}."
    judged = [line["val_loss"] for line in done.values() if "val_loss" in line]
    if not judged:
        return text
    sigmas = "\n".join(f"| {sigma} | {loss:.4f} |" for sigma, loss in judged[-1].items())
    return f"{text} On clips kept out of training, by noise level:\n\n| sigma | loss |\n|---|---|\n{sigmas}"


def _samples(prompts: Sequence[str]) -> str:
    if not prompts:
        return ""
    rows = "\n".join(f"{number}. [{prompt}]({SAMPLES}/{number:02d}.mp4)" for number, prompt in enumerate(prompts))
    return f"\n## Samples\n![frames of each, a row each]({SAMPLES}/{SHEET})\n\n{rows}\n"
