"""HDR becomes SDR as BT.2100 and BT.2408 say: white stays near white, grey stays grey, no light passes another."""

from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from sora_core import media
from sora_core.media.hdr import HLG, PQ, to_sdr


def grey(code: float, transfer: int) -> np.ndarray:
    return to_sdr(np.full((1, 1, 3), round(code * 65535), np.uint16), transfer)[0, 0]


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_grey_stays_grey_and_brighter_stays_brighter(transfer: int) -> None:
    ramp = np.linspace(0, 65535, 200).astype(np.uint16)[None, :, None].repeat(3, axis=2)
    shown = to_sdr(ramp, transfer)[0].astype(int)
    assert np.ptp(shown, axis=1).max() <= 1
    assert np.diff(shown[:, 1]).min() >= 0
    assert shown[0].max() == 0
    assert shown[-1].min() >= 254


def test_both_functions_agree_on_reference_white_and_on_grey() -> None:
    """BT.2408: reference white, 203 cd/m2, is 58 % of PQ and 75 % of HLG; an 18 % grey card 38 % of both."""
    white = grey(0.58, PQ)[0], grey(0.75, HLG)[0]
    card = grey(0.38, PQ)[0], grey(0.38, HLG)[0]
    assert white[0] == pytest.approx(white[1], abs=3)
    assert min(white) > 235
    assert card[0] == pytest.approx(card[1], abs=6)
    assert 95 < card[0] < 130


def test_primaries_of_bt_2020_become_those_of_bt_709() -> None:
    wide = np.array([[[0.5, 0.35, 0.35]]]) * 65535
    red, green, blue = to_sdr(wide.astype(np.uint16), PQ)[0, 0].astype(int)
    narrow = np.array([0.5, 0.35, 0.35])
    same = np.stack([grey(code, PQ) for code in narrow])[:, 0].astype(int)
    assert red > same[0], "the wider gamut's red is redder in the narrower one"
    assert max(green, blue) <= same[1]


def test_real_files_look_alike_however_they_are_scaled(collection: Path, footage: Path, tmp_path: Path) -> None:
    """FFmpeg's fast scaler, which looks at frames for the scores, its exact one for the model, and none."""
    photo = media.decode_image(footage / "ph_london.jpg", (480, 640))
    real = (collection / name for name in ("a_hdr10_av1_portrait.mp4", "fx_frog_hdr.webm", "a_colorchart_hlg.mp4"))
    made = (write_hdr(tmp_path / f"{transfer}.mp4", photo, transfer) for transfer in (PQ, HLG))
    for path in (*made, *(path for path in real if path.exists())):
        fast = next(media.iter_frames(path, height=96))[1]
        exact = media.decode_clip(path, 0, 0.04, size=fast.shape[:2], max_frames=1)[0]
        stored = media.decode_clip(path, 0, 0.04, max_frames=1)[0]
        unscaled = cv2.resize(stored, fast.shape[1::-1], interpolation=cv2.INTER_AREA)
        for other in (exact, unscaled):
            assert np.abs(fast.astype(int) - other.astype(int)).mean() < 8, path.name


def write_hdr(path: Path, photo: np.ndarray, transfer: int) -> Path:
    """The photograph's numbers as codes of ten bits in BT.2020, tagged with one of the two transfer functions."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx265", rate=25)
        stream.height, stream.width, stream.pix_fmt = *photo.shape[:2], "yuv420p10le"
        context = stream.codec_context
        context.color_trc, context.color_primaries, context.colorspace = transfer, 9, 9
        context.options = {"x265-params": "log-level=none"}
        container.mux(stream.encode(av.VideoFrame.from_ndarray(photo)))
        container.mux(stream.encode())
    return path
