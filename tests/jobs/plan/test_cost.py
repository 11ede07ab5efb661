"""What is told before anything is rented is plain arithmetic over rates that say how they are known."""

from pathlib import Path
from typing import Any

import pytest

from jobs.plan.__main__ import main
from jobs.plan.cost import Ask, Line, estimate
from jobs.plan.rates import MODELS, load_rates
from sora_core.dit.cost import flops
from sora_core.errors import ConfigError

ASKED: dict[str, Any] = {
    "footage": 1000.0, "model": "1.3b", "steps": 1000, "pack_tokens": 65_536, "size": (480, 832), "frames": 81,
    "fps": 16.0, "videos": 10, "sampling_steps": 50, "gpu": "h100", "gpus": 8, "cores": 64, "gpu_price": 3.0,
    "core_price": 0.05,
}  # fmt: skip


def lines(**changes: Any) -> dict[str, Line]:
    return {line.what: line for line in estimate(Ask(**ASKED | changes), load_rates()).lines}


def test_each_line_is_the_product_of_its_rates() -> None:
    rates, found = load_rates(), lines()
    assert Ask(**ASKED).video_tokens == 21 * 30 * 52
    assert found["examine"].hours == pytest.approx(1000 * 355 / 3600)
    assert found["examine"].money == pytest.approx(found["examine"].hours * 0.05)
    work = 3 * flops(MODELS["1.3b"], [32_760] * 2, [512] * 2)
    wanted_h = 1000 * 8 * work / (989e12 * rates["training_mfu"] * rates["goodput"]) / 3600
    assert found["train"].hours == pytest.approx(wanted_h)
    assert found["train"].days == pytest.approx(wanted_h / 8 / 24)
    assert found["train"].money == pytest.approx(wanted_h * 3.0)


def test_twice_the_devices_halve_the_days_and_twice_the_videos_double_the_hours() -> None:
    assert lines(gpus=16)["encode"].days == pytest.approx(lines()["encode"].days / 2)
    assert lines(videos=20)["20 videos"].hours == pytest.approx(2 * lines()["10 videos"].hours)


def test_what_is_not_asked_for_is_not_told_and_without_a_price_there_is_no_money() -> None:
    assert [*lines(footage=0.0, videos=0)] == ["train"]
    assert all(line.money is None for line in lines(gpu_price=None).values())
    assert all(line.money == 0 for line in lines(gpu_price=0.0, core_price=0.0).values())  # given for nothing


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"gpus": 0}, "--gpus 0: write a number above 0"),
        ({"footage": -1.0}, r"--footage -1.0"),
        ({"pack_tokens": 1000}, "one video has 32760 tokens already"),
        ({"gpu": "abacus"}, "--gpu abacus: none of a100, b200"),
    ],
)
def test_what_makes_no_sense_is_named(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        lines(**changes)


def test_the_command_tells_what_is_measured_and_what_assumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "rates.toml"
    own.write_text(
        '[rates.training_mfu]\nvalue = 0.55\nknown = "measured"\nby = "our own run"\n[peaks]\nours = 500.0\n'
    )
    command = ["cost", "--footage", "100h", "--steps", "10", "--gpu", "ours", "--rates", str(own)]
    assert main(command) == 0
    told = capsys.readouterr().out
    assert "training_mfu 0.55, measured (our own run)" in told
    assert "goodput 0.93, assumed (" in told
    assert main([*command[:-2], "--gpu", "other"]) == 2
    own.write_text("[rates.speed]\nvalue = 1\n")
    assert main(command) == 2
    assert "unknown rates speed" in capsys.readouterr().err
