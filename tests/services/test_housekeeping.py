"""What a sampler does between its steps, around an outage of the ledger."""

import time
from pathlib import Path
from typing import Any

import pytest

from services.video.housekeeping import Housekeeper
from services.video.job import NewJob, Status, new_id
from services.video.ledger import Ledger
from services.video.ledger.tables import LedgerUnavailable

from .live import config_in, eventually


def test_workers_get_time_to_renew_after_an_outage_of_the_ledger(postgres: Any, tmp_path: Path) -> None:
    config = config_in(tmp_path, "run", ledger=postgres.url, sampler={"lease_s": 1.0})
    ledger = Ledger.open(config.ledger)
    shape = {"owner": "ann", "model": "m", "params": {}, "tokens": 1, "num_steps": 1, "priority": 0, "queued_as": 0.0}
    (job,) = ledger.create([NewJob(id=new_id(time.time()), **shape)])
    (held,) = ledger.claim([job.id], "living", lease_s=0.1)
    housekeeper = Housekeeper(config, ledger)
    housekeeper.tend()
    postgres.stop()
    time.sleep(0.3)
    with pytest.raises(LedgerUnavailable):
        housekeeper.tend()
    postgres.start()
    time.sleep(0.3)  # the lease has run out, and the next round is due
    housekeeper.tend()
    assert not ledger.renew({held.lease: 10}, lease_s=0.1).lost
    time.sleep(0.2)

    def reclaimed() -> bool:
        housekeeper.tend()
        found = ledger.get(job.id)
        return found is not None and found.status is Status.QUEUED

    eventually(reclaimed, within_s=10)
    ledger.close()
