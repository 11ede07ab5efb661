"""Open weights that make videos from pictures alone, behind the API: Wan 2.1's image to video, tiny."""

from pathlib import Path
from typing import Any

import numpy as np

from sora_core import media
from sora_core.pipeline import Pipeline
from tests.sora_core.wan_folder import write_wan

from .editing import SIZE, ask, moving, png, post
from .live import LiveService, config_in, eventually


def test_a_model_that_starts_from_pictures_says_so_and_is_served(tmp_path: Path, unused_port: int) -> None:
    folder = str(write_wan(tmp_path / "wan", num_shown=1))
    config = config_in(tmp_path, folder)
    with LiveService(config, Pipeline.load(folder, "cpu"), unused_port) as service:
        service.publish()
        (card,) = service.ledger.roster.model_cards()
        assert (card["inputs"], card["edits"]) == (["image"], ["first_frame", "extend_forward", "interpolate", "join"])
        small: dict[str, Any] = {"size": "48x32", "num_frames": 5}
        error = post(service, "", **small).json()["error"]
        assert (error["code"], error["param"]) == ("unsupported", "input_reference")
        assert "from words alone; it can do: first_frame" in error["message"]
        service.work()
        still = moving()[0]
        made = ask(service, "", {"input_reference": png(still)}, **small, enable_frame_interpolation=True)
        job: Any = eventually(lambda: (job := service.ledger.get(made)) is not None and job.result and job)
        film = media.decode_clip(Path(job.result["video"]["uri"]))
        assert film.shape == (9, *SIZE, 3)
        assert np.abs(film[0].astype(int) - still).mean() < 6
