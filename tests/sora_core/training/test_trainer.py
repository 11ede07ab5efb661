import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from sora_core.diffusion.flow import ShiftLaw
from sora_core.dit.config import DiTConfig
from sora_core.dit.model import DiT
from sora_core.shapes import Patch
from sora_core.training.draws import Draw, DrawRules, draw_step
from sora_core.training.fill import Drawn
from sora_core.training.optim import OptimRules
from sora_core.training.parallel import ALONE, Workers
from sora_core.training.plan import Plan, PlannedStep, PlanRules
from sora_core.training.step import Example, NonFiniteLoss, Objective, task_losses
from sora_core.training.trainer import Slots, Trainer
from sora_core.vae.whitening import Whitening

CPU = torch.device("cpu")
DRAWS = DrawRules(seed=5, caption_dropout=0.2, given={"first_frame": 0.3, "outside_a_box": 0.2})


def example(number: int) -> Example:
    generator = torch.Generator().manual_seed(number)
    shape = [(4, 1, 4, 4), (4, 2, 4, 4), (4, 3, 4, 6)][number % 3]
    return Example(
        f"clip-{number}",
        torch.randn(shape, generator=generator).half(),
        torch.full(shape, 0.1).half(),
        torch.randn(3, 8, generator=generator).half(),
    )


EXAMPLES = [example(number) for number in range(12)]
LENGTHS = np.array([clip.latent_mean[0].numel() // 4 for clip in EXAMPLES])


def trainer(
    workers: Workers = ALONE,
    precision: torch.dtype = torch.float32,
    muon: bool = True,
    device: torch.device = CPU,
) -> Trainer:
    torch.manual_seed(0)
    config = DiTConfig(
        num_attention_heads=6, attention_head_dim=8, in_channels=4, out_channels=4,
        text_dim=8, ffn_dim=24, num_layers=2, pooled_text=True,
    )  # fmt: skip
    whitening = Whitening((0.1, 0.0, -0.1, 0.2), (1.0, 2.0, 0.5, 1.5))
    # Where weights lie in shards, no worker makes the whole model.
    drawn = None if workers.weights is None else Drawn(lambda: DiT(config), seed=0)
    return Trainer(
        DiT(config) if drawn is None else drawn.model,
        Objective(config.patch, whitening, ShiftLaw(3.0), torch.zeros(2, 8)),
        OptimRules(3e-3, 0.02 if muon else None, (0.9, 0.95), 0.0, 0, 1.0),
        num_steps=50,
        ema_decay=0.9,
        precision=precision,
        device=device,
        workers=workers,
        rows=drawn and drawn.rows,
    )


def planned_steps(count: int) -> list[PlannedStep]:
    steps = Plan(LENGTHS, PlanRules(0, 48, 2, 72.0)).steps()
    return [next(steps) for _ in range(count)]


def slots(planned: PlannedStep, clips: Sequence[Example] = EXAMPLES) -> list[Slots]:
    return [
        list(enumerate((clips[number] for number in pack), start=first))
        for pack, first in zip(planned.packs, planned.first_slots, strict=True)
    ]


KINDS = ("nothing", "first_frame")


def draw(u: float = 0.5, kind: str = "nothing") -> Draw:
    return Draw(u=u, drop_caption=False, mask_kind=kind, mask_seed=1, noise_seed=2, posterior_seed=3)


def test_a_share_of_the_levels_is_drawn_without_a_shift_and_draws_stay_stratified() -> None:
    objective = replace(trainer().objective, clean_share=0.5)
    u = [(number + 0.5) / 400 for number in range(400)]
    levels = np.array([float(objective.task(EXAMPLES[0], draw(one)).clip.sigma) for one in u])
    low, high = levels[:200], levels[200:]
    assert np.median(low) == pytest.approx(0.5, abs=0.01)
    assert np.median(high) == pytest.approx(0.75, abs=0.01)  # shift 3
    assert (np.diff(low) > 0).all()
    assert (np.diff(high) > 0).all()


def test_a_reference_is_learned_from_and_not_learned() -> None:
    subject = trainer()
    torch.nn.init.normal_(subject.dit.proj_out.weight, std=0.3)
    torch.nn.init.normal_(subject.dit.condition_embedder.time_proj.weight, std=0.3)
    plain, shown = EXAMPLES[1], EXAMPLES[1].referring_to(EXAMPLES[2], frames=2)
    tasks = [subject.objective.task(example, draw(kind=kind)) for example in (plain, shown) for kind in KINDS]
    assert len(tasks[-1].target) == len(tasks[0].target) + 2 * 6
    losses = task_losses(subject.dit, tasks, Patch(), CPU, torch.float32)
    alone = [task_losses(subject.dit, [task], Patch(), CPU, torch.float32) for task in tasks]
    torch.testing.assert_close(losses, torch.cat(alone))
    assert not torch.allclose(losses[: len(KINDS)], losses[len(KINDS) :])
    off = replace(tasks[-1], target=torch.cat([tasks[-1].target[:-12], tasks[-1].target[-12:] + 9]))
    assert task_losses(subject.dit, [off], Patch(), CPU, torch.float32) == alone[-1]


def test_training_lowers_the_loss() -> None:
    # Clips of noise: what can be learned is the size of the velocity at each noise level.
    subject = trainer()
    losses = [
        subject.step(planned, slots(planned), draw_step(DRAWS, planned.step, planned.num_clips)).loss
        for planned in planned_steps(40)
    ]
    assert np.mean(losses[-8:]) < 0.95 * np.mean(losses[:8])


def test_the_same_steps_come_to_the_same_losses_bit_for_bit() -> None:
    runs = []
    for _ in range(2):
        subject = trainer()
        runs.append(
            [
                subject.step(planned, slots(planned), draw_step(DRAWS, planned.step, planned.num_clips)).loss
                for planned in planned_steps(6)
            ]
        )
    assert runs[0] == runs[1]


def test_the_gradient_of_a_step_is_that_of_the_mean_over_its_clips() -> None:
    planned = planned_steps(1)[0]
    draws = draw_step(DRAWS, planned.step, planned.num_clips)
    subject, whole = trainer(), trainer()
    tasks = [whole.objective.task(clip, draws[slot]) for pack in slots(planned) for slot, clip in pack]
    loss = task_losses(whole.dit, tasks, Patch(), CPU, torch.float32).mean()
    gradients = torch.autograd.grad(loss, list(whole.dit.parameters()), allow_unused=True)
    subject._backward(planned, slots(planned), draws)
    for parameter, expected in zip(subject.dit.parameters(), gradients, strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, torch.zeros_like(parameter) if expected is None else expected)


def test_given_tokens_enter_clean_and_do_not_count() -> None:
    objective = trainer().objective
    clip = EXAMPLES[2]
    task = objective.task(clip, draw(kind="first_frame"))
    clean = objective.clean(clip, posterior_seed=3)
    assert torch.equal(task.clip.latent[:, 0], clean[:, 0])
    assert not torch.equal(task.clip.latent[:, 1], clean[:, 1])
    assert isinstance(task.clip.sigma, torch.Tensor)
    per_frame = task.clip.sigma.view(3, -1)
    assert bool((per_frame[0] == 0).all())
    assert bool((per_frame[1:] > 0).all())

    def off_by(tokens: slice) -> float:
        answer = task.target.clone()
        answer[tokens] += 1.0
        return float(task_losses(lambda _: answer, [task], Patch(), CPU, torch.float32))

    assert off_by(slice(0, 6)) == 0.0
    assert off_by(slice(6, 18)) == 1.0


def test_a_dropped_caption_becomes_the_null_text() -> None:
    objective = trainer().objective
    kept = objective.task(EXAMPLES[0], draw())
    dropped = objective.task(EXAMPLES[0], Draw(0.5, True, "nothing", 1, 2, 3))
    assert torch.equal(kept.clip.text, EXAMPLES[0].text.float())
    assert torch.equal(dropped.clip.text, objective.null_text)
    assert torch.equal(kept.clip.latent, dropped.clip.latent)


def test_a_loss_that_is_no_number_stops_before_the_update_and_names_step_and_clip() -> None:
    subject = trainer()
    planned = planned_steps(1)[0]
    spoilt = int(planned.packs[1][0])
    clips = list(EXAMPLES)
    clips[spoilt] = Example(
        f"clip-{spoilt}", clips[spoilt].latent_mean * math.nan, clips[spoilt].latent_std, clips[spoilt].text
    )
    before = {name: value.clone() for name, value in subject.dit.state_dict().items()}
    with pytest.raises(NonFiniteLoss, match=rf"step 1: .*clip-{spoilt}\b"):
        subject.step(planned, slots(planned, clips), draw_step(DRAWS, 1, planned.num_clips))
    for name, value in subject.dit.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_a_skipped_clip_leaves_the_mean_over_the_others() -> None:
    planned = planned_steps(1)[0]
    draws = draw_step(DRAWS, planned.step, planned.num_clips)
    packs = [pack[1:] if number == 0 else pack for number, pack in enumerate(slots(planned))]
    subject, whole = trainer(), trainer()
    result = subject.step(planned, packs, draws)
    tasks = [whole.objective.task(clip, draws[slot]) for pack in packs for slot, clip in pack]
    loss = task_losses(whole.dit, tasks, Patch(), CPU, torch.float32).mean()
    loss.backward()  # type: ignore[no-untyped-call]
    norm = torch.cat([p.grad.flatten() for p in whole.dit.parameters() if p.grad is not None]).norm()
    assert result.num_skipped == 1
    assert result.loss == pytest.approx(loss.item(), rel=1e-6)
    assert result.gradient_norm == pytest.approx(float(norm), rel=1e-5)


def test_a_step_tells_the_loss_of_each_clip_with_its_noise_level_and_shape() -> None:
    planned = planned_steps(1)[0]
    draws = draw_step(DRAWS, planned.step, planned.num_clips)
    result = trainer().step(planned, slots(planned), draws)
    assert [clip.shape for clip in result.clips] == [
        tuple(example.latent_mean.shape[1:]) for pack in slots(planned) for _, example in pack
    ]
    assert np.mean([clip.loss for clip in result.clips]) == pytest.approx(result.loss, rel=1e-6)
    assert all(0 < clip.sigma < 1 for clip in result.clips)


def test_weights_that_are_frozen_stay_and_have_no_state() -> None:
    subject = trainer()
    subject.dit.patch_embedding.requires_grad_(False)
    subject = Trainer(
        subject.dit, subject.objective, OptimRules(3e-3, 0.02, (0.9, 0.95), 0.1, 0, 1.0),
        num_steps=50, ema_decay=0.9, precision=torch.float32, device=CPU,
    )  # fmt: skip
    before = {name: value.clone() for name, value in subject.dit.state_dict().items()}
    for planned in planned_steps(2):
        subject.step(planned, slots(planned), draw_step(DRAWS, planned.step, planned.num_clips))
    moved = {name for name, value in subject.dit.state_dict().items() if not torch.equal(value, before[name])}
    assert "proj_out.weight" in moved
    assert not any(name.startswith("patch_embedding") for name in moved | set(subject.ema.average))
    assert not any(name.startswith("patch_embedding") for name in subject.optimizers.state())
