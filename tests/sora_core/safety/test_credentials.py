"""Content credentials: signed last, read by two engines, broken by one byte."""

import io
import json
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import c2pa
import encypher_c2pa
import numpy as np
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from PIL import Image

from sora_core import media
from sora_core.errors import ConfigError, ProvenanceUnavailable
from sora_core.safety import credentials
from sora_core.safety.certificates import ANCHORS, CHAIN, KEY, write_test_certificates
from sora_core.safety.credentials import CredentialSigner, Ingredient, Origin, media_type_of, read_credentials

PROMPT = "a red ball moves left"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("authority")
    write_test_certificates(folder, "Ann's pictures")
    return folder


@pytest.fixture(scope="module")
def signer(authority: Path) -> CredentialSigner:
    return CredentialSigner((authority / CHAIN).read_bytes(), (authority / KEY).read_bytes())


@pytest.fixture(scope="module")
def anchors(authority: Path) -> str:
    return (authority / ANCHORS).read_text()


@pytest.fixture
def video(tmp_path: Path) -> Path:
    frames = np.random.default_rng(0).integers(0, 255, (5, 32, 48, 3), dtype=np.uint8)
    media.encode_mp4(tmp_path / "video.mp4", iter(frames), 8.0)
    return tmp_path / "video.mp4"


def origin(identity: str = "video_1", *, edited: bool = False) -> Origin:
    return Origin(
        identity=identity, title=identity, model="tiny", made_at=time.time(), generator="sora-on-ray",
        version="0.1.0", prompt=PROMPT, mark=123456, edited=edited,
    )  # fmt: skip


def test_a_signed_video_says_what_made_it_and_not_the_prompt(
    signer: CredentialSigner, anchors: str, video: Path
) -> None:
    signer.sign(video, "video/mp4", origin())
    told = read_credentials(video, "video/mp4", anchors)
    assert (told.state, told.title, told.mark, told.origin["model"]) == ("trusted", "video_1", 123456, "tiny")
    assert read_credentials(video, "video/mp4").state == "valid"
    assert PROMPT.encode() not in video.read_bytes()
    assert b"trainedAlgorithmicMedia" in video.read_bytes()
    assert len(media.decode_clip(video)) == 5


def test_an_independent_verifier_agrees_and_finds_one_flipped_byte(signer: CredentialSigner, video: Path) -> None:
    encypher_c2pa.configure_telemetry(False)
    signer.sign(video, "video/mp4", origin())
    whole = video.read_bytes()
    torn = bytearray(whole)
    torn[-100] ^= 1
    asked = json.dumps({})
    assert "bmffHash.mismatch" not in json.dumps(encypher_c2pa.verify_bytes(whole, "video/mp4", asked))
    assert "bmffHash.mismatch" in json.dumps(encypher_c2pa.verify_bytes(bytes(torn), "video/mp4", asked))
    video.write_bytes(torn)
    told = read_credentials(video, "video/mp4")
    assert (told.state, "assertion.bmffHash.mismatch" in told.problems) == ("invalid", True)


def test_an_edit_keeps_the_chain_of_what_it_was_made_of(
    signer: CredentialSigner, anchors: str, video: Path, tmp_path: Path
) -> None:
    signer.sign(video, "video/mp4", origin())
    for step in ("video_2", "video_3"):
        edited = tmp_path / f"{step}.mp4"
        media.encode_mp4(edited, iter(media.decode_clip(video)), 8.0)
        earlier = read_credentials(video, "video/mp4").title
        assert earlier is not None
        signer.sign(edited, "video/mp4", origin(step, edited=True), [Ingredient(video, "video/mp4", earlier)])
        told = read_credentials(edited, "video/mp4", anchors)
        assert (told.state, told.ingredients) == ("trusted", (earlier,))
        video = edited
    assert b"video_1" in video.read_bytes()  # the chain goes back to the first


@pytest.mark.parametrize("kind", ["png", "webp", "jpeg"])
def test_pictures_are_signed(kind: str, signer: CredentialSigner, anchors: str, tmp_path: Path) -> None:
    path = tmp_path / f"picture.{kind}"
    Image.new("RGB", (64, 48), (200, 30, 30)).save(path)
    assert media_type_of(path) == f"image/{kind}"
    assert read_credentials(path, f"image/{kind}").state == "not_present"
    signer.sign(path, f"image/{kind}", origin())
    assert read_credentials(path, f"image/{kind}", anchors).state == "trusted"


def test_an_address_in_a_strangers_file_is_not_asked(tmp_path: Path) -> None:
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *arguments: object) -> None: ...

    path = tmp_path / "a.jpg"
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        Image.new("RGB", (32, 32)).save(path, xmp=REMOTE.format(port=server.server_port).encode())
        told = read_credentials(path, "image/jpeg")
        builder = c2pa.Builder("{}", c2pa.Context(c2pa.Settings.from_dict(credentials._SIGNING)))
        builder.add_ingredient('{"title": "x"}', "image/jpeg", io.BytesIO(path.read_bytes()))
        server.shutdown()
    assert (told.state, asked) == ("not_present", [])
    assert "lie elsewhere" in told.problems[0]


REMOTE = """<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
xmlns:dcterms="http://purl.org/dc/terms/" dcterms:provenance="http://127.0.0.1:{port}/a.c2pa"/></rdf:RDF></x:xmpmeta>
<?xpacket end="w"?>"""


def test_a_key_may_lie_elsewhere_and_be_away(authority: Path, anchors: str, video: Path) -> None:
    key = load_pem_private_key((authority / KEY).read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)

    def sign(data: bytes) -> bytes:
        numbers = decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
        return b"".join(number.to_bytes(32, "big") for number in numbers)

    def away(data: bytes) -> bytes:
        raise OSError("no route to the key service")

    chain = (authority / CHAIN).read_bytes()
    before = video.read_bytes()
    with pytest.raises(ProvenanceUnavailable, match=r"video\.mp4"):
        CredentialSigner(chain, away).sign(video, "video/mp4", origin())
    assert video.read_bytes() == before
    assert sorted(path.name for path in video.parent.iterdir()) == ["video.mp4"]
    CredentialSigner(chain, sign).sign(video, "video/mp4", origin())
    assert read_credentials(video, "video/mp4", anchors).state == "trusted"


@pytest.mark.parametrize("fault", ["another key", "expired", "unreadable"])
def test_certificates_that_cannot_sign_are_named_at_once(fault: str, authority: Path, tmp_path: Path) -> None:
    begin = datetime.now(UTC) - timedelta(days=2) if fault == "expired" else None
    write_test_certificates(tmp_path, "Bob", days=1, begin=begin)
    chain = b"not PEM" if fault == "unreadable" else (tmp_path / CHAIN).read_bytes()
    key = (authority if fault == "another key" else tmp_path) / KEY
    expected = {"another key": "isn't that of", "expired": "renew it", "unreadable": "can't be read"}[fault]
    with pytest.raises(ConfigError, match=expected):
        CredentialSigner(chain, key.read_bytes())
