from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile
from PIL import Image
from tests.clips import clip, shades

from xmodal.media import Media
from xmodal.modality import MODALITIES
from xmodal.testing.modality import check_modality


def png(shade: int, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (9, 7), (shade, 0, 0)).save(file, kind)
    return file.getvalue()


def sound(pitch: float, kind: str = "WAV", count: int = 4000) -> bytes:
    soundfile.write(file := io.BytesIO(), 0.5 * np.sin(pitch * np.arange(count)), 8000, format=kind)
    return file.getvalue()


def array(x: np.ndarray) -> bytes:
    """As a .npy file."""
    np.save(file := io.BytesIO(), x, allow_pickle=True)
    return file.getvalue()


CELLS = {
    "number": (["1", "2.5", "-1e3"], ["", "x", "inf", None, "-", b"x"]),
    "date": (["2024-01-02", "2024-01-02T03:04:05Z"], ["", "2024-13-01", "01.02.2024", "nan", None, "20240102"]),
    "category": (["red", "blue", "red", "NA"], ["", " ", None, float("nan")]),
    "text": ([f"one sentence of number {i}" for i in range(60)], ["", "\n", None]),
    "strokes": (
        [b"START\n1,2\n3,%d\nBREAK" % i for i in range(5)] + [b"[[[0,1],[5,5],[2,2],[3,1],[4,9]],[[0,1]]]"],
        [b"", b"START\nBREAK\n", b"START\n1,2\n3", b"[[[1,2],[3]]]", "text", [], b"[[[0,1],[NaN,2]]]"],
    ),
    "image": ([png(i) for i in range(5)] + [png(1, "JPEG")], [b"", png(3)[:-30], b"GIF89a", png(1, "JPEG")[:300], b"text", png(1, "TGA")]),
    "vector": ([[0.5, 2.0], [3.0, 4.25], [1.0, -1.0]], [[1.0], [1.0, 2.0, 3.0], [float("inf"), 1.0], "x", None, []]),
    "sequence": (
        [array(np.arange(6.0).reshape(3, 2) + i) for i in range(4)],
        [b"", array(np.arange(6.0).reshape(3, 2))[:-5], array(np.array([[None, {}]])), array(np.full((2, 2), np.inf)), b"\x93NUMPY"],
    ),
    "audio": (
        [sound(i / 9) for i in range(1, 5)] + [sound(0.1, "MP3")],
        [b"", sound(0.1)[:30], b"OggS", sound(0.1, "FLAC")[:60], sound(0.1, count=0)],
    ),
    "video": ([clip(shades(3), kind) for kind in ("mp4", "matroska", "avi")], [b"", clip(shades(3))[:-300], png(1), b"#EXTM3U\nclip.mp4"]),
}


@pytest.mark.parametrize("name", MODALITIES)
def test_registered(name: str) -> None:
    check_modality(MODALITIES[name], *CELLS[name], Media(()))


@pytest.mark.parametrize(("name", "good", "bad"), [("number", ["1", "two"], []), ("number", ["1"], ["2"]), ("image", [png(1)], [png(2)])])
def test_the_check_can_fail(name: str, good: list[object], bad: list[object]) -> None:
    with pytest.raises(AssertionError):
        check_modality(MODALITIES[name], good, bad, Media(()))
