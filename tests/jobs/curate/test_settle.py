"""All actors of a curation compute in the same numbers, and an output keeps those that it was begun in."""

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import ray

from jobs.curate import settle
from jobs.curate.config import CurateConfig
from jobs.curate.listing import filters_of, settings_of
from jobs.curate.settle import fast_on_nodes, settled
from jobs.demo.cluster import LocalCluster
from jobs.launch import write_resolved
from sora_core import precision

MASK = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
EXACT, REDUCED = precision.EXACT, precision.REDUCED


def asked(config: CurateConfig, nodes: list[precision.Precision], monkeypatch: pytest.MonkeyPatch) -> CurateConfig:
    """The config as a cluster of such nodes settles it, left beside the output as a run leaves it."""
    monkeypatch.setattr(settle, "fast_on_nodes", lambda kinds: dict.fromkeys(kinds, nodes))
    resolved = settled(config)
    write_resolved(resolved, config.output)
    return resolved


def test_a_mixed_cluster_takes_what_all_can_and_the_keys_say_so(
    config: CurateConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transitions = config.models.model_copy(update={"transitions": "transnetv2"})
    config = config.model_copy(update={"models": transitions})
    mixed = asked(config, [REDUCED, EXACT], monkeypatch)
    other = asked(config.model_copy(update={"output": str(tmp_path / "other")}), [REDUCED, REDUCED], monkeypatch)
    assert (mixed.vae_dtype, mixed.models.transitions_dtype) == (EXACT, EXACT)
    assert (other.vae_dtype, other.models.transitions_dtype) == (REDUCED, REDUCED)
    assert settings_of(mixed, "v", "t") != settings_of(other, "v", "t")
    assert filters_of(mixed) != filters_of(other), "shots may be others"


def test_an_output_keeps_what_it_was_begun_in_until_another_is_asked_for(
    config: CurateConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = asked(config, [REDUCED], monkeypatch)
    assert asked(config, [EXACT], monkeypatch) == begun
    chosen = config.model_copy(update={"vae_dtype": EXACT})
    assert asked(chosen, [REDUCED], monkeypatch).vae_dtype == EXACT


def test_encoders_on_gpus_are_asked_and_not_the_driver(config: CurateConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"cuda": [REDUCED], "cpu": [EXACT]}
    monkeypatch.setattr(settle, "fast_on_nodes", lambda kinds: {kind: answers[kind] for kind in kinds})
    resolved = settled(config.model_copy(update={"gpus_per_encoder": 1.0}))
    assert resolved.vae_dtype == REDUCED


@pytest.mark.slow
def test_every_node_of_a_cluster_is_asked(ray_cluster: LocalCluster, caplog: pytest.LogCaptureFixture) -> None:
    """The second one's units are masked, as plain cores have none."""
    command = [str(Path(sys.executable).with_name("ray")), "start", f"--address={ray_cluster.address}"]
    plain = subprocess.Popen(
        [*command, "--num-cpus=1", "--object-store-memory=100000000", "--block"],
        env=ray_cluster.environment | MASK, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        ray.init(address=ray_cluster.address, log_to_driver=False, logging_level=logging.ERROR)
        while sum(known["Alive"] for known in ray.nodes()) < 2:
            assert plain.poll() is None
            time.sleep(0.2)
        ray.shutdown()
        answers = fast_on_nodes({"cpu"})["cpu"]
    finally:
        ray.shutdown()
        os.killpg(plain.pid, signal.SIGKILL)
        plain.wait()
    assert sorted(answers) == sorted([precision.fast("cpu"), EXACT])
    assert precision.settle("auto", answers) == EXACT
    assert "didn't say" not in caplog.text
