"""The numbers of an evaluation are right, reproducible, and decide the exit code."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from jobs.evaluate.config import EvaluateConfig
from jobs.evaluate.evaluate import evaluate, measure
from jobs.evaluate.result import Result
from jobs.evaluate.sampling import generate, judge, questions, requests
from jobs.evaluate.statistics import Proportion, proportions
from jobs.launch import load_config, run
from sora_core import checkpoint
from sora_core.checkpoint import ChannelStatistics, DataSummary, Meta
from sora_core.dit.config import DiTConfig
from sora_core.dit.model import DiT
from sora_core.errors import InputError
from sora_core.pipeline import Pipeline
from sora_core.shards import Encoder
from sora_core.text import TextEncoder
from sora_core.vae import VideoAutoencoder
from sora_core.world.render import render
from sora_core.world.scene import SHAPES, held_out


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A run whose transformer has random weights; everything else is real."""
    vae, text = VideoAutoencoder.load(), TextEncoder.load()
    config = DiTConfig(
        num_attention_heads=2,
        attention_head_dim=16,
        in_channels=vae.channels,
        out_channels=vae.channels,
        text_dim=text.dim,
        ffn_dim=64,
        num_layers=1,
    )
    torch.manual_seed(0)
    dit = DiT(config)
    for parameter in dit.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    meta = Meta(
        step=7,
        dit=config.to_dict(),
        vae=Encoder(vae.source, vae.fingerprint),
        text_encoder=Encoder(text.source, text.fingerprint),
        whitening=ChannelStatistics((0.0,) * vae.channels, (1.0,) * vae.channels),
        compression=vae.compression,
        fps=8.0,
        max_tokens=48,
        given=("first_frame",),
        shift=3.0,
        guidance_scale=1.5,
        base=None,
        git_revision=None,
        training={},
        data=DataSummary("", 0, 0.0, {}),
    )
    output = str(tmp_path_factory.mktemp("run"))
    checkpoint.save_model(checkpoint.step_uri(output, 7), dit.state_dict(), meta)
    return output


def config(run_uri: str, output: str, **changes: Any) -> EvaluateConfig:
    places = ["--set", f"checkpoint={run_uri}", f"output={output}"]
    values = load_config("evaluate", EvaluateConfig, places).model_dump()
    small = {"num_prompts": 6, "num_inference_steps": 2, "frames": {1: 1, 5: 1}, "sheet_clips": 4, "gates": {}}
    return EvaluateConfig.model_validate(values | small | {"sizes": {"64x64": 1, "48x64": 1}} | changes)


@pytest.fixture(scope="module")
def pipeline(untrained: str) -> Pipeline:
    return Pipeline.load(untrained)


@pytest.fixture(scope="module")
def result(untrained: str, pipeline: Pipeline) -> Result:
    return measure(config(untrained, "unused"), pipeline, checkpoint.resolve(untrained))


# --- statistics


@pytest.mark.parametrize(("hits", "trials"), [(0, 20), (20, 20), (10, 20), (86, 96)])
def test_the_interval_holds_the_measured_share(hits: int, trials: int) -> None:
    part = Proportion(hits, trials)
    low, high = part.interval
    assert 0 <= low <= part.value <= high <= 1
    assert low < high


def test_the_interval_covers_the_truth_nineteen_times_in_twenty() -> None:
    rng = np.random.default_rng(0)
    for truth in (0.1, 0.5, 0.9):
        intervals = [Proportion(int(hits), 96).interval for hits in rng.binomial(96, truth, 2000)]
        covered = np.mean([low <= truth <= high for low, high in intervals])
        assert 0.93 <= covered <= 0.97


def test_an_attribute_counts_only_where_it_is_defined() -> None:
    scores = [{"colour": True, "direction": False}, {"colour": False}, {"colour": True}]
    found = proportions(scores, ("colour", "direction", "shape"))
    assert found == {"colour": Proportion(2, 3), "direction": Proportion(0, 1)}


# --- questions and answers


def test_half_of_the_prompts_were_never_trained_on(untrained: str) -> None:
    asked = questions(config(untrained, "unused", num_prompts=20))
    assert [question.unseen for question in asked] == [held_out(question.scene.attributes) for question in asked]
    assert sum(question.unseen for question in asked) == 10


def test_the_truth_answers_every_question_right(untrained: str) -> None:
    for question in questions(config(untrained, "unused", num_prompts=20)):
        assert all(judge(question, render(question.scene)).hits.values())


def test_prompted_and_blind_differ_in_text_and_guidance_alone(untrained: str) -> None:
    setup = config(untrained, "unused")
    asked = questions(setup)
    for told, blind in zip(
        requests(setup, asked, with_text=True), requests(setup, asked, with_text=False), strict=True
    ):
        assert (told.seed, told.shape, told.num_inference_steps) == (blind.seed, blind.shape, blind.num_inference_steps)
        assert (told.prompt != "", blind.prompt, blind.guidance_scale) == (True, "", 1.0)


def test_clips_come_in_order_and_alike_whatever_the_pack(untrained: str, pipeline: Pipeline) -> None:
    setup = config(untrained, "unused")
    wanted = requests(setup, questions(setup), with_text=True)
    together = list(generate(pipeline, wanted, pack_tokens=4096))
    alone = list(generate(pipeline, wanted, pack_tokens=1))
    for request, one, other in zip(wanted, together, alone, strict=True):
        assert one.shape == (*(request.num_frames, request.height, request.width), 3)
        assert np.abs(one.astype(int) - other.astype(int)).max() <= 1


def test_an_untrained_model_is_at_chance_and_the_codec_is_not(result: Result) -> None:
    columns = result.columns()
    assert columns["codec"]["background"].value == 1
    assert result.accuracy()["shape"].value <= 0.5
    assert {"seen", "unseen", "no text", "codec", "1x64x64"} <= set(columns)


def test_the_same_config_gives_the_same_answers(untrained: str, pipeline: Pipeline, result: Result) -> None:
    again = measure(config(untrained, "unused"), pipeline, result.checkpoint)
    assert again.to_json() == result.to_json()


def test_the_majority_is_what_one_answer_to_all_these_prompts_gets(result: Result) -> None:
    asked = [question.scene.attributes for question in result.questions]
    shapes = [attributes.shape for attributes in asked]
    assert result.majority()["shape"] == max(map(shapes.count, shapes)) / len(shapes)
    ways = [attributes.direction for attributes in asked if attributes.direction is not None]
    assert result.majority()["direction"] == max(map(ways.count, ways)) / len(ways)
    assert result.majority()["count"] == 1  # all prompts ask for one object


def test_always_the_same_answer_scores_the_majority_and_the_confusion_shows_it(result: Result) -> None:
    shapes = [question.scene.attributes.shape for question in result.questions]
    favourite = max(shapes, key=shapes.count)
    same = [
        replace(
            answer,
            reading=replace(answer.reading, shape=favourite),
            hits=answer.hits | {"shape": question.scene.attributes.shape == favourite},
        )
        for question, answer in zip(result.questions, result.prompted, strict=True)
    ]
    fooled = replace(result, prompted=same)
    assert fooled.accuracy()["shape"].value == fooled.majority()["shape"]
    assert fooled.confusion("shape") == {shape: {favourite: shapes.count(shape)} for shape in SHAPES if shape in shapes}


# --- gates and the command


def test_a_missed_gate_is_named_with_its_numbers(result: Result) -> None:
    accuracy = result.accuracy()["shape"].value
    assert result.missed({"shape": 0.0}) == []
    assert result.missed({"shape": 1.0}) == [f"shape {accuracy:.2f} < 1.0"]


def test_a_gate_on_what_no_prompt_asks_is_missed(untrained: str, pipeline: Pipeline) -> None:
    stills = config(untrained, "unused", frames={1: 1}, num_prompts=2, ablation=False)
    found = measure(stills, pipeline, checkpoint.resolve(untrained))
    assert found.missed({"direction": 0.0}) == ["direction: no prompt asks for it"]


def test_everything_lies_beside_each_other(untrained: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(config(untrained, str(tmp_path)))
    stored = json.loads((tmp_path / "evaluation.json").read_text())
    assert stored["step"] == 7
    assert len(stored["prompts"]) == stored["num_prompts"] == 6
    assert stored["attributes"].keys() == {"colour", "shape", "direction", "background", "count"}
    assert {"value", "majority", "confusion", "no_text", "codec", "unseen", "interval"} <= set(
        stored["attributes"]["colour"]
    )
    assert json.loads((tmp_path / "config.json").read_text())["num_prompts"] == 6
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size[0] > 3 * 64
    with Image.open(tmp_path / "sheet.webp") as moving:
        assert moving.n_frames == 5  # of the longest clip
        assert moving.info["loop"] == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[:3] == ["prompted: 6 of 6 clips", "no text: 6 of 6 clips", "codec: 6 of 6 clips"]
    assert [line.split()[0] for line in printed[3:]] == ["attribute", *stored["attributes"], "whole", "speckle"]
    assert stored["looks"]["whole"]["codec"] == 1
    assert 0 < stored["looks"]["speckle"]["codec"] < 3


def exit_code(monkeypatch: pytest.MonkeyPatch, *overrides: str) -> object:
    monkeypatch.setattr(sys, "argv", ["evaluate", "--set", *overrides])
    with pytest.raises(SystemExit) as exit_:
        run("evaluate", EvaluateConfig, evaluate)
    return exit_.value.code


def test_a_missed_gate_fails_the_command(untrained: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = ["num_prompts=2", "num_inference_steps=1", "ablation=false", "frames={5=1}", "gates={shape=1.0, count=1.0}"]
    code = exit_code(monkeypatch, f"checkpoint={untrained}", f"output={tmp_path}", *small)
    assert isinstance(code, str)  # which ends the process with 1, the sentence on stderr
    assert "shape" in code
    assert (tmp_path / "evaluation.json").exists()


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("gates={hue=0.5}", "hue"),
        ("sizes={}", "sizes"),
        ('sizes={"1024x1024"=1}', "tokens"),
        ('sizes={"72x72"=1}', "multiples of 16"),
        ("frames={6=1}", "6 frames"),
        ("checkpoint=/nowhere", "/nowhere"),
        ("number=3", "number"),
    ],
)
def test_wrong_input_exits_2_and_is_named(
    untrained: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    override: str,
    named: str,
) -> None:
    assert exit_code(monkeypatch, f"checkpoint={untrained}", f"output={tmp_path}/out", override) == 2
    assert named in capsys.readouterr().err
    assert not list(tmp_path.rglob("evaluation.json"))


def test_a_request_beyond_the_model_is_refused_before_any_compute(untrained: str, pipeline: Pipeline) -> None:
    setup = config(untrained, "unused", sizes={"64x64": 1, "512x512": 1}, num_prompts=12)
    with pytest.raises(InputError, match="tokens"):
        next(generate(pipeline, requests(setup, questions(setup), with_text=True), 4096))
