"""However workers divide weights, packs and tokens, they train as one would."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from sora_core.errors import ConfigError
from sora_core.training.draws import draw_step
from sora_core.training.parallel import Layout, Mode, Workers, rank_and_size
from sora_core.training.sharding import local
from sora_core.training.trainer import Trainer
from tests.groups import run

from .test_trainer import CPU, DRAWS, EXAMPLES, planned_steps, slots, trainer


def test_a_layout_gives_every_worker_a_shard_a_replica_and_packs() -> None:
    layouts = [Layout.of("hsdp", rank, 8, 2, 4) for rank in range(8)]
    assert [layout.replica for layout in layouts] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert [layout.data_rank for layout in layouts] == [0, 0, 0, 0, 1, 1, 1, 1]
    assert {(layout.replicas, layout.data_workers) for layout in layouts} == {(4, 2)}
    assert Layout.of("fsdp", 0, 8, None, 1).replicas == 1
    assert Layout.of("ddp", 0, 8, None, 1).replicas == 8


def test_workers_that_cannot_be_divided_as_asked_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"shards = 4 doesn't divide 6 workers"):
        Layout.of("hsdp", 0, 6, 4, 1)
    with pytest.raises(ConfigError, match=r"context_parallel = 4 doesn't divide 6 workers"):
        Layout.of("ddp", 0, 6, None, 4)
    with pytest.raises(ConfigError, match=r"hsdp.* needs shards"):
        Layout.of("hsdp", 0, 6, None, 1)
    with pytest.raises(ConfigError, match=r"shards = 2 goes with"):
        Layout.of("fsdp", 0, 6, 2, 1)


def _skip_alike(expected: float) -> None:
    """The second of two workers that share a pack couldn't read its second clip."""
    rank, size = rank_and_size()
    subject = trainer(Workers.join(Layout.of("ddp", rank, size, None, 2), CPU))
    [planned] = planned_steps(1)
    packs = slots(planned)
    packs[0] = [pair for number, pair in enumerate(packs[0]) if number != 1 or rank == 0]
    result = subject.step(planned, packs, draw_step(DRAWS, planned.step, planned.num_clips))
    assert result.num_skipped == 1
    assert result.loss == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_what_one_worker_of_a_pack_could_not_read_is_left_out_by_all() -> None:
    alone = trainer()
    [planned] = planned_steps(1)
    packs = slots(planned)
    packs[0] = [pair for number, pair in enumerate(packs[0]) if number != 1]
    run(2, _skip_alike, alone.step(planned, packs, draw_step(DRAWS, planned.step, planned.num_clips)).loss)


@dataclass(frozen=True)
class Trained:
    """What a few steps come to, whole, and the loss of a pack by the averages."""

    losses: list[float]
    norms: list[float]
    judged: float
    weights: dict[str, Tensor]
    average: dict[str, Tensor]


@dataclass(frozen=True)
class Case:
    """How the model is trained, and how far apart rounding may take relative losses and absolute weights.

    AdamW moves a weight whose gradient is hardly more than rounding by a part of its rate (0.003), whatever that is.
    """

    precision: torch.dtype = torch.float32
    muon: bool = False
    checkpointing: bool = False
    loss: float = 1e-6
    weight: float = 5e-5

    def trainer(self, workers: Workers) -> Trainer:
        subject = trainer(workers, self.precision, self.muon)
        subject.dit.activation_checkpointing = self.checkpointing
        return subject


def whole(value: Tensor) -> Tensor:
    held = value.detach()
    return held.full_tensor() if isinstance(held, DTensor) else held.clone()


def train(subject: Trainer) -> Trained:
    layout = subject.workers.layout
    results = []
    for planned in planned_steps(3):
        mine = [slots(planned)[number] for number in planned.share(layout.data_workers)[layout.data_rank]]
        results.append(subject.step(planned, mine, draw_step(DRAWS, planned.step, planned.num_clips)))
    draws = draw_step(DRAWS, 9, 4)
    tasks = [subject.objective.task(clip, draw) for clip, draw in zip(EXAMPLES[:4], draws, strict=True)]
    with subject.ema.swapped_in():
        judged = subject.judge([tasks] if layout.data_rank == 0 else [])
    return Trained(
        [result.loss for result in results],
        [result.gradient_norm for result in results],
        sum(map(sum, judged)),
        {name: whole(value) for name, value in subject.dit.named_parameters()},
        {name: whole(value) for name, value in subject.ema.average.items()},
    )


def _train_as_one(expected: Trained, case: Case, layouts: Sequence[tuple[Mode, int | None, int]]) -> None:
    for mode, shards, context in layouts:
        layout = Layout.of(mode, *rank_and_size(), shards, context)
        subject = case.trainer(Workers.join(layout, CPU))
        held = sum(local(value.detach()).numel() for value in subject.dit.parameters())
        assert held < 1.2 * subject.dit.num_params / layout.shards
        found = train(subject)
        assert found.losses == pytest.approx(expected.losses, rel=case.loss)
        assert found.norms == pytest.approx(expected.norms, rel=20 * case.loss)
        if layout.data_rank == 0:
            assert found.judged == pytest.approx(expected.judged, rel=10 * case.loss)
        for ours, theirs in ((found.weights, expected.weights), (found.average, expected.average)):
            for name, value in theirs.items():
                assert float((ours[name] - value).abs().max()) < case.weight, name


# A step has two packs: of three workers one has none, and of four in pairs no pair has both.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("workers", "case", "layouts"),
    [
        (3, Case(checkpointing=True), [("fsdp", None, 1), ("fsdp", None, 3)]),
        (4, Case(), [("hsdp", 2, 1), ("hsdp", 2, 2)]),
        # Newton-Schulz runs in bfloat16, and a batch's members decide how its products round.
        (2, Case(muon=True, weight=3e-3), [("ddp", None, 2), ("fsdp", None, 1)]),
        (2, Case(torch.bfloat16, loss=5e-4, weight=2e-2), [("ddp", None, 2), ("fsdp", None, 1)]),
    ],
    ids=["shards", "shards-and-replicas", "muon", "bfloat16"],
)
def test_workers_train_as_one_would(workers: int, case: Case, layouts: list[tuple[Mode, int | None, int]]) -> None:
    run(workers, _train_as_one, train(case.trainer(Workers())), case, layouts)
