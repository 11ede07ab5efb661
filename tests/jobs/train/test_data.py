import threading
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from jobs.train.config import TrainConfig
from jobs.train.curve import draw_curve
from jobs.train.data import Dataset, RowGroups
from jobs.train.loader import Prefetch
from jobs.train.record import Record, StepTiming, read_lines
from sora_core import storage
from sora_core.errors import MissingObject
from sora_core.shapes import Patch
from sora_core.training.plan import Plan, PlannedStep
from sora_core.training.trainer import StepResult


def steps_of(config: TrainConfig, dataset: Dataset, count: int) -> list[PlannedStep]:
    return list(islice(Plan(dataset.tokens(Patch()), config.plan_rules()).steps(), count))


def test_validation_clips_are_kept_out_of_training(small_run: TrainConfig) -> None:
    dataset = Dataset.open(small_run.data)
    assert len(dataset.train) == 20
    assert len(dataset.val) == 4
    assert {entry.clip_id for entry in dataset.train}.isdisjoint(entry.clip_id for entry in dataset.val)


def test_a_checkpoint_counts_clips_by_licence(small_run: TrainConfig) -> None:
    dataset = Dataset.open(small_run.data)
    assert dataset.summary().licences == {"CC0-1.0": 10, "unknown": 10}
    assert dataset.summary().seconds == 20.0
    assert dataset.usual_fps() == 8.0


def test_clips_are_the_same_however_little_memory_may_be_kept(small_run: TrainConfig) -> None:
    dataset = Dataset.open(small_run.data)
    order = [dataset.train[number] for number in (19, 0, 11, 1, 18, 0)]
    roomy, tight = RowGroups(dataset, 1 << 30).examples(order), RowGroups(dataset, 1).examples(order)
    for ours, theirs, entry in zip(roomy, tight, order, strict=True):
        assert ours.clip_id == theirs.clip_id == entry.clip_id
        assert torch.equal(ours.latent_mean, theirs.latent_mean)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_workers_read_each_slot_of_a_step_once(small_run: TrainConfig, size: int) -> None:
    dataset = Dataset.open(small_run.data)
    rows, planned = RowGroups(dataset, 1 << 20), steps_of(small_run, dataset, 4)
    met: dict[int, list[int]] = {}
    for rank in range(size):
        for batch in Prefetch(iter(planned), dataset.train, rows, rank, size, ahead=2):
            for slot, example in (pair for pack in batch.packs for pair in pack):
                met.setdefault(batch.planned.step, []).append(slot)
                order = [clip for pack in batch.planned.packs for clip in pack]
                assert example.clip_id == dataset.train[order[slot]].clip_id
    assert {step: sorted(slots) for step, slots in met.items()} == {
        step.step: list(range(step.num_clips)) for step in planned
    }


def test_what_fails_while_reading_ahead_fails_the_step(small_run: TrainConfig) -> None:
    dataset = Dataset.open(small_run.data)
    planned = steps_of(small_run, dataset, 2)
    storage.delete_prefix(storage.join(small_run.data, "latents"))
    with pytest.raises(MissingObject, match="latents"):
        list(Prefetch(iter(planned), dataset.train, RowGroups(dataset, 1), 0, 1, ahead=1))


def test_reading_ahead_ends_when_it_is_closed(small_run: TrainConfig) -> None:
    dataset = Dataset.open(small_run.data)
    endless = Plan(dataset.tokens(Patch()), small_run.plan_rules()).steps()
    prefetch = Prefetch(endless, dataset.train, RowGroups(dataset, 1 << 20), 0, 1, ahead=2)
    next(iter(prefetch))
    prefetch.close()
    assert not any(thread.name == "prefetch" and thread.is_alive() for thread in threading.enumerate())


def note(record: Record, step: int, loss: float, **extra: Any) -> None:
    record.step(step, StepResult(loss, 1.0, 1.0, 0, 0, ()), StepTiming(0.1, 0.0, 64), extra)


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
