"""The story of an evaluation: ask, sample with and without text, read back, compare."""

import json
import logging
from collections.abc import Iterable

from jobs.evaluate.config import EvaluateConfig
from jobs.evaluate.result import Result
from jobs.evaluate.sampling import Answer, Frames, Question, generate, judge, questions, requests, through_codec
from jobs.evaluate.sheet import SIDE, draw_moving, draw_sheet
from jobs.launch import write_resolved
from jobs.progress import counted
from sora_core import checkpoint, storage
from sora_core.pipeline import Pipeline

logger = logging.getLogger(__name__)


def evaluate(config: EvaluateConfig) -> None:
    """Print the table and store it; SystemExit with 1, naming them, when gates are missed."""
    uri = checkpoint.resolve(config.checkpoint)
    pipeline = Pipeline.load(uri)
    storage.check_writable(config.output)
    result = measure(config, pipeline, uri)
    _store(config, result, pipeline.fps)
    print(result.table())  # noqa: T201 - the command's own output
    if missed := result.missed(config.gates):
        raise SystemExit(f"jobs.evaluate: {uri} misses its gates: {'; '.join(missed)}")


def measure(config: EvaluateConfig, pipeline: Pipeline, uri: str) -> Result:
    """Sample and read back everything."""
    asked = questions(config)
    prompted = requests(config, asked, with_text=True)
    blind = requests(config, asked, with_text=False) if config.ablation else []
    truths = asked if config.ceiling else []
    return Result(
        checkpoint=uri,
        step=checkpoint.read_meta(uri).step,
        questions=asked,
        prompted=_answers("prompted", asked, generate(pipeline, prompted, config.pack_tokens), config.sheet_clips),
        blind=_answers("no text", asked[: len(blind)], generate(pipeline, blind, config.pack_tokens)),
        codec=_answers("codec", asked[: len(truths)], (through_codec(pipeline, question) for question in truths)),
    )


def _answers(what: str, asked: list[Question], clips: Iterable[Frames], shown: int = 0) -> list[Answer]:
    pairs = counted(zip(asked, clips, strict=True), len(asked), what, "clips")
    return [judge(question, frames, SIDE if number < shown else 0) for number, (question, frames) in enumerate(pairs)]


def _store(config: EvaluateConfig, result: Result, fps: float) -> None:
    write_resolved(config, config.output)
    if config.sheet_clips:
        questions, answers = result.questions[: config.sheet_clips], result.prompted[: config.sheet_clips]
        storage.write_bytes(storage.join(config.output, "sheet.png"), draw_sheet(questions, answers))
        storage.write_bytes(storage.join(config.output, "sheet.webp"), draw_moving(questions, answers, fps))
    data = json.dumps(result.to_json(), indent=1).encode()
    storage.write_bytes(storage.join(config.output, "evaluation.json"), data)
    logger.info("%s: evaluation.json, sheet.png and sheet.webp", config.output)
