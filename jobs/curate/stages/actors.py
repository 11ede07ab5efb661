"""The stages as actors: a table of one part in, a table of the same part out."""

import shutil
import tempfile
import time
import weakref
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
from ray.actor import ActorHandle

from jobs.curate.books import ledger
from jobs.curate.books.commit import commit, commit_measured
from jobs.curate.config import CurateConfig
from jobs.curate.measure.models import at_hand
from jobs.curate.progress import Amount
from jobs.curate.rows import (
    Clip,
    Examined,
    Source,
    examined_from_table,
    examined_to_table,
    part_from_table,
)
from jobs.curate.stages.attempts import KILLED_ITS_ACTOR, Attempts
from jobs.curate.stages.examine import examine, examine_again
from jobs.curate.stages.latents import LatentEncoder, Maker
from jobs.curate.stages.pixels import InARow, decode_apart
from jobs.curate.words.endpoint import CaptionWriter
from jobs.launch import bind_ray_metrics
from sora_core import precision, telemetry
from sora_core.media import Isolated
from sora_core.shards import Row


class Stage:
    """An actor of the DAG. A part that twice brought its actor down is done object by object."""

    name: ClassVar[str]

    def __init__(self, config: CurateConfig, board: ActorHandle) -> None:
        bind_ray_metrics()
        self._config = config
        self._board = board
        self._isolated = Isolated(config.limits.of_a_process())
        self._decode = partial(decode_apart, self._isolated)
        self._unread = InARow(config.max_faults_in_a_row)
        self._attempts = Attempts(config.output, self.name)

    def _tell(self, sources: Iterable[Source], began: float, clips: Counter[str] | None = None) -> None:
        """These sources have left the stage, which was at them since ``began``."""
        done = Amount.of((source.size for source in sources), time.perf_counter() - began)
        self._board.add.remote(self.name, done, clips or Counter())


class ExamineStage(Stage):
    """Sources to sources with judged clips: cores, no models."""

    name = "examine"

    def __init__(self, config: CurateConfig, board: ActorHandle) -> None:
        super().__init__(config, board)
        weights = Path(tempfile.mkdtemp(prefix="sora-curate-"))
        weakref.finalize(self, shutil.rmtree, weights, ignore_errors=True)
        self._apart = config.model_copy(update={"models": at_hand(config.models, weights)})

    def __call__(self, table: pa.Table) -> pa.Table:
        return examined_to_table(self._rows(part_from_table(table)))

    def _rows(self, sources: Sequence[Source]) -> list[Examined]:
        before: dict[str, Examined] = {}
        for part in sorted({source.previous for source in sources if source.previous}):
            before |= ledger.recall(part, self._config.output)
        rows = []
        with self._attempts.begun(*(source.key for source in sources)) as is_suspect:
            for source in sources:
                began = time.perf_counter()
                rows.append(
                    self._alone(source, before) if is_suspect else self._examine(source, before.get(source.uri))
                )
                self._tell([source], began)
        return rows

    def _alone(self, source: Source, before: dict[str, Examined]) -> Examined:
        with self._attempts.begun("alone", source.key) as is_to_blame:
            if is_to_blame:
                return Examined(source, None, "failed", KILLED_ITS_ACTOR)
            return self._examine(source, before.get(source.uri))

    def _examine(self, source: Source, before: Examined | None) -> Examined:
        if before and before.source.examine_key == source.examine_key:
            return examine_again(source, before, self._config)
        row = examine(source, self._apart, self._isolated)
        self._unread.saw(row.reason, source.uri)
        telemetry.CURATE_STAGE_SECONDS.observe(row.examine_s, {"stage": "examine"})
        telemetry.CURATE_DECODED_FRAMES.inc(row.decoded_frames)
        return row


class MeasureStage(ExamineStage):
    """Sources to committed parts without latents."""

    def __call__(self, table: pa.Table) -> pa.Table:
        rows = self._rows(part_from_table(table))
        commit_measured(rows, self._config.output)
        return pa.table({"sources": [len(rows)]})


class CaptionStage(Stage):
    """Sources with judged clips to the same with captions: requests to an endpoint."""

    name = "caption"

    def __init__(self, config: CurateConfig, board: ActorHandle, api_key: str | None = None) -> None:
        super().__init__(config, board)
        assert config.caption_endpoint is not None
        self._writer = CaptionWriter(
            config.caption_endpoint, self._decode, config.max_faults_in_a_row, api_key, gate=config.gate
        )

    def __call__(self, table: pa.Table) -> pa.Table:
        began = time.perf_counter()
        rows = examined_from_table(table)
        with self._attempts.begun(*(row.source.key for row in rows)) as is_suspect:
            rows = [self._alone(row) for row in rows] if is_suspect else self._writer(rows)
        for row in rows:
            if any(clip.status != "dropped" for clip in row.clips):
                reason = next((clip.reason for clip in row.clips if clip.status == "failed"), None)
                self._unread.saw(reason, row.source.uri)
        self._tell((row.source for row in rows), began)
        return examined_to_table(rows)

    def _alone(self, row: Examined) -> Examined:
        with self._attempts.begun("alone", row.source.key) as is_to_blame:
            if is_to_blame:
                return replace(row, clips=[_blamed(clip) for clip in row.clips])
            return self._writer([row])[0]


def _blamed(clip: Clip) -> Clip:
    return replace(clip, status="failed", reason=KILLED_ITS_ACTOR) if clip.status == "kept" else clip


class EncoderOneByOne:
    """A `LatentEncoder` that takes one source after another, each with a mark."""

    def __init__(self, encoder: LatentEncoder, attempts: Attempts) -> None:
        self._encoder = encoder
        self._attempts = attempts

    @property
    def maker(self) -> Maker:
        return self._encoder.maker

    def rows(self, examined: Sequence[Examined], failures: dict[str, str]) -> Iterator[Row]:
        """As `LatentEncoder.rows`; clips of a source that is to blame go to ``failures``."""
        for row in examined:
            kept = [clip.clip_id for clip in row.clips if clip.status == "kept"]
            if not kept:
                continue
            with self._attempts.begun("alone", row.source.key) as is_to_blame:
                if is_to_blame:
                    failures |= dict.fromkeys(kept, KILLED_ITS_ACTOR)
                else:
                    yield from self._encoder.rows([row], failures)


class EncodeStage(Stage):
    """Sources with judged clips to committed parts: a GPU where there is one."""

    name = "encode"

    def __init__(self, config: CurateConfig, board: ActorHandle) -> None:
        super().__init__(config, board)
        precision.warn_if_slow("encoding", config.encodes_in, config.encoder_device)
        self._encoder = LatentEncoder(config, config.encoder_device, self._decode)

    def __call__(self, table: pa.Table) -> pa.Table:
        began = time.perf_counter()
        rows = examined_from_table(table)
        with self._attempts.begun(*(row.source.key for row in rows)) as is_suspect:
            encoder = EncoderOneByOne(self._encoder, self._attempts) if is_suspect else self._encoder
            rows = commit(rows, encoder, self._config.output)
        self._tell((row.source for row in rows), began, Counter(clip.status for row in rows for clip in row.clips))
        return pa.table({"sources": [len(rows)]})
