"""What Ray's metrics refuse never reaches them."""

from services.video.ray_metrics import RayBackend
from sora_core import telemetry


def test_counting_nothing_is_no_error() -> None:
    RayBackend().record(telemetry.VIDEO_CACHED_TOKENS, 0, {})
