"""Prompt to frames, in one place: in one call, or step by step for a server that batches requests."""

from sora_core.pipeline.decoding import FrameDecoder
from sora_core.pipeline.editing import edit
from sora_core.pipeline.generation import Generation, Limits, Request
from sora_core.pipeline.open_weights import check_present
from sora_core.pipeline.pipeline import Pipeline

__all__ = ["FrameDecoder", "Generation", "Limits", "Pipeline", "Request", "check_present", "edit"]
