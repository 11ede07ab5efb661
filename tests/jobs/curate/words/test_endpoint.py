"""An endpoint's caption belongs to the clip whose frames were sent, and its trouble costs nothing else."""

import base64
import json
import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
import yaml

from jobs.curate.books import ledger
from jobs.curate.config import CaptionEndpoint, CurateConfig
from jobs.curate.listing import make_plan
from jobs.curate.pipeline import arguments_of, curate
from jobs.curate.rows import Clip, Examined, Scores, Source
from jobs.curate.stages.actors import CaptionStage
from jobs.curate.stages.examine import examine
from jobs.curate.stages.pixels import Decode, decode_pixels
from jobs.curate.words.endpoint import CaptionWriter, check
from sora_core import shards, storage
from sora_core.captioner import NoCaption, parse
from sora_core.errors import ConfigError, SoraError
from sora_core.media import encode_mp4
from sora_core.precision import EXACT
from tests.jobs.curate.conftest import Tally
from tests.jobs.curate.endpoint import MODEL, Endpoint, running
from tests.jobs.curate.stripes import COLOURS, stripes

ROOT = Path(__file__).parents[4]


def asking(config: CurateConfig, endpoint: Endpoint, **settings: int) -> CurateConfig:
    described = CaptionEndpoint(url=endpoint.url, model=MODEL, **settings)
    return CurateConfig(**config.model_dump() | {"captioner": "endpoint", "caption_endpoint": described.model_dump()})


def write_wordless(folder: Path) -> None:
    """Clips of every colour in two shapes, in an order that mixes them, and one with words of its own."""
    folder.mkdir()
    for number, (name, colour) in enumerate(sorted(COLOURS.items()) * 2):
        size = (64, 64) if number % 3 else (48, 80)
        encode_mp4(folder / f"{number}-{name}.mp4", stripes(colour, 9, size), 8)
    encode_mp4(folder / "said.mp4", stripes((120, 120, 30), 9, (64, 64)), 8)
    (folder / "said.txt").write_text("people's own words")


def captions(config: CurateConfig) -> dict[str, tuple[str | None, str | None, str | None]]:
    rows = ledger.read_rows(config.output, ["uri", "clip_id", "caption", "status", "reason"]).to_pylist()
    return {Path(row["uri"]).name: (row["caption"], row["status"], row["reason"]) for row in rows if row["clip_id"]}


def test_no_caption_slips_to_another_clip(tally: Tally, config: CurateConfig) -> None:
    """Answers come late and in any order, and every second request fails at first."""
    write_wordless(Path(config.source))

    def every_second_fails(_colour: str, asked: int) -> tuple[int, str] | None:
        return (503, "busy") if asked % 2 else None

    with running(every_second_fails) as endpoint:
        asked = asking(config, endpoint, in_flight=8, frames=3)
        curate(asked)
    assert endpoint.most_in_flight > 1
    rows = [row for shard in shards.read_manifest(asked.output).shards for row in shards.read_rows(asked.output, shard)]
    assert len(rows) == 9
    for row in rows:
        name = Path(row.uri).stem
        if name == "said":
            assert (row.caption, row.made.captioner) == ("people's own words", "sidecar")
        else:
            assert row.caption == f"{name.partition('-')[2]} stripes that move"
            assert row.made.captioner == f"{MODEL}, 3 frames"
    assert tally.counts["prompt"] == 8 * 300
    assert tally.counts["completion"] == 8 * 7


def test_what_the_model_said_is_not_asked_again(tally: Tally, config: CurateConfig, published: Path) -> None:
    write_wordless(Path(config.source))
    with running() as endpoint:
        asked = asking(config.model_copy(update={"vae_dtype": EXACT}), endpoint)
        curate(asked)
        before, endpoint.asked = captions(asked), Counter()
        curate(asked.model_copy(update={"vae": str(published)}))
        assert endpoint.asked.total() == 0
    assert captions(asked) == before
    assert tally.counts["encode"] == 18


def test_what_a_model_says_passes_the_gate_too(tally: Tally, config: CurateConfig) -> None:
    write_wordless(Path(config.source))
    words = json.dumps({"long": "a naked woman lies on a bed", "short": "a bed"})
    with running(lambda colour, _asked: (200, words) if colour == "red" else None) as endpoint:
        asked = asking(config, endpoint)
        curate(asked)
        found = captions(asked)
    verdicts = {name: verdict[1:] for name, verdict in found.items()}
    assert {verdict for name, verdict in verdicts.items() if "red" in name} == {("dropped", "unsafe_words")}
    assert {status for name, (status, _) in verdicts.items() if "red" not in name} == {"kept"}
    assert tally.counts["encode"] == 7


def test_nonsense_costs_its_own_clips_until_the_next_run(tally: Tally, config: CurateConfig) -> None:
    write_wordless(Path(config.source))
    with running(lambda colour, _asked: (200, "I can't see") if colour == "red" else None) as endpoint:
        asked = asking(config, endpoint, max_retries=0)
        curate(asked)
        found = captions(asked)
        assert {verdict for name, verdict in found.items() if "red" in name} == {(None, "failed", "caption_failed")}
        assert {status for name, (_, status, _) in found.items() if "red" not in name} == {"kept"}
        endpoint.mischief = lambda _colour, _asked: None
        endpoint.asked.clear()
        tally.counts.clear()
        curate(asked)
        assert +endpoint.asked == {"red": 2}
        assert tally.counts["examine"] == 0
    assert {status for _, status, _ in captions(asked).values()} == {"kept"}


def test_an_endpoint_that_is_away_or_serves_another_model_is_named_before_any_work(config: CurateConfig) -> None:
    write_wordless(Path(config.source))
    with running() as endpoint:
        asked = asking(config, endpoint, max_retries=0)
        other = CaptionEndpoint(url=endpoint.url, model="other")
        with pytest.raises(ConfigError, match=f"doesn't serve 'other'; it has {MODEL}"):
            curate(asked.model_copy(update={"caption_endpoint": other}))
    with pytest.raises(ConfigError, match="no answer from the caption endpoint"):
        curate(asked)


def test_a_model_that_can_not_caption_is_named_before_any_work(tally: Tally, config: CurateConfig) -> None:
    write_wordless(Path(config.source))
    with running(lambda _colour, _asked: (200, "I see no picture")) as endpoint:
        with pytest.raises(ConfigError, match=r"no caption of a trial picture .*I see no picture"):
            curate(asking(config, endpoint))
        assert endpoint.asked.total() == 0
    assert tally.counts.total() == 0


def still(number: int, folder: Path) -> Examined:
    """A photograph that waits for its caption."""
    path = folder / f"{number}.png"
    path.write_bytes(b"nobody looks inside")
    found = storage.head(str(path))
    clip = Clip(
        f"c{number}", 0.0, 0.0, 1.0, 1, 16, 16, 16, 16, 0, 0, "a red square", "red", Scores(), "kept", None
    )  # fmt: skip
    return Examined(Source(found.uri, found.etag, found.size, "k", "m"), "image", "kept", None, [clip])


OPEN: list[CaptionWriter] = []


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """Writers that a test made are closed after it."""
    yield
    while OPEN:
        OPEN.pop().close()


def red(_path: Path, _kind: str | None, clips: Sequence[Clip]) -> Iterator[np.ndarray]:
    yield from (np.full((1, 16, 16, 3), COLOURS["red"], np.uint8) for _ in clips)


def writer(
    endpoint: Endpoint, decode: Decode = red, most: int = 8, key: str | None = None, **values: Any
) -> CaptionWriter:
    made = CaptionWriter(CaptionEndpoint(model=MODEL, **{"url": endpoint.url} | values), decode, most, key)
    OPEN.append(made)
    return made


def test_an_endpoint_that_goes_away_stops_the_job_instead_of_failing_every_clip(tmp_path: Path) -> None:
    rows = [still(number, tmp_path) for number in range(40)]
    with running(lambda _colour, asked: (500, "out of memory") if asked >= 2 else None) as endpoint:
        write = writer(endpoint, most=3, in_flight=1, max_retries=0)
        with pytest.raises(SoraError, match="no caption for 3 clips in a row"):
            write(rows)
        assert endpoint.asked.total() == 5
        with pytest.raises(SoraError, match="in a row"):
            write(rows)
        assert endpoint.asked.total() == 5, "nothing more is asked"


def test_frames_of_few_clips_wait_in_memory_for_a_slow_endpoint(tmp_path: Path) -> None:
    rows, go_on, decoded = [still(number, tmp_path) for number in range(20)], Event(), []

    def counted(path: Path, kind: str | None, clips: Sequence[Clip]) -> Iterator[np.ndarray]:
        decoded.append(path)
        yield from red(path, kind, clips)

    def slow(_colour: str, _asked: int) -> None:
        go_on.wait(20)

    with running(slow) as endpoint, ThreadPoolExecutor(1) as beside:
        done = beside.submit(writer(endpoint, counted, in_flight=2), rows)
        while endpoint.in_flight < 2:
            assert not done.done()
        assert len(decoded) <= 2 * 2 + 1
        go_on.set()
        assert [clip.caption for row in done.result() for clip in row.clips] == ["red stripes that move"] * 20


def test_the_drivers_key_goes_to_those_who_ask_and_no_secret_is_written(
    config: CurateConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "of-the-driver")
    with running() as endpoint:
        asked = asking(config, endpoint)
        *_, key = arguments_of(CaptionStage, asked, None)
        monkeypatch.delenv("OPENAI_API_KEY")
        writer(endpoint, key=key)([still(0, tmp_path)])
        assert endpoint.authorizations == {"Bearer of-the-driver"}
        url = endpoint.url.replace("//", "//ann:pass%20word@")
        writer(endpoint, url=url)([still(0, tmp_path)])
        assert base64.b64encode(b"ann:pass word").decode() in " ".join(endpoint.authorizations)
        described = asked.model_copy(update={"caption_endpoint": CaptionEndpoint(url=url, model="other")})
        with pytest.raises(ConfigError, match="doesn't serve 'other'") as refused:
            check(CaptionEndpoint(url=url, model="other"))
    for told in (described.model_dump_json(), repr(described), str(refused.value)):
        assert "ann" not in told
        assert "pass" not in told
    assert endpoint.url in described.model_dump_json()


def test_trouble_with_frames_is_a_reason_of_its_own_clips(config: CurateConfig) -> None:
    """A surprise of the decoder, and a file that changed under way."""
    write_wordless(Path(config.source))
    with running() as endpoint:
        asked = asking(config, endpoint)
        rows = [examine(source, asked) for source in make_plan(asked, {}).sources]
        blue, green = Path(rows[0].source.uri), Path(rows[1].source.uri)
        encode_mp4(green, stripes(COLOURS["red"], 9, (64, 64)), 8)

        def decode(path: Path, kind: str | None, clips: Sequence[Clip]) -> Iterator[np.ndarray]:
            if path == blue:
                raise ZeroDivisionError
            yield from decode_pixels(path, kind, clips)

        assert asked.caption_endpoint
        done = CaptionWriter(asked.caption_endpoint, decode, asked.max_faults_in_a_row)(rows)
    reasons = {Path(row.source.uri): clip.reason for row in done for clip in row.clips}
    assert {path: reason for path, reason in reasons.items() if reason} == {
        blue: "internal_error",
        green: "object_replaced",
    }


def test_an_endpoint_that_hangs_is_named_as_well(config: CurateConfig) -> None:
    write_wordless(Path(config.source))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        endpoint = {"url": url, "model": MODEL, "timeout_s": 0.3}
        asked = CurateConfig(**config.model_dump() | {"captioner": "endpoint", "caption_endpoint": endpoint})
        with pytest.raises(ConfigError, match=r"no answer from the caption endpoint \(APITimeoutError\)"):
            curate(asked)


@pytest.mark.filterwarnings("ignore:Using extra keyword arguments on `Field`")
def test_the_captioner_of_a_gpu_cluster_is_one_that_serve_and_vllm_take() -> None:
    """As far as can be seen without vLLM: the file, and the engine's config in it."""
    from ray.llm._internal.serve.core.configs.llm_config import LLMConfig
    from ray.serve.schema import ServeDeploySchema

    schema = ServeDeploySchema.model_validate(yaml.safe_load((ROOT / "infra" / "captioner.yaml").read_text()))
    [application] = schema.applications
    assert application.import_path == "ray.serve.llm:build_openai_app"
    [engine] = application.args["llm_configs"]
    assert LLMConfig(**engine).engine_kwargs["limit_mm_per_prompt"]["image"] >= CaptionEndpoint(url="", model="").frames


@pytest.mark.parametrize(
    "said", ["", "no", "[1]", '{"short": "x"}', '{"long": ""}', "{broken", '{"long": "' + "x" * 5000 + '"}']
)
def test_what_is_no_caption_is_refused(said: str) -> None:
    with pytest.raises(NoCaption):
        parse(said)


def test_captions_are_found_in_fenced_answers() -> None:
    assert parse('Here:\n```json\n{"long": "A  dog runs. It barks.", "short": "a dog"}\n```') == (
        "A dog runs. It barks.",
        "a dog",
    )
    assert parse('{"long": "A dog runs. It barks."}')[1] == "A dog runs"
