"""What a job used, as the row that it becomes when it has ended; works inside the caller's transaction."""

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from services.video.job import SAMPLED_PERCENT, Job
from services.video.ledger.account_tables import usage
from services.video.ledger.tables import models

_DAY_S = 86_400


def note_usage(db: sa.Connection, ended: Iterable[Job], now: float) -> None:
    """Write what jobs used, inside the transaction that marks their ends as told: each once."""
    rates = {
        row.name: row.token_steps_per_s for row in db.execute(sa.select(models.c.name, models.c.token_steps_per_s))
    }
    rows = [_row(job, rates.get(job.model, 0.0), now) for job in ended]
    if rows:
        db.execute(usage.insert(), rows)


def _row(job: Job, rate: float, now: float) -> dict[str, Any]:
    """``device_seconds``: the share of its steps that were made, at the speed that the model's samplers last showed."""
    params, ended_at = job.params, job.completed_at or now
    work = job.tokens * job.num_steps * min(1.0, job.progress / SAMPLED_PERCENT)
    return {
        "job_id": job.id,
        "owner": job.owner,
        "key_id": params.get("key", ""),
        "model": job.model,
        "status": job.status,
        "video_seconds": params.get("num_frames", 0) / params.get("fps", 1.0) if job.result is not None else 0.0,
        "device_seconds": work / rate if rate > 0 else 0.0,
        "ended_at": ended_at,
        "day": int(ended_at // _DAY_S),
    }
