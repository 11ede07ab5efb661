"""What is exported is what other tools read: every kept clip, its words, and nothing twice."""

import io
import json
import tarfile
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import pytest
from PIL import Image

from jobs.curate.ask import export as exporting
from jobs.curate.ask.export import ExportConfig, Exporter, export
from jobs.curate.books.parts import read_parts
from jobs.curate.config import CurateConfig
from jobs.curate.pipeline import curate
from sora_core import media
from sora_core.errors import MissingObject, StorageUnavailable
from sora_core.media import Isolated, encode_mp4, write_image
from tests.jobs.curate.conftest import Tally
from tests.jobs.curate.stripes import COLOURS, stripes


@pytest.fixture
def curated(
    config: CurateConfig, tally: Tally, published: Path, isolated: Isolated, monkeypatch: pytest.MonkeyPatch
) -> CurateConfig:
    """Two films, one of them twice as long as a clip may be, and a photograph; parts are exported in this process."""
    folder = Path(config.source)
    folder.mkdir()
    for name, frames in (("red", 9), ("blue", 34)):
        encode_mp4(folder / f"{name}.mp4", stripes(COLOURS[name], frames, (64, 96)), 8)
    write_image(folder / "green.png", stripes(COLOURS["green"], 1, (64, 64))[0])
    (folder / "captions.csv").write_text(
        "file,caption,licence\nred.mp4,red stripes,CC0-1.0\nblue.mp4,blaue Streifen,\ngreen.png,green stripes,\n"
    )
    config = config.model_copy(update={"vae": str(published), "sources_per_part": 2})
    curate(config)

    def here(due: Sequence[str], into: str, asked: ExportConfig) -> Counter[str]:
        work = Exporter(into, asked)
        told = Counter[str]()
        for name in due:
            told.update(json.loads(work({"item": name})["told"]))
        return told

    monkeypatch.setattr(exporting, "_on_actors", here)
    monkeypatch.setattr(exporting, "ray_session", lambda num_cpus: nullcontext())
    monkeypatch.setattr(exporting, "Isolated", lambda _limits: isolated)
    return config


def test_tars_hold_films_photographs_and_words(
    curated: CurateConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    into = tmp_path / "tars"
    export(str(into), ExportConfig(output=curated.output))
    found: dict[str, bytes] = {}
    for path in sorted(into.iterdir()):
        with tarfile.open(path) as tar:
            names = tar.getnames()
            assert names == sorted(names), "files of a clip lie together, or readers of WebDataset fail"
            found |= {name: tar.extractfile(name).read() for name in names}
    assert len(list(into.iterdir())) == 2
    facts = [json.loads(data) for name, data in found.items() if name.endswith(".json")]
    assert sorted((fact["caption"], fact["frames"]) for fact in facts) == [
        ("blaue Streifen", 17), ("blaue Streifen", 17), ("green stripes", 1), ("red stripes", 9),
    ]  # fmt: skip
    (tmp_path / "one.mp4").write_bytes(found[next(f"{f['clip_id']}.mp4" for f in facts if f["licence"] == "CC0-1.0")])
    frames = media.decode_clip(tmp_path / "one.mp4")
    assert frames.shape == (9, 48, 64, 3)
    mean = stripes(COLOURS["red"], 9, (64, 96)).mean((0, 1, 2))
    assert frames.mean((0, 1, 2)) == pytest.approx(mean, abs=12)
    photo = next(data for name, data in found.items() if name.endswith(".png"))
    assert Image.open(io.BytesIO(photo)).size == (64, 64)
    assert "4 clips of 2 parts" in capsys.readouterr().out

    export(str(into), ExportConfig(output=curated.output))
    assert "0 clips of 0 parts" in capsys.readouterr().out, "what is there is not made again"


def test_a_folder_is_read_by_datasets_and_by_a_curation(curated: CurateConfig, tmp_path: Path, published: Path) -> None:
    into = tmp_path / "folder"
    export(str(into), ExportConfig(output=curated.output, form="folder"))
    rows = [json.loads(line) for path in into.glob("*/metadata.jsonl") for line in path.read_text().splitlines()]
    assert len(rows) == 4
    for row in rows:
        [file] = into.glob(f"*/{row['file_name']}")
        assert file.with_suffix(".txt").read_text() == row["text"]
    again = curated.model_copy(update={"source": str(into), "output": str(tmp_path / "again")})
    curate(again)
    counts = sum((Counter(part.of_clips) for part in read_parts(again.output)), Counter[tuple[str, str | None]]())
    assert sum(count for (status, _), count in counts.items() if status == "kept") == 4


def test_what_cannot_be_read_now_waits_and_what_is_gone_is_told(
    curated: CurateConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (Path(curated.source) / "red.mp4").unlink()
    asked = ExportConfig(output=curated.output)
    export(str(tmp_path / "gone"), asked)
    assert "1 object_missing" in capsys.readouterr().out

    def away(*_: object) -> None:
        raise StorageUnavailable("the bucket doesn't answer")

    monkeypatch.setattr("jobs.curate.stages.pixels.storage.head", away)
    with pytest.raises(StorageUnavailable, match="2 parts wait"):
        export(str(tmp_path / "later"), asked)
    assert not list((tmp_path / "later").glob("*.tar"))
    (tmp_path / "nothing").mkdir()
    (tmp_path / "nothing" / "notes.txt").touch()
    with pytest.raises(MissingObject, match="curate first"):
        export(str(tmp_path / "x"), ExportConfig(output=str(tmp_path / "nothing")))
