"""A corpus isn't lost by a mistake: another source, a mistyped prefix, settings that drop what is there."""

from pathlib import Path

import pytest

from jobs.curate.books import ledger
from jobs.curate.config import CurateConfig
from jobs.curate.pipeline import curate
from sora_core import shards, storage
from sora_core.errors import ConfigError
from sora_core.media import encode_mp4
from tests.jobs.curate.conftest import Tally
from tests.jobs.curate.stripes import COLOURS, stripes


def film(folder: Path, name: str, colour: str, frames: int = 9) -> None:
    folder.mkdir(exist_ok=True)
    encode_mp4(folder / f"{name}.mp4", stripes(COLOURS[colour], frames, (64, 64)), 8)
    (folder / f"{name}.txt").write_text(f"{colour} stripes")


def uris(config: CurateConfig) -> set[str]:
    """Objects whose latents a reader finds."""
    rows = [
        row for shard in shards.read_manifest(config.output).shards for row in shards.read_rows(config.output, shard)
    ]
    return {Path(row.uri).name for row in rows}


def files(config: CurateConfig) -> dict[str, str]:
    return {item.uri: item.etag for item in storage.list_objects(config.output)}


def with_(config: CurateConfig, **changes: object) -> CurateConfig:
    return config.model_copy(update=changes)


@pytest.fixture
def first(tally: Tally, config: CurateConfig, tmp_path: Path) -> CurateConfig:
    """Two films that were curated, and one elsewhere."""
    film(tmp_path / "in", "red", "red")
    film(tmp_path / "in", "blue", "blue")
    film(tmp_path / "second", "grey", "grey")
    config = with_(config, grace_hours=0)
    curate(config)
    assert tally.counts["encode"] == 2
    return config


def test_a_second_source_is_added_and_prune_removes_only_when_so_much_is_named(
    first: CurateConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    second = with_(first, source=str(tmp_path / "second"))
    curate(second)
    assert "4 objects stay that this run doesn't want" in capsys.readouterr().out
    assert uris(second) == {"red.mp4", "blue.mp4", "grey.mp4"}
    curate(first)
    assert uris(first) == {"red.mp4", "blue.mp4", "grey.mp4"}
    before = files(first)
    with pytest.raises(ConfigError, match=r"prune=true would remove 2 of 6 objects \(.*grey.*max_removed=0\.34"):
        curate(with_(first, prune=True))
    assert files(first) == before
    curate(with_(first, prune=True, max_removed=0.34))
    assert uris(first) == {"red.mp4", "blue.mp4"}
    assert {Path(row["uri"]).stem for row in ledger.read_rows(first.output, ["uri"]).to_pylist()} == {"red", "blue"}


def test_a_second_source_by_another_autoencoder_is_refused_before_any_work(
    first: CurateConfig, tally: Tally, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tally.counts.clear()
    manifest = shards.read_manifest(first.output)
    monkeypatch.setattr(shards, "read_manifest", lambda _uri: manifest)
    object.__setattr__(manifest.vae, "fingerprint", "another")
    with pytest.raises(ConfigError, match=r"4 objects that aren't under source = .*by another vae"):
        curate(with_(first, source=str(tmp_path / "second")))
    assert tally.counts.total() == 0


def test_latents_that_go_stay_for_readers_of_the_old_manifest_until_their_grace_is_over(
    first: CurateConfig, tmp_path: Path
) -> None:
    patient = with_(first, prune=True, max_removed=1.0, grace_hours=1)
    before = {uri for uri in files(first) if "/latents/" in uri}
    (tmp_path / "in" / "red.mp4").unlink()
    curate(patient)
    assert uris(patient) == {"blue.mp4"}
    assert before <= files(first).keys(), "a run that began before still finds its files"
    curate(patient)
    assert before <= files(first).keys()
    curate(with_(patient, grace_hours=0))
    left = {uri for uri in files(first) if "/latents/" in uri}
    assert {storage.name(shard.path) for shard in shards.read_manifest(first.output).shards} == set(
        map(storage.name, left)
    )
    assert not storage.exists(storage.join(first.output, "removed.json"))


def test_footage_that_was_replaced_by_something_worse_takes_no_corpus_along(
    first: CurateConfig, tmp_path: Path
) -> None:
    """The check is at the end, and what was published stays."""
    for name in ("red", "blue"):
        (tmp_path / "in" / f"{name}.mp4").write_bytes(b"an upload that broke off")
    with pytest.raises(ConfigError, match=r"2 of the 2 clips .* would go.*nothing was removed"):
        curate(first)
    assert uris(first) == {"red.mp4", "blue.mp4"}
    for name in ("red", "blue"):
        film(tmp_path / "in", name, name, frames=17)
    curate(first)
    assert uris(first) == {"red.mp4", "blue.mp4"}
