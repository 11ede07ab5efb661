"""Each stage is done again only when what it depends on has changed."""

import json
import os
import re
import shutil
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs.curate.ask.forget import ForgetConfig, forget, seen_by
from jobs.curate.ask.judge import judge_again
from jobs.curate.ask.why import WhyConfig, describe, find, why
from jobs.curate.books import ledger
from jobs.curate.books.commit import AWAITS
from jobs.curate.config import CurateConfig
from jobs.curate.pipeline import curate
from jobs.curate.rows import Source
from jobs.curate.stages import actors
from sora_core import shards, storage
from sora_core.errors import ConfigError, MissingObject
from sora_core.media import Isolated, encode_mp4
from sora_core.precision import EXACT
from sora_core.shards import Row
from tests.jobs.curate.conftest import Tally, counted, in_folder
from tests.jobs.curate.stripes import COLOURS, stripes, write_footage


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory, isolated: Isolated) -> tuple[CurateConfig, Path]:
    """Footage curated once, and a copy of all of it."""
    folder = tmp_path_factory.mktemp("judge")
    here = folder / "here"
    (here / "in").mkdir(parents=True)
    write_footage(here / "in")
    changes = {"sources_per_part": 4, "max_removed": 1.0, "vae_dtype": EXACT}  # not what is fast while others compute
    config = in_folder(here).model_copy(update=changes)
    with counted(isolated) as tally:
        curate(config)
        assert tally.counts["frames"] > 0
    return config, Path(shutil.copytree(here, folder / "copy"))


@pytest.fixture
def curated(once: tuple[CurateConfig, Path], tally: Tally) -> CurateConfig:
    """The footage as it was curated, whatever the test before did to it."""
    config, copy = once
    here = Path(config.source).parent
    shutil.rmtree(here)
    shutil.copytree(copy, here)
    assert tally.counts.total() == 0
    return config


def changed(config: CurateConfig, **thresholds: float) -> CurateConfig:
    return config.model_copy(update={"thresholds": config.thresholds.model_copy(update=thresholds)})


def rows_of(config: CurateConfig) -> dict[str, Row]:
    manifest = shards.read_manifest(config.output)
    return {row.clip_id: row for shard in manifest.shards for row in shards.read_rows(config.output, shard)}


def reasons(config: CurateConfig) -> dict[str, str | None]:
    rows = ledger.read_rows(config.output, ["uri", "clip_id", "reason"]).to_pylist()
    return {Path(row["uri"]).name: row["reason"] for row in rows if row["clip_id"] is None}


def assert_as_if_at_once(config: CurateConfig, tmp_path: Path) -> None:
    """The output holds what one run with this config over the same footage gives."""
    fresh = config.model_copy(update={"output": str(tmp_path / "fresh")})
    curate(fresh)
    assert reasons(config) == reasons(fresh)
    ours, theirs = rows_of(config), rows_of(fresh)
    assert ours.keys() == theirs.keys()
    for clip_id, row in ours.items():
        for name in Row.__slots__:
            mine, its = getattr(row, name), getattr(theirs[clip_id], name)
            if name.startswith("latent_"):  # rounded otherwise in another batch, by a step of what they are kept in
                np.testing.assert_allclose(mine, its, rtol=2**-10, atol=1e-4, err_msg=name)
            else:
                np.testing.assert_array_equal(mine, its, name)
    whole = shards.read_manifest(fresh.output)
    assert shards.read_manifest(config.output).whitening_std == pytest.approx(whole.whitening_std)


def test_other_thresholds_redo_verdicts_and_encode_only_what_now_passes(
    curated: CurateConfig, tally: Tally, tmp_path: Path
) -> None:
    before = rows_of(curated)
    lenient = changed(curated, min_luma=0, min_contrast=0)  # black.mp4 passes now
    curate(lenient)
    assert tally.counts["examine"] == 0
    assert tally.counts["encode"] == 1
    assert tally.counts["frames"] == 9, "the new clip's own"
    assert rows_of(lenient).keys() > before.keys()
    strict = changed(curated, max_luma=100)  # the bright ones go, nothing is encoded
    tally.counts.clear()
    curate(strict)
    assert tally.counts.total() == 0
    assert "too_bright" in reasons(strict).values()
    assert_as_if_at_once(strict, tmp_path)


def test_other_models_redo_latents_only(curated: CurateConfig, tally: Tally, published: Path) -> None:
    before = rows_of(curated)
    other = curated.model_copy(update={"vae": str(published)})
    curate(other)
    assert tally.counts["examine"] == 0
    after = rows_of(other)
    assert tally.counts["encode"] == len(after) == len(before)
    assert {row.latent_mean.shape[0] for row in after.values()} == {4}


def test_new_footage_is_done_alone_and_removed_footage_goes(curated: CurateConfig, tally: Tally) -> None:
    source = Path(curated.source)
    encode_mp4(source / "new.mp4", stripes(COLOURS["red"], 9, (80, 48)), 8)
    (source / "new.mp4.txt").write_text("red stripes")
    (source / "blue-64.mp4").unlink()
    curate(curated)
    assert "blue-64.mp4" in reasons(curated), "nobody has asked to remove it"
    curate(curated.model_copy(update={"prune": True}))
    assert (tally.counts["examine"], tally.counts["encode"]) == (1, 1)
    uris = {Path(row.uri).name for row in rows_of(curated).values()}
    assert "new.mp4" in uris
    assert "blue-64.mp4" not in uris
    assert "blue-64.mp4" not in reasons(curated)


def test_judge_decides_again_without_a_look(
    curated: CurateConfig, tally: Tally, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = changed(curated, min_luma=0, min_contrast=0, max_luma=100)
    judge_again(other)
    assert tally.counts.total() == 0
    found = reasons(other)
    assert found["black.mp4"] == AWAITS, "it passes, and has no latents yet"
    assert "too_bright" in found.values()
    assert "1 clips pass and have no latents yet" in capsys.readouterr().out
    kept = [row for row in ledger.read_rows(other.output, ["clip_id", "status"]).to_pylist() if row["clip_id"]]
    assert Counter(row["status"] for row in kept)["kept"] == len(rows_of(other))
    curate(other)
    assert (tally.counts["examine"], tally.counts["encode"]) == (0, 1)
    assert_as_if_at_once(other, tmp_path)


def test_judge_and_back_again_changes_nothing_but_costs_latents(curated: CurateConfig, tally: Tally) -> None:
    before = reasons(curated)
    judge_again(changed(curated, min_luma=0))
    judge_again(curated)
    assert tally.counts.total() == 0
    assert reasons(curated) == before


def test_judge_refuses_what_verdicts_can_not_change(curated: CurateConfig) -> None:
    with pytest.raises(ConfigError, match=r"vae = 'other'.*without judge"):
        judge_again(curated.model_copy(update={"vae": "other"}))
    with pytest.raises(ConfigError, match=r"15 objects .* never measured"):
        judge_again(curated.model_copy(update={"max_frames": 13}))
    with pytest.raises(MissingObject, match=r"run jobs\.curate"):
        judge_again(curated.model_copy(update={"output": curated.output + "-none"}))


class Crashing(Isolated):
    """Its decoder goes down on one file, as a faulty library would."""

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if len(args) > 1 and isinstance(args[1], Source) and args[1].uri.endswith("/grey-64.mp4"):
            return super().call(os.kill, super().call(os.getpid), signal.SIGSEGV)
        return super().call(function, *args, **kwargs)


def test_an_input_that_kills_the_decoder_is_a_row_and_is_not_tried_again(
    tally: Tally, config: CurateConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = Crashing()
    monkeypatch.setattr(actors, "Isolated", lambda _limits: process)
    Path(config.source).mkdir()
    verdicts = write_footage(Path(config.source))
    curate(config)
    expected = {name: reason for name, (_, reason) in verdicts.items()} | {"grey-64.mp4": "decoder_crashed"}
    assert reasons(config) == expected
    tally.counts.clear()
    curate(config)
    assert tally.counts.total() == 0
    process.close()


def test_why_tells_what_became_of_anything(curated: CurateConfig, capsys: pytest.CaptureFixture[str]) -> None:
    place = WhyConfig(output=curated.output)
    why("black.mp4", place)
    said = capsys.readouterr().out
    assert "black.mp4: dropped (too_dark), video" in said
    assert "9 frames of 64x64: dropped (too_dark); " in said
    [clip_id] = [row.clip_id for row in rows_of(curated).values() if row.uri.endswith("/red-64.mp4")]
    whole, clip = find(clip_id, curated.output)
    assert whole["clip_id"] is None
    assert clip["clip_id"] == clip_id
    assert "kept" in describe(clip)
    why(storage.join(curated.source, "broken.mp4"), place)
    assert "failed (unreadable_container)" in capsys.readouterr().out
    with pytest.raises(MissingObject, match="neither an object nor a clip"):
        why("nobody", place)


def test_the_report_shows_every_verdict_and_duplicate_in_one_file(curated: CurateConfig) -> None:
    source = Path(curated.source)
    (source / "copy.mp4").symlink_to(source / "red-64.mp4")
    curate(curated)
    page = storage.read_bytes(storage.join(curated.output, "report.html")).decode()
    assert "Dropped: too_dark (1 clips)</h2><p class=mute>min_luma = 15</p>" in page
    dark = page.partition("Dropped: too_dark")[2].partition("</figure>")[0]
    assert re.search(r"<b>luma [\d.]+</b><br>black\.mp4 0\.0 s", dark)
    assert re.search(r"broken\.mp4<td>failed: unreadable_container", page)
    assert page.count("data:image/webp;base64,") >= 12
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page


def files_of(config: CurateConfig) -> dict[str, str]:
    return {item.uri: item.etag for item in storage.list_objects(config.output)}


def test_a_dry_run_of_judge_says_what_would_change_and_changes_nothing(
    curated: CurateConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files_of(curated)
    other = changed(curated, min_luma=0, min_contrast=0, max_luma=100)
    judge_again(other.model_copy(update={"dry_run": True, "max_removed": 0.0}))
    said = capsys.readouterr().out
    assert files_of(curated) == before
    kept, passing = map(int, re.findall(r"judge: (\d+) clips kept before, (\d+) would pass", said)[0])
    assert re.search(r"1 too_dark -> kept: black\.mp4 0\.0-1\.1 s", said)
    judge_again(other)
    rows = ledger.read_rows(curated.output, ["clip_id", "status", "reason"]).to_pylist()
    found = Counter(row["reason"] if row["reason"] == AWAITS else row["status"] for row in rows if row["clip_id"])
    assert found["kept"] + found[AWAITS] == passing
    assert kept == len(rows_of(curated))


def test_judge_that_would_take_too_much_away_stops_before_it_does(curated: CurateConfig) -> None:
    before = files_of(curated)
    with pytest.raises(ConfigError, match=r"9 of the 9 clips .* would go, more than max_removed = 0\.5.*max_removed=1"):
        judge_again(changed(curated, max_luma=20).model_copy(update={"max_removed": 0.5}))
    assert files_of(curated) == before


def test_what_is_taken_down_is_gone_at_once_and_no_run_brings_it_back(curated: CurateConfig, tmp_path: Path) -> None:
    rows = rows_of(curated)
    by_uri = Counter(row.uri for row in rows.values())
    clip_id = next(iter(rows))
    uri = next(uri for uri in by_uri if uri != rows[clip_id].uri)
    gone = {clip_id} | {name for name, row in rows.items() if row.uri == uri}
    seen = {"data": {"uri": curated.output, "clips": 1}}
    for name, meta in {"seen": seen, "other": {"data": {"uri": "s3://elsewhere/out"}}}.items():
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "meta.json").write_text(json.dumps(meta))
    where = ForgetConfig(output=curated.output, checkpoints=(str(tmp_path / "runs"),))
    forget(clip_id, where)
    forget(Path(uri).name, where)
    assert [Path(place).name for place in seen_by(curated.output, where.checkpoints)] == ["seen"]
    assert rows_of(curated).keys() == rows.keys() - gone
    named = {shard.path for shard in shards.read_manifest(curated.output).shards}
    stored = {f"latents/{path.name}" for path in (Path(curated.output) / "latents").iterdir()}
    assert stored == named, "no grace for what was taken down"
    told = ledger.read_rows(curated.output, ["clip_id", "reason", "preview", "caption", "fingerprint"]).to_pylist()
    out = [row for row in told if row["clip_id"] in gone]
    assert {(row["reason"], row["preview"], row["caption"], row["fingerprint"]) for row in out} == {
        ("forgotten", None, None, None)
    }
    for again in (curate, judge_again):
        again(changed(curated, min_sharpness=0.0))
        assert not rows_of(curated).keys() & gone
    with pytest.raises(MissingObject, match="neither an object nor a clip"):
        forget("nowhere.mp4", where)
