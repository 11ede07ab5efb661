"""Prompting with pictures and video: an edit becomes windows, each a plain clip of which a part is given.

``spec`` says what is asked, ``plan`` where the windows lie, ``canvas`` what each is given and how they become a film.
"""

from sora_core.edits.canvas import Canvas, Clip, assemble, first_frame, latent_mask, make_canvas, mask_region, settle
from sora_core.edits.plan import Plan, plan_windows
from sora_core.edits.spec import (
    Edit,
    Extend,
    Interpolate,
    Join,
    Keyframes,
    Loop,
    Outpaint,
    Region,
    Repaint,
    Restyle,
    Transition,
    from_json,
    supported,
    to_json,
)
from sora_core.edits.windows import Room, Window

__all__ = [
    "Canvas",
    "Clip",
    "Edit",
    "Extend",
    "Interpolate",
    "Join",
    "Keyframes",
    "Loop",
    "Outpaint",
    "Plan",
    "Region",
    "Repaint",
    "Restyle",
    "Room",
    "Transition",
    "Window",
    "assemble",
    "first_frame",
    "from_json",
    "latent_mask",
    "make_canvas",
    "mask_region",
    "plan_windows",
    "settle",
    "supported",
    "to_json",
]
