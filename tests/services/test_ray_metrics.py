"""What Ray's metrics refuse never reaches them, and owners never fill Prometheus."""

from services.video.accounts.books import Used
from services.video.metrics import tenants
from services.video.ray_metrics import RayBackend
from sora_core import telemetry


def test_counting_nothing_is_no_error() -> None:
    RayBackend().record(telemetry.VIDEO_CACHED_TOKENS, 0, {})


def test_beyond_so_many_owners_the_rest_is_one_and_nothing_is_lost() -> None:
    owners = [Used(f"owner {number}", None, None, 1 + number, float(number), 2.0 * number) for number in range(200)]
    families = {family.name: {s.labels["owner"]: s.value for s in family.samples} for family in tenants(owners)}
    jobs = families["sora_video_tenant_jobs"]
    assert len(jobs) == telemetry.MOST_OWNERS
    assert jobs["owner 199"] == 200
    assert sum(jobs.values()) == sum(owner.requests for owner in owners)
    assert sum(families["sora_video_tenant_device_seconds"].values()) == sum(owner.device_seconds for owner in owners)
