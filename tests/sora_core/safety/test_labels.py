"""What policies add: words that are seen, keys that are in the file."""

from pathlib import Path

import av
import numpy as np
import pytest

from sora_core import media
from sora_core.errors import ConfigError
from sora_core.safety.labels import Label, Labeller, filled, policy


def test_a_label_is_on_the_first_seconds_alone_and_leaves_the_rest_of_a_frame() -> None:
    frames = [np.full((64, 96, 3), 120, np.uint8) for _ in range(12)]
    shown = list(Labeller(Label("AI-generated", 1.0, 0.1, "bottom-right"), None)(frames, fps=8.0))
    assert [bool((frame != 120).any()) for frame in shown] == [True] * 8 + [False] * 4
    assert (shown[0][:32] == 120).all()
    assert shown[0].max() > 220
    assert (frames[0] == 120).all()


def test_a_font_that_lacks_a_character_is_named_at_once() -> None:
    label = policy("cn-gb-45438").label
    assert label is not None
    with pytest.raises(ConfigError, match="生成"):
        Labeller(label, None)


def test_a_policy_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match=r"mars.*eu-ai-act"):
        policy("mars")


def test_keys_of_a_policy_are_read_back_from_the_mp4(tmp_path: Path) -> None:
    facts = {"provider": "Ann's pictures", "id": "video_1"}
    keys = filled(policy("cn-gb-45438").metadata, facts)
    frames = np.zeros((3, 32, 32, 3), np.uint8)
    media.encode_mp4(tmp_path / "a.mp4", iter(frames), 8.0, metadata=keys)
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.metadata["AIGC"] == keys["AIGC"]
    assert '"ProduceID":"video_1"' in keys["AIGC"]
