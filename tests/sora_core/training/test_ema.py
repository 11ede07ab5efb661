import torch
from torch import nn

from sora_core.training.ema import Ema, decay_at


def model_with(value: float) -> nn.Linear:
    model = nn.Linear(3, 2)
    nn.init.constant_(model.weight, value)
    nn.init.constant_(model.bias, -value)
    return model


def test_the_average_equals_its_closed_form() -> None:
    model = model_with(5.0)
    ema = Ema(model.named_parameters(), decay=0.9)
    values = [float(step * step % 7) for step in range(1, 40)]
    for step, value in enumerate(values, start=1):
        with torch.no_grad():
            model.weight.fill_(value)
        ema.update(step)
    weights = []
    for step in range(1, 40):
        weight = 1 - decay_at(step, 0.9)
        for later in range(step + 1, 40):
            weight *= decay_at(later, 0.9)
        weights.append(weight)
    expected = sum(weight * value for weight, value in zip(weights, values, strict=True))
    torch.testing.assert_close(ema.average["weight"], torch.full((2, 3), expected))


def test_the_start_is_forgotten_at_once_and_the_decay_reached() -> None:
    assert decay_at(1, 0.995) == 0
    assert decay_at(100_000, 0.995) == 0.995
    assert all(decay_at(step, 0.995) <= decay_at(step + 1, 0.995) for step in range(1, 3000))


def test_swapping_in_the_average_leaves_the_weights_untouched() -> None:
    model = model_with(1.0)
    ema = Ema(model.named_parameters(), decay=0.5)
    ema.update(1)
    with torch.no_grad():
        model.weight.fill_(3.0)
    with ema.swapped_in():
        assert float(model.weight[0, 0].detach()) == 1.0
    assert float(model.weight[0, 0].detach()) == 3.0
    assert float(ema.average["weight"][0, 0]) == 1.0
