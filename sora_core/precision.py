"""What a device computes fast: the one place that decides in which numbers matrices multiply.

bfloat16 halves what is moved and, with units for it, the time several times; without them it costs many times that of
float32. float16 is never chosen: its narrow range needs a scaled loss, and weights trained in bfloat16 overflow it.
"""

import logging
import time
from collections.abc import Iterable
from functools import lru_cache
from typing import Literal

import torch

logger = logging.getLogger(__name__)

Precision = Literal["float32", "bfloat16"]
Choice = Literal["auto", "float32", "bfloat16"]
"""What a config may say; ``auto`` is what the devices that take part compute fast."""

EXACT: Precision = "float32"
REDUCED: Precision = "bfloat16"
_DTYPES: dict[Precision, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_FIRST_GPU_WITH_UNITS = (8, 0)
"""NVIDIA's compute capability; older ones emulate."""
_MEASURED_SIDE = {"cpu": 512, "cuda": 2048}
_MEASURED_TIMES = 4


def dtype_of(precision: Precision) -> torch.dtype:
    """The dtype of a precision."""
    return _DTYPES[precision]


@lru_cache(maxsize=8)
def fast(device: torch.device | str) -> Precision:
    """The smallest numbers that a device multiplies at least as fast as float32.

    A CPU must have units for them: torch tells, but takes AVX-512 without them for enough, so a product is timed too.
    """
    where = torch.device(device)
    if where.type == "cuda":
        return REDUCED if torch.cuda.get_device_capability(where) >= _FIRST_GPU_WITH_UNITS else EXACT
    if where.type == "cpu" and _cpu_claims_units() and slowdown(REDUCED, where) <= 1:
        return REDUCED
    return EXACT


def fast_dtype(device: torch.device | str) -> torch.dtype:
    """`fast` as a dtype."""
    return dtype_of(fast(device))


def settle(choice: Choice, fast_of_each: Iterable[Precision]) -> Precision:
    """What ``choice`` comes to where all of these take part: ``auto`` takes what every one computes fast."""
    if choice != "auto":
        return choice
    return REDUCED if {*fast_of_each} == {REDUCED} else EXACT


def settle_alone(choice: Choice, device: torch.device | str) -> Precision:
    """`settle` on one device."""
    return choice if choice != "auto" else fast(device)


def settle_here(choice: Choice, device: torch.device | str, what: str) -> Precision:
    """`settle_alone`, told in the log as the precision of ``what``; of a slow one with its factor."""
    settled = settle_alone(choice, device)
    logger.info("%s: %s%s", what, settled, " (auto)" if choice == "auto" else "")
    warn_if_slow(what, settled, device)
    return settled


def warn_if_slow(what: str, precision: Precision, device: torch.device | str) -> None:
    """`warn` where it applies."""
    if is_slow(precision, device):
        warn(what, precision, slowdown(precision, device))


def is_slow(precision: Precision, device: torch.device | str) -> bool:
    """Whether a device would be faster in float32."""
    return precision not in (EXACT, fast(device))


def warn(what: str, precision: Precision, factor: float) -> None:
    """Say that something runs in numbers that a device computes slowly."""
    logger.warning(
        "%s: %s, which takes %.3g times as long as %s here (a product, measured); nothing here has units for it",
        what, precision, factor, EXACT,
    )  # fmt: skip


@lru_cache(maxsize=8)
def slowdown(precision: Precision, device: torch.device | str) -> float:
    """How many times as long as in float32 a product of square matrices takes; measured in a fraction of a second."""
    where = torch.device(device)
    side = _MEASURED_SIDE.get(where.type, _MEASURED_SIDE["cpu"])
    reduced, exact = (torch.ones(side, side, dtype=_DTYPES[kind], device=where) for kind in (precision, EXACT))
    times = [(_seconds(reduced), _seconds(exact)) for _ in range(_MEASURED_TIMES + 1)][1:]
    return min(pair[0] for pair in times) / min(pair[1] for pair in times)


def _seconds(matrix: torch.Tensor) -> float:
    start = time.perf_counter()
    float((matrix @ matrix)[0, 0])  # waits for the device
    return time.perf_counter() - start


def _cpu_claims_units() -> bool:
    try:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    except AttributeError:  # a build without oneDNN
        return False


def autocast(device: torch.device | str, dtype: torch.dtype) -> torch.autocast:
    """Matrices multiply in ``dtype`` inside; in float32 nothing is changed."""
    kind = torch.device(device).type
    return torch.autocast(kind, None if dtype == torch.float32 else dtype, enabled=dtype != torch.float32)


def sampling(device: torch.device | str) -> torch.dtype:
    """What a device samples in: on a CPU the exact numbers, so that a seed gives the same film on every machine."""
    return dtype_of(EXACT) if torch.device(device).type == "cpu" else fast_dtype(device)


def weight_dtypes(device: torch.device | str) -> tuple[torch.dtype, ...]:
    """What weights on a device may be stored and multiplied in, however fast."""
    kind = torch.device(device).type
    emulated = kind == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False)
    reduced = () if emulated else (dtype_of(REDUCED),)
    return (torch.float32, *reduced, *((torch.float16,) if kind == "cuda" else ()))
