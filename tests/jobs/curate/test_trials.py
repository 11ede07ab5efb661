"""A run over some of the footage, and one that only says what it would do."""

from pathlib import Path

import pytest

from jobs.curate.__main__ import as_settings
from jobs.curate.config import CurateConfig
from jobs.curate.listing import make_plan
from jobs.curate.pipeline import curate
from jobs.launch import load_config
from sora_core.errors import ConfigError
from tests.jobs.curate.conftest import Tally
from tests.jobs.curate.test_kept_safe import files, film, uris, with_

PLACES = ["--set", "source=a", "output=b"]


def test_what_is_tried_first_is_not_done_again_and_a_dry_run_changes_nothing(
    tally: Tally, config: CurateConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for colour in ("blue", "grey", "red"):
        film(tmp_path / "in", colour, colour)
    dry = with_(config, dry_run=True)
    curate(dry)
    assert "3 objects to examine and encode" in capsys.readouterr().out
    assert not Path(config.output).exists()
    tally.counts.clear()
    curate(with_(config, limit=1))
    assert uris(config) == {"blue.mp4"}
    before = files(config)
    curate(dry)
    said = capsys.readouterr().out
    assert "2 objects to examine and encode" in said
    assert "at the rate of 1 objects" in said
    assert files(config) == before
    curate(config)
    assert (tally.counts["examine"], tally.counts["encode"]) == (3, 3), "each once"
    curate(with_(config, limit=1))
    assert uris(config) == {"blue.mp4", "grey.mp4", "red.mp4"}, "a trial run takes nothing away"


def test_a_sample_is_the_same_each_time_and_a_larger_one_holds_it(config: CurateConfig, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(200):
        (tmp_path / "in" / f"{number}.mp4").write_bytes(b"film")

    def chosen(share: float) -> set[str]:
        return {source.uri for source in make_plan(with_(config, sample=share), {}).sources}

    assert chosen(0.2) == chosen(0.2)
    assert chosen(0.2) < chosen(0.6) < chosen(1.0)
    assert len(chosen(1.0)) == 200


def test_flags_are_short_for_settings() -> None:
    config = load_config("curate", CurateConfig, [*PLACES, *as_settings(["--limit", "5", "--sample=0.5", "--dry-run"])])
    assert (config.limit, config.sample, config.dry_run, config.prune) == (5, 0.5, True, False)
    with pytest.raises(ConfigError, match="prune with limit or sample would remove"):
        load_config("curate", CurateConfig, [*PLACES, *as_settings(["--prune", "--limit", "5"])])
