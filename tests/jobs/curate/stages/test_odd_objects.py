"""One odd object never stops a job; a storage that is away does, and is named."""

from pathlib import Path

import pytest

from jobs.curate.books import ledger
from jobs.curate.config import CurateConfig
from jobs.curate.pipeline import curate
from jobs.demo.s3 import EmbeddedS3
from sora_core import shards, storage
from sora_core.errors import StorageUnavailable
from tests.faulty_s3 import Fault, faulty
from tests.jobs.curate.conftest import Tally
from tests.jobs.curate.stripes import write_footage


def reasons(output: str) -> dict[str, str | None]:
    rows = ledger.read_rows(output, ["uri", "clip_id", "reason"]).to_pylist()
    return {storage.name(row["uri"]): row["reason"] for row in rows if row["clip_id"] is None}


@pytest.mark.slow
def test_an_object_that_can_not_be_fetched_is_a_row_and_a_storage_that_refuses_all_is_named(
    tally: Tally, config: CurateConfig, s3_server: EmbeddedS3, s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    verdicts = write_footage(tmp_path / "in")
    (tmp_path / "in" / "large.mp4").write_bytes(b"0" * 300_000)
    storage.upload_folder(tmp_path / "in", f"{s3}/in")
    limits = {"scratch_bytes": 200_000, "max_faults_in_a_row": 3}
    config = config.model_copy(update={"source": f"{s3}/in", "output": f"{s3}/out", **limits})
    odd: dict[str, Fault] = {"red-48": "archived", "grey-64": "denied", "blue-64": "foreign key"}
    refusing: list[str] = []

    def fault(method: str, path: str, _attempt: int) -> Fault | None:
        if method != "GET" or "/in/" not in path or "captions.csv" in path:
            return None
        return "denied" if refusing else next((found for name, found in odd.items() if name in path), None)

    with faulty(s3_server.credentials.endpoint, fault) as (url, _):
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        curate(config)
        expected = {name: reason for name, (_, reason) in verdicts.items()} | {
            "red-48.mp4": "object_archived", "grey-64.mp4": "access_denied", "blue-64.mp4": "access_denied",
            "large.mp4": "larger_than_scratch",
        }  # fmt: skip
        assert reasons(config.output) == expected
        refusing.append("all")
        tally.counts.clear()
        with pytest.raises(StorageUnavailable, match=r"access_denied, as 3 in a row.*max_faults_in_a_row"):
            curate(config.model_copy(update={"output": f"{s3}/other"}))
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.credentials.endpoint)


def test_a_name_that_is_no_text_is_a_row(tally: Tally, config: CurateConfig, verdicts: dict[str, object]) -> None:
    name = Path(config.source) / b"caf\xe9.mp4".decode(errors="surrogateescape")
    (Path(config.source) / "red-48.mp4").rename(name)
    curate(config)
    found = reasons(config.output)
    assert found["caf\\xe9.mp4"] == "name_not_utf8"
    assert len(found) == len(verdicts)
    assert tally.counts["encode"] == shards.read_manifest(config.output).totals.clips > 0
