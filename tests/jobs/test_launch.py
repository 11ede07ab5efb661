import socket
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.launch import JobConfig, load_config, require_free_port
from sora_core.errors import ConfigError


class Optimiser(JobConfig):
    rate: float = 0.1


class Example(JobConfig):
    """An example."""

    output: str
    steps: int = 10
    optimiser: Optimiser = Optimiser()


@pytest.fixture
def toml(tmp_path: Path) -> str:
    path = tmp_path / "example.toml"
    path.write_text('output = "here"\nsteps = 20\n')
    return str(path)


def test_a_setting_on_the_command_line_wins_over_the_file_and_the_file_over_the_default(toml: str) -> None:
    argv = ["--config", toml, "--set", "steps=30", "optimiser.rate=0.5", "--set", "output=s3://bucket/x"]
    config = load_config("example", Example, argv)
    assert config == Example(output="s3://bucket/x", steps=30, optimiser=Optimiser(rate=0.5))


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("stepz=3", "unknown key 'stepz'; the keys are output, steps, optimiser"),
        ("steps=many", "'steps' = 'many'"),
        ("optimiser.speed=1", "unknown key 'optimiser.speed'; the keys are rate"),
        ("steps", "write key=value"),
        ("output.deep=1", "'output' is a value"),
    ],
)
def test_a_wrong_setting_is_named_with_what_would_do(toml: str, setting: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config("example", Example, ["--config", toml, "--set", setting])
    assert said in str(caught.value)


def test_a_missing_config_file_and_a_missing_key_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml"):
        load_config("example", Example, ["--config", str(tmp_path / "nowhere.toml")])
    empty = tmp_path / "empty.toml"
    empty.touch()
    with pytest.raises(ConfigError, match="'output' is missing"):
        load_config("example", Example, ["--config", str(empty)])


def test_a_taken_port_is_named() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(ConfigError, match=str(other.getsockname()[1])):
            require_free_port(other.getsockname()[1])


PROGRAM = """
from jobs.launch import JobConfig, run
from sora_core.errors import MissingObject

def main(config):
    {body}

run("example", JobConfig, main)
"""


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ("pass", 0, ""),
        ("raise MissingObject('s3://b/x: no such bucket; create it')", 2, "s3://b/x: no such bucket; create it"),
        ("1 / 0", 1, "ZeroDivisionError"),
        ("raise KeyboardInterrupt", 130, "interrupted"),
    ],
)
def test_the_exit_code_says_who_can_mend_it(tmp_path: Path, body: str, code: int, said: str) -> None:
    empty = tmp_path / "empty.toml"
    empty.touch()
    command = [sys.executable, "-c", PROGRAM.format(body=body), "--config", str(empty)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == code
    assert said in finished.stderr
