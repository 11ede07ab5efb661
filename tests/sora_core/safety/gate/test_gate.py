"""One verdict of several judges: each alone can refuse, some are asked only when others are unsure."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import numpy as np
import pytest

from services.video.config import ModerationSettings
from services.video.moderation.setup import gate_of, picture_judge
from sora_core.errors import ConfigError, ModerationUnavailable
from sora_core.safety.gate.endpoints import Endpoint, GuardJudge, ModerationsJudge
from sora_core.safety.gate.gate import Gate
from sora_core.safety.gate.pictures import PictureJudge
from sora_core.safety.gate.verdict import CATEGORIES, Finding, JudgeAway, Opinion, Shown, Stage
from tests.services.web import serving

SURE, DOUBT = Finding("hate", 1.0, "words.1"), Finding("violence", 0.7, "sense", sure=False)


class Says:
    """A judge of one opinion, or one that is away; counts how often it is asked."""

    def __init__(self, *findings: Finding, covers: bool = True, away: bool = False) -> None:
        self.opinion, self.away, self.asked = Opinion(findings, covers), away, 0

    def judge(self, shown: Shown) -> Opinion:
        self.asked += 1
        if self.away:
            raise JudgeAway("away")
        return self.opinion


def test_each_judge_alone_can_refuse() -> None:
    verdict = Gate((Says(), Says(DOUBT), Says(SURE))).check(Stage.PROMPT, "x")
    assert (verdict.allowed, verdict.worst) == (False, SURE)
    assert Gate((Says(), Says())).check(Stage.PROMPT, "x").allowed


@pytest.mark.parametrize(
    ("first", "second", "refuse_unsure", "allowed"),
    [
        (Says(DOUBT), Says(), True, True), (Says(DOUBT), Says(SURE), False, False), (Says(DOUBT), None, False, True),
        (Says(DOUBT), None, True, False), (Says(covers=False), Says(SURE), False, False),
        (Says(covers=False), None, True, True),
    ],
)  # fmt: skip
def test_what_is_near_a_threshold_or_unread_is_the_second_judges(
    first: Says, second: Says | None, refuse_unsure: bool, allowed: bool
) -> None:
    gate = Gate((first,), (second,) if second else (), refuse_unsure=refuse_unsure)
    assert gate.check(Stage.PROMPT, "x").allowed is allowed


def test_the_second_judge_is_not_asked_about_what_is_clear() -> None:
    second = Says(SURE)
    assert Gate((Says(),), (second,)).check(Stage.PROMPT, "x").allowed
    assert not Gate((Says(SURE),), (second,)).check(Stage.PROMPT, "x").allowed
    assert second.asked == 0


def test_a_judge_that_is_away_keeps_the_gate_closed_unless_it_is_to_be_open() -> None:
    with pytest.raises(ModerationUnavailable):
        Gate((Says(away=True),)).check(Stage.PROMPT, "x")
    assert Gate((Says(away=True),), open_when_away=True).check(Stage.PROMPT, "x").allowed
    assert not Gate((Says(away=True), Says(SURE)), open_when_away=True).check(Stage.PROMPT, "x").allowed


class _Handler(BaseHTTPRequestHandler):
    """A stand-in for remote models: objects to what holds "bad"; answers nonsense about "odd"."""

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def do_POST(self) -> None:
        said = self.rfile.read(int(self.headers["content-length"])).decode()
        assert self.headers["authorization"] == "Bearer secret"
        bad = "bad" in said or "image_url" in said
        answer: dict[str, Any] = {"choices": [{"message": {"content": "unsafe\nS10,S99" if bad else "safe"}}]}
        if self.path == "/v1/moderations":
            categories = {name: bad and name == "hate" for name in CATEGORIES}
            scores = dict.fromkeys(CATEGORIES, 0.75)
            answer = {"results": [{"flagged": bad, "categories": categories, "category_scores": scores}]}
        data = b"{}" if "odd" in said else json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    monkeypatch.setenv("JUDGE_KEY", "secret")
    with serving(_Handler) as address:
        opened = Endpoint(f"http://{address}/v1", "guard", "JUDGE_KEY", 5.0)
        yield opened
        opened.client.close()


@pytest.mark.parametrize("kind", [ModerationsJudge, GuardJudge])
def test_an_endpoint_is_asked_in_its_own_shape_and_understood(
    kind: type[ModerationsJudge | GuardJudge], endpoint: Endpoint
) -> None:
    judge = kind(endpoint)
    assert judge.judge(Shown(Stage.PROMPT, "fine")) == Opinion()
    (finding, *_) = judge.judge(Shown(Stage.PROMPT, "bad")).findings
    assert (finding.category, finding.sure, finding.rule[:14]) == ("hate", True, "endpoint.guard")
    assert judge.judge(Shown(Stage.OUTPUT, images=[np.zeros((9, 9, 3), np.uint8)] * 20)).findings
    with pytest.raises(JudgeAway):
        judge.judge(Shown(Stage.PROMPT, "odd"))
    endpoint.client.close()


def test_an_endpoint_that_is_not_there_is_away() -> None:
    endpoint = Endpoint("http://127.0.0.1:9/v1", None, "JUDGE_KEY", 1.0)
    with pytest.raises(JudgeAway, match="doesn't answer"):
        ModerationsJudge(endpoint).judge(Shown(Stage.PROMPT, "x"))
    endpoint.client.close()


def test_pictures_are_scored_and_of_a_clip_one_frame_alone_may_be_wrong() -> None:
    grey, noise = (np.random.default_rng(0).integers(low, 129, (40, 60, 3), np.uint8) for low in (127, 0))
    shipped = picture_judge(ModerationSettings())
    assert shipped is not None
    network = shipped.network
    judge = PictureJudge(network, 0.9, 0.05)
    assert judge.judge(Shown(Stage.INPUT, images=[grey, noise])) == Opinion()
    scores = sorted((judge.score(grey), judge.score(noise)))
    between = PictureJudge(network, sum(scores) / 2, 0.0)
    worse = max((grey, noise), key=judge.score)
    other = min((grey, noise), key=judge.score)
    assert between.judge(Shown(Stage.INPUT, images=[worse])).findings
    assert not between.judge(Shown(Stage.OUTPUT, images=[other, worse, other])).findings
    assert between.judge(Shown(Stage.OUTPUT, images=[worse, worse, other])).findings


def test_weights_that_are_not_there_are_named() -> None:
    with pytest.raises(ConfigError, match=r"moderation\.image_model = 'package:nothing/x\.onnx'"):
        gate_of(ModerationSettings(image_model="package:nothing/x.onnx"), reads=False)
