"""The training step on a device that the host must not wait for."""

import torch

from sora_core.training.draws import draw_step
from tests.pretend import Pretend
from tests.sora_core.training.test_trainer import DRAWS, EXAMPLES, planned_steps, slots, trainer


def test_a_step_waits_for_nothing_and_asks_for_its_numbers_once() -> None:
    clips = [EXAMPLES[0].referring_to(EXAMPLES[1], 1), *EXAMPLES[1:]]
    with Pretend() as host:
        subject = trainer(device=host.device)
        for planned in planned_steps(3):  # the optimisers make room in the first, the average begins
            host.forget()
            launched = subject.launch(planned, slots(planned, clips), draw_step(DRAWS, planned.step, planned.num_clips))
            assert (host.waits, len(host.reads)) == ([], 1), host.reads
            launched.result()


def test_steps_come_to_what_they_come_to_on_the_cpu() -> None:
    alone, planned = trainer(), planned_steps(2)
    wanted = [alone.step(one, slots(one), draw_step(DRAWS, one.step, one.num_clips)) for one in planned]
    with Pretend() as host:
        subject = trainer(device=host.device)
        found = [subject.step(one, slots(one), draw_step(DRAWS, one.step, one.num_clips)) for one in planned]
        torch.testing.assert_close([one.loss for one in found], [one.loss for one in wanted])
        with subject.ema.swapped_in():
            weights = {name: value.detach().cpu() for name, value in subject.dit.named_parameters()}
    torch.testing.assert_close(weights, {name: value.detach() for name, value in alone.ema.average.items()})
