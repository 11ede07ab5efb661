"""Credentials that expire in the middle of a job: it says so and stops, and the next run does the rest."""

import threading
from pathlib import Path

import pytest

from jobs.curate.books import ledger
from jobs.curate.books.parts import read_parts
from jobs.curate.config import CurateConfig
from jobs.curate.pipeline import curate
from jobs.demo.s3 import EmbeddedS3
from sora_core import storage
from sora_core.errors import AccessDenied
from tests.faulty_s3 import Fault, faulty
from tests.jobs.curate.conftest import Tally
from tests.jobs.curate.stripes import write_footage


@pytest.mark.slow
def test_what_was_done_before_credentials_expired_stays_done(
    tally: Tally, config: CurateConfig, s3_server: EmbeddedS3, s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    verdicts = write_footage(tmp_path / "in")
    storage.upload_folder(tmp_path / "in", f"{s3}/in")
    config = config.model_copy(update={"source": f"{s3}/in", "output": f"{s3}/out", "sources_per_part": 3})
    expired = threading.Event()

    def later(_method: str, path: str, _attempt: int) -> Fault | None:
        if "grey-48" in path:  # the fifth source of fifteen
            expired.set()
        return "expired" if expired.is_set() else None

    with faulty(s3_server.credentials.endpoint, later) as (url, _):
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        with pytest.raises(AccessDenied, match=r"expired.*renew them"):
            curate(config)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.credentials.endpoint)
    done = sum(len(part.keys) for part in read_parts(config.output))
    assert 3 <= done < len(verdicts)
    tally.counts.clear()
    curate(config)
    rows = ledger.read_rows(config.output, ["uri", "clip_id", "status", "reason"]).to_pylist()
    found = {storage.name(row["uri"]): (row["status"], row["reason"]) for row in rows if row["clip_id"] is None}
    assert found == verdicts
    assert 0 < tally.counts["examine"] < 15 - 2, "what was measured is not measured again"
