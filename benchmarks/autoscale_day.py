"""A day of traffic in simulation: the service's own autoscaling policy against Serve's default one.

Both policies are the real code. Replicas, arrivals and the clock are simulated; decisions pass through Serve's own
delays and bounds, every ten seconds as its controller makes them. A job is a request for Serve's policy, as it would be
if samplers were sent requests; a replica works off token-steps at one rate, shared by the jobs that it has.
"""

import argparse
import heapq
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from ray.serve import autoscaling_policy
from ray.serve.autoscaling_policy import _apply_autoscaling_config, _core_replica_queue_length_policy
from ray.serve.config import AutoscalingConfig, AutoscalingContext

from services.video.autoscale import replicas_for
from services.video.job import Backlog

TICK_S = 10.0
START_S = 90.0  # from the decision to a sampler with its model loaded, on a node that is there
RATE = 300_000.0  # token-steps a second of one replica
ONGOING = 8  # jobs that fill a replica's batch
MAX_REPLICAS = 16

Policy = Callable[[AutoscalingContext], tuple[float, dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Arrival:
    """A job: when it comes, and its token-steps."""

    at: float
    work: float


# (hour, spread in hours, share of the day's jobs, part of them that is long)
SAME_MIX = ((10.0, 1.2, 0.4, 0.15), (16.0, 2.0, 0.4, 0.15), (12.0, 0.05, 0.2, 0.15))
OTHER_MIX = ((10.0, 1.2, 0.4, 0.02), (16.0, 2.0, 0.4, 0.35), (12.0, 0.05, 0.2, 0.0))


def day(seed: int, jobs: int, peaks: Sequence[tuple[float, float, float, float]]) -> list[Arrival]:
    """Nights without anybody, two peaks and a burst at noon; a long job is forty times the work of a short one."""
    rng = random.Random(seed)
    arrivals = []
    for _ in range(jobs):
        middle, spread, _, long = rng.choices(peaks, [peak[2] for peak in peaks])[0]
        work = rng.uniform(0.5, 2) * (16_000_000 if rng.random() < long else 400_000)
        arrivals.append(Arrival(3600 * min(max(rng.gauss(middle, spread), 0), 23.9), work))
    return sorted(arrivals, key=lambda arrival: arrival.at)


class Cluster:
    """Replicas that start late, share their rate out over what they have and stop at once; their work goes on."""

    def __init__(self) -> None:
        self.starting: list[float] = []
        self.running = 0
        self.left: dict[int, float] = {}
        self.replica_s = 0.0

    @property
    def replicas(self) -> int:
        return self.running + len(self.starting)

    def scale(self, target: int, now: float) -> None:
        while self.replicas < target:
            heapq.heappush(self.starting, now + START_S)
        while self.replicas > target and self.starting:
            self.starting.pop()
        self.running -= max(0, self.replicas - target)

    def work(self, now: float, seconds: float) -> list[tuple[int, float]]:
        """Let time pass; the jobs that ended, and when."""
        self.replica_s += seconds * self.replicas
        while self.starting and self.starting[0] <= now:
            heapq.heappop(self.starting)
            self.running += 1
        ended: list[tuple[int, float]] = []
        places = self.running * ONGOING
        spent = 0.0
        while spent < seconds and self.running and self.left:
            active = list(self.left)[:places]  # in the order of arrival
            share = RATE * self.running / max(len(active), self.running)
            step = min(seconds - spent, min(self.left[job] for job in active) / share)
            for job in active:
                self.left[job] -= step * share
                if self.left[job] <= 1e-6:
                    del self.left[job]
                    ended.append((job, now + spent + step))
            spent += step
        return ended


def simulate(arrivals: list[Arrival], policy: Policy, config: AutoscalingConfig) -> dict[str, float]:
    """Replica-hours and the times from arrival to end."""
    cluster, times = Cluster(), list[float]()
    state: dict[str, Any] = {}
    target, now, coming = 0, 0.0, 0
    decide = _apply_autoscaling_config(policy)
    while now < 86_400 or cluster.left:
        while coming < len(arrivals) and arrivals[coming].at <= now:
            cluster.left[coming] = arrivals[coming].work
            coming += 1
        autoscaling_policy.time = SimpleNamespace(time=lambda: now)  # noqa: B023 - called before the loop goes on
        wanted, state = decide(_context(cluster, config, target, state, now))
        target = min(max(wanted, config.min_replicas), config.max_replicas)
        cluster.scale(target, now)
        times += [end - arrivals[job].at for job, end in cluster.work(now, TICK_S)]
        now += TICK_S
    times.sort()
    return {
        "hours": cluster.replica_s / 3600,
        "p50": times[len(times) // 2],
        "p99": times[int(len(times) * 0.99)],
        "worst": times[-1],
    }


def _context(
    cluster: Cluster, config: AutoscalingConfig, target: int, state: dict[str, Any], now: float
) -> AutoscalingContext:
    unfinished = cluster.left
    context = AutoscalingContext(
        deployment_id=None,
        deployment_name="sampler",
        app_name="video",
        current_num_replicas=target,
        target_num_replicas=target,
        running_replicas=[],
        total_num_requests=len(unfinished),
        total_queued_requests=max(0, len(unfinished) - ONGOING * cluster.running),
        aggregated_metrics=None,
        raw_metrics=None,
        capacity_adjusted_min_replicas=config.min_replicas,
        capacity_adjusted_max_replicas=config.max_replicas,
        policy_state=state,
        last_scale_up_time=None,
        last_scale_down_time=None,
        current_time=now,
        config=config,
    )
    context.backlog = Backlog(
        waiting=len(unfinished),
        unsampled=len(unfinished),
        token_steps=sum(unfinished.values()),
        token_steps_per_s=RATE * cluster.running,
        rate_of_one=RATE,
        live_workers=cluster.running,
    )
    return context


def predicted_wait(target_wait_s: float) -> Policy:
    """The rule of `services.video.autoscale.PredictedWait`, its backlog from the simulation instead of the ledger."""

    def policy(context: AutoscalingContext) -> tuple[float, dict[str, Any]]:
        return replicas_for(context.backlog, target_wait_s, context.target_num_replicas), {}

    return policy


SHIPPED = {"upscale_delay_s": 30.0, "downscale_delay_s": 600.0}
OURS = {"upscale_delay_s": 0.0, "downscale_delay_s": 60.0}
POLICIES: list[tuple[str, Policy, dict[str, float]]] = [
    *((f"predicted wait, target {wait_s} s", predicted_wait(wait_s), OURS) for wait_s in (60, 120, 240)),
    *(
        (
            f"Serve's default, {requests} requests a replica, {name}",
            _core_replica_queue_length_policy,
            {**delays, "target_ongoing_requests": requests},
        )
        for name, delays in (("as shipped", SHIPPED), ("our delays", OURS))
        for requests in (2, ONGOING)
    ),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for name, peaks in (("one mix all day", SAME_MIX), ("short in the morning, long in the afternoon", OTHER_MIX)):
        arrivals = day(arguments.seed, arguments.jobs, peaks)
        work_h = sum(arrival.work for arrival in arrivals) / RATE / 3600
        print(f"{name}: {arguments.jobs} jobs, {work_h:.1f} replica-hours of work")
        print(f"  {'policy':48}  {'replica-hours':>13}  {'p50 s':>7}  {'p99 s':>7}  {'worst s':>7}")
        for policy_name, policy, limits in POLICIES:
            config = AutoscalingConfig(min_replicas=0, max_replicas=MAX_REPLICAS, **limits)
            row = simulate(arrivals, policy, config)
            print(
                f"  {policy_name:48}  {row['hours']:13.1f}  {row['p50']:7.0f}  {row['p99']:7.0f}  {row['worst']:7.0f}"
            )


if __name__ == "__main__":
    main()
