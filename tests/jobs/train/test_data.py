import struct
import threading
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from tensorboardX.proto.event_pb2 import Event

from jobs.train.config import TrainConfig, ValidationConfig
from jobs.train.curve import draw_curve
from jobs.train.data import Dataset, Source
from jobs.train.driver import check
from jobs.train.groups import RowGroups
from jobs.train.loader import Prefetch
from jobs.train.loop import train_steps
from jobs.train.record import Record, StepTiming, read_lines
from sora_core import checkpoint, storage
from sora_core.errors import CorruptShard, FingerprintMismatch, InputError, StorageError
from sora_core.shapes import Patch
from sora_core.training.plan import PlannedStep, PlanRules
from sora_core.training.step import Example
from sora_core.training.trainer import ClipLoss, StepResult
from tests.groups import run

from .conftest import CHANNELS, SMALL, TEXT_DIM

CPU = torch.device("cpu")


def quietly(_step: int, _loss: float) -> None: ...


def steps_of(config: TrainConfig, dataset: Dataset, count: int) -> list[PlannedStep]:
    dit = config.model.dit(dataset.manifest.channels, dataset.manifest.text_dim, ())
    return list(islice(dataset.plan(Patch(), config.plan_rules(dit)).steps(), count))


def test_validation_clips_are_kept_out_of_training(small_run: TrainConfig) -> None:
    dataset = small_run.open_data()
    assert len(dataset.train) == 20
    assert len(dataset.val) == 4
    assert not set(dataset.train) & set(dataset.val)
    rows = small_run.read_rows(dataset).rows(dataset.train.tolist())
    assert {row.split for row in rows} == {"train"}


def test_a_checkpoint_counts_clips_by_licence(small_run: TrainConfig) -> None:
    dataset = small_run.open_data()
    assert dataset.summary().licences == {"CC0-1.0": 10, "unknown": 10}
    assert dataset.summary().seconds == 20.0
    assert dataset.usual_fps() == 8.0


def test_clips_are_the_same_however_little_memory_may_be_kept(small_run: TrainConfig) -> None:
    dataset = small_run.open_data()
    order = [int(dataset.train[number]) for number in (19, 0, 11, 1, 18, 0)]
    roomy, tight = RowGroups(dataset, 1 << 30).examples(order), RowGroups(dataset, 1, readers=1).examples(order)
    for ours, theirs, row in zip(roomy, tight, order, strict=True):
        assert ours.clip_id == theirs.clip_id == f"clip-{row}"
        assert torch.equal(ours.latent_mean, theirs.latent_mean)


def test_a_group_is_read_once_a_pass_where_the_cache_holds_a_window(small_run: TrainConfig) -> None:
    dataset = small_run.open_data()
    order = np.random.default_rng(0).permutation(dataset.train).tolist()
    roomy, tight = RowGroups(dataset, 1 << 30), RowGroups(dataset, 1, readers=1)
    for row in order:
        roomy.rows([row])
        tight.rows([row])
    assert roomy.num_read == 2 == len(dataset.group_first) - 1
    assert tight.num_read > 2


def test_memory_holds_no_more_than_it_may(tmp_path: Path, curated: Any) -> None:
    for number in range(6):
        curated(str(tmp_path / str(number)))
    dataset = Dataset.open([Source(str(tmp_path / str(number))) for number in range(6)])
    groups = RowGroups(dataset, 1 << 30)
    groups.rows(dataset.train.tolist())
    most = groups.num_bytes // 3
    bounded = RowGroups(dataset, most)
    for row in dataset.train.tolist() * 2:
        bounded.rows([row])
        assert bounded.num_bytes <= most


@pytest.mark.parametrize("size", [1, 2, 3])
def test_workers_read_each_slot_of_a_step_once(small_run: TrainConfig, size: int) -> None:
    dataset = small_run.open_data()
    rows, planned = RowGroups(dataset, 1 << 20), steps_of(small_run, dataset, 4)
    met: dict[int, list[int]] = {}
    for rank in range(size):
        for batch in Prefetch(iter(planned), dataset.train, rows, rank, size, ahead=2):
            for slot, example in (pair for pack in batch.packs for pair in pack):
                met.setdefault(batch.planned.step, []).append(slot)
                order = [clip for pack in batch.planned.packs for clip in pack]
                assert example.clip_id == f"clip-{dataset.train[order[slot]]}"
    assert {step: sorted(slots) for step, slots in met.items()} == {
        step.step: list(range(step.num_clips)) for step in planned
    }


@pytest.mark.parametrize("subject", [None, "number [0-9]?([0-9])$"])
def test_references_come_with_their_clips_to_whichever_worker(
    tmp_path: Path, curated: Any, subject: str | None
) -> None:
    """Clips of one file have one subject, or those whose captions say so; validation clips are nobody's reference."""
    curated(str(tmp_path / "data"), clips=24, per_file=3)
    values = {"data": str(tmp_path / "data"), "output": "o", "given": {"reference": 0.9}, "subject": subject}
    config = TrainConfig.model_validate(SMALL | values)
    dataset = config.open_data()
    rows = RowGroups(dataset, 1 << 30)
    latents = {row.clip_id: torch.tensor(row.latent_mean) for row in rows.rows(range(24))}

    def same(clip: int, other: int) -> bool:
        return clip % 10 == other % 10 if subject else clip // 3 == other // 3

    plan = config.plan(dataset, config.model.dit(CHANNELS, TEXT_DIM, ()))
    planned = list(islice(plan.steps(), 3))
    by_workers: list[dict[tuple[int, int], Example]] = []
    for size in (1, 2):
        batches = [
            batch for rank in range(size) for batch in Prefetch(iter(planned), dataset.train, rows, rank, size, 2)
        ]
        by_workers.append(
            {(batch.planned.step, slot): clip for batch in batches for pack in batch.packs for slot, clip in pack}
        )
    referring = [clip for clip in by_workers[0].values() if clip.reference is not None]
    assert len(referring) > 10
    for clip in referring:
        beginnings = [
            name
            for name, latent in latents.items()
            if torch.equal(latent[:, : clip.reference.shape[1]], clip.reference)
        ]  # type: ignore[union-attr]
        [other] = {int(name.removeprefix("clip-")) for name in beginnings}
        own = int(clip.clip_id.removeprefix("clip-"))
        assert other != own
        assert other >= 4
        assert same(own, other)
    for place, clip in by_workers[0].items():
        again = by_workers[1][place]
        assert (clip.clip_id, clip.reference is None) == (again.clip_id, again.reference is None)
        assert clip.reference is None or torch.equal(clip.reference, again.reference)  # type: ignore[arg-type]


def test_references_without_a_pair_are_refused(small_run: TrainConfig) -> None:
    config = small_run.model_copy(update={"given": {"reference": 0.5}})
    with pytest.raises(InputError, match=r"given.reference = 0.5: no two clips have one subject, told by file"):
        config.plan(config.open_data(), config.model.dit(CHANNELS, TEXT_DIM, ()))


def test_storage_that_fails_while_reading_ahead_fails_the_step(small_run: TrainConfig) -> None:
    dataset = small_run.open_data()
    planned = steps_of(small_run, dataset, 2)
    gone = replace(dataset, sources=(Source("ftp://nowhere"),))
    with pytest.raises(StorageError, match="unknown scheme 'ftp'"):
        list(Prefetch(iter(planned), dataset.train, RowGroups(gone, 1), 0, 1, ahead=1))


def test_a_shard_that_is_gone_leaves_slots_empty_and_is_named(small_run: TrainConfig) -> None:
    dataset = small_run.open_data()
    planned = steps_of(small_run, dataset, 2)
    storage.delete_prefix(storage.join(small_run.data or "", "latents"))
    rows = RowGroups(dataset, 1)
    batches = list(Prefetch(iter(planned), dataset.train, rows, 0, 1, ahead=1))
    assert [slot for batch in batches for pack in batch.packs for slot in pack] == []
    assert any("latents/0.parquet" in fault for fault in rows.faults)
    with pytest.raises(CorruptShard, match=r"latents/.*\.parquet: no such"):
        rows.examples([0])


def test_reading_ahead_ends_when_it_is_closed(small_run: TrainConfig) -> None:
    dataset = small_run.open_data()
    endless = dataset.plan(Patch(), PlanRules(0, 64, 2, 72.0)).steps()
    prefetch = Prefetch(endless, dataset.train, RowGroups(dataset, 1 << 20), 0, 1, ahead=2)
    next(iter(prefetch))
    prefetch.close()
    assert not any(thread.name == "prefetch" and thread.is_alive() for thread in threading.enumerate())


def note(record: Record, step: int, loss: float, **extra: Any) -> None:
    record.step(step, StepResult(loss, 1.0, 1.0, 0, 0, ()), StepTiming(0.1, 0.0, 64, 0.5), extra)


def test_the_newest_line_of_a_step_counts(tmp_path: Path) -> None:
    first, second = Record(str(tmp_path), 10, 60.0), Record(str(tmp_path), 10, 60.0)
    for step in (1, 2, 3):
        note(first, step, 1 / 3)
    first.flush()
    for step in (3, 4):
        note(second, step, 2 / 3)
    second.flush()
    assert {step: line["loss"] for step, line in read_lines(str(tmp_path)).items()} == {
        1: 1 / 3, 2: 1 / 3, 3: 2 / 3, 4: 2 / 3,
    }  # fmt: skip


def events(folder: Path) -> list[Event]:
    """All records of a folder of event files, in the order in which TensorBoard reads them."""
    found = []
    for path in sorted((folder / "tensorboard").iterdir()):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            found.append(Event.FromString(data[12 : 12 + length]))
            data = data[16 + length :]
    return found


def test_tensorboard_gets_every_number_and_forgets_steps_that_are_done_again(tmp_path: Path) -> None:
    first, second = Record(str(tmp_path), 10, 60.0), Record(str(tmp_path), 10, 60.0)
    for step in (1, 2, 3):
        note(first, step, 0.5, val_loss={"0.10": 0.25} if step == 2 else {})
    first.flush()
    note(second, 3, 0.75)
    second.flush()
    found = events(tmp_path)
    steps = [(event.step, event.HasField("session_log")) for event in found if not event.file_version]
    assert steps == [(1, True), (1, False), (2, False), (3, False), (3, True), (3, False)]
    second_step = {value.tag: value.simple_value for value in found[3].summary.value}
    assert second_step["loss"] == 0.5
    assert second_step["val_loss/0.10"] == 0.25
    assert second_step["mfu"] == 0.5
    assert not {"step", "time"} & set(second_step)


def test_a_live_line_tells_the_loss_by_noise_level_and_shape(tmp_path: Path) -> None:
    record = Record(str(tmp_path), 2, 60.0)
    clips = (ClipLoss(0.12, (1, 4, 4), 1.0), ClipLoss(0.18, (3, 4, 6), 2.0), ClipLoss(0.99, (3, 4, 6), 4.0))
    for step in (1, 2):
        record.step(step, StepResult(1.0, 1.0, 1.0, 0, 0, clips), StepTiming(0.1, 0.0, 64, 0.5), {})
    record.flush()
    lines = read_lines(str(tmp_path))
    assert "loss_by_sigma" not in lines[1], "only where the live line is shown"
    assert lines[2]["loss_by_sigma"] == {"0.15": 1.5, "0.95": 4.0}
    assert lines[2]["loss_by_shape"] == {"1x4x4": 1.0, "3x4x6": 3.0}


def test_a_cut_ends_a_file_and_stores_it_as_often_as_asked(tmp_path: Path) -> None:
    record = Record(str(tmp_path), 10, 60.0)
    note(record, 1, 0.5)
    store = record.cut()
    note(record, 2, 0.25)
    assert not read_lines(str(tmp_path))
    store()
    store()
    assert list(read_lines(str(tmp_path))) == [1]
    record.flush()
    assert list(read_lines(str(tmp_path))) == [1, 2]
    assert len(list((tmp_path / "metrics").iterdir())) == 2


@pytest.mark.parametrize("judged", [{}, {"val_loss": {"0.10": 1.0, "0.90": 0.5}}])
def test_a_curve_is_a_picture_with_or_without_validation(judged: dict[str, object]) -> None:
    lines = {step: {"loss": 1 / step} | (judged if step % 5 == 0 else {}) for step in range(1, 30)}
    assert draw_curve(lines).startswith(b"\x89PNG")
    assert draw_curve({}).startswith(b"\x89PNG")


# --- several sources


def test_sources_are_met_by_their_weights_and_keep_their_own_tensors(tmp_path: Path, curated: Any) -> None:
    uris = [str(tmp_path / name) for name in "ab"]
    curated(uris[0], clips=24)
    curated(uris[1], clips=44)
    dataset = Dataset.open([Source(uris[0], weight=4.0), Source(uris[1])])
    assert [pool.num_clips for pool in dataset.pools()] == [20, 40]
    plan = dataset.plan(Patch(), PlanRules(0, 64, 2, 72.0))
    met = np.concatenate([np.concatenate(planned.packs) for planned in islice(plan.steps(), 60)])
    assert (met < 20).mean() == pytest.approx(80 / 120, abs=0.04)
    rows = RowGroups(dataset, 1 << 20).rows([0, 23, 24, 67])
    assert [row.clip_id for row in rows] == ["clip-0", "clip-23", "clip-0", "clip-43"]
    assert [row < 24 for row in dataset.judges(4)] == [True, True, False, False], "both are judged by"


def test_sources_of_different_encoders_are_refused(tmp_path: Path, curated: Any) -> None:
    curated(str(tmp_path / "a"))
    curated(str(tmp_path / "b"), vae="vae-2")
    with pytest.raises(FingerprintMismatch, match=r"/b doesn't go with .*/a: the latents"):
        Dataset.open([Source(str(tmp_path / "a")), Source(str(tmp_path / "b"))])


def test_one_folder_or_several_sources_but_not_both_nor_none() -> None:
    rest = {"output": "o", "steps": 1, "checkpoint_every": 1}
    for wrong in ({}, {"data": "d", "sources": [{"data": "d"}]}):
        with pytest.raises(ValidationError, match="give data = URI, or a"):
            TrainConfig.model_validate(rest | wrong)
    assert TrainConfig.model_validate(rest | {"sources": [{"data": "d", "weight": 2}]}).sources[0].weight == 2.0


@pytest.mark.parametrize("share", [0.0, 0.7])
def test_a_run_meets_stills_in_the_share_that_it_states(small_run: TrainConfig, share: float) -> None:
    config = small_run.model_copy(update={"image_share": share})
    dataset = config.open_data()
    met = np.concatenate([np.concatenate(planned.packs) for planned in steps_of(config, dataset, 150)])
    assert dataset.stills()[met].mean() == pytest.approx(share, abs=0.06)


# --- damage


def damage(config: TrainConfig, *, footer: bool = False) -> str:
    """Spoil the rows, or the footer, of the second shard of a curated folder; its path."""
    dataset = config.open_data()
    uri, shard = dataset.shard(1)
    path = Path(uri) / shard.path
    data = bytearray(path.read_bytes())
    data[-1 if footer else 50] ^= 0xFF
    path.write_bytes(data)
    return str(path)


def test_a_corrupt_shard_stops_the_run_by_name(small_run: TrainConfig) -> None:
    path = damage(small_run)
    with pytest.raises(CorruptShard, match=path):
        train_steps(small_run, CPU, quietly)


def stopped_by(config: TrainConfig, path: str) -> None:
    with pytest.raises(CorruptShard, match=path):
        train_steps(config, CPU, quietly)


@pytest.mark.slow
def test_all_workers_stop_by_the_name_of_what_one_of_them_could_not_read(small_run: TrainConfig) -> None:
    path = damage(small_run)
    config = small_run.model_copy(update={"validation": ValidationConfig(clips=0)})
    run(2, stopped_by, config, path)


def test_a_corrupt_footer_is_named_before_any_step(small_run: TrainConfig) -> None:
    path = damage(small_run, footer=True)
    with pytest.raises(CorruptShard, match=path):
        check(small_run)


def test_skipped_clips_are_counted_and_a_resumed_run_skips_the_same(small_run: TrainConfig, tmp_path: Path) -> None:
    config = small_run.model_copy(update={"on_corrupt": "skip", "validation": ValidationConfig(clips=0)})
    sound = config.model_copy(update={"output": str(tmp_path / "sound")})
    train_steps(sound, CPU, quietly)
    damage(config)
    train_steps(config, CPU, quietly)
    once = read_lines(config.output)
    for step in (8, 12):
        storage.delete(storage.join(checkpoint.step_uri(config.output, step), checkpoint.META))
    train_steps(config, CPU, quietly)
    again = read_lines(config.output)
    assert [line["time"] for line in again.values()][-8:] != [line["time"] for line in once.values()][-8:]
    assert [line["loss"] for line in again.values()] == [line["loss"] for line in once.values()]
    assert all(int(str(line["skipped"])) > 0 for line in once.values())
    whole = read_lines(sound.output)
    assert [line["tokens"] for line in once.values()] == [line["tokens"] for line in whole.values()], "the same plan"
    assert not any("skipped" in line for line in whole.values())


def test_a_shard_without_a_footer_is_left_out_and_counted(small_run: TrainConfig) -> None:
    config = small_run.model_copy(update={"on_corrupt": "skip"})
    damage(config, footer=True)
    dataset = config.open_data()
    assert dataset.num_left_out == 12
    assert len(dataset.train) + len(dataset.val) == 12
