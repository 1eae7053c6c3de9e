from __future__ import annotations

import io
import json
from typing import Any

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


def npy(array: Any) -> bytes:
    np.save(file := io.BytesIO(), np.asarray(array), allow_pickle=True)
    return file.getvalue()


CELLS: dict[str, tuple[list[Any], list[Any]]] = {
    "number": (["1", "2.5", "-1e3"], ["", "x", "inf", None, "-", b"x"]),
    "date": (["2024-01-02", "2024-01-02T03:04:05Z"], ["", "2024-13-01", "01.02.2024", "nan", None, "20240102"]),
    "category": (["red", "blue", "red", "NA"], ["", " ", None, float("nan")]),
    "text": ([f"one sentence of number {i}" for i in range(60)], ["", "\n", None]),
    "strokes": (
        [b"START\n1,2\n3,%d\nBREAK" % i for i in range(5)] + [b"[[[0,1],[5,5],[2,2],[3,1],[4,9]],[[0,1]]]"],
        [b"", b"START\nBREAK\n", b"START\n1,2\n3", b"[[[1,2],[3]]]", "text", [], b"[[[0,1],[NaN,2]]]"],
    ),
    "image": ([png(i) for i in range(5)] + [png(1, "JPEG")], [b"", png(3)[:-30], b"GIF89a", png(1, "JPEG")[:300], b"text", png(1, "TGA")]),
    "audio": (
        [sound(i / 9) for i in range(1, 5)] + [sound(0.1, "MP3")],
        [b"", sound(0.1)[:30], b"OggS", sound(0.1, "FLAC")[:60], sound(0.1, count=0)],
    ),
    "vector": (
        [[1.0, 2.5, -3e3], [0.1, None, 0.0], [1.0, 2.0, 3.0]],
        [
            None,
            [],
            [None, None, None],
            [1, 2],
            [1, "x", 3],
            [1, float("inf"), 2],
            [1e300, 0, 0],
            [[1], [2], [3]],
            "x",
            "[1, 2",
            "",
            7,
            {"a": 1},
        ],
    ),
    "sequence": (
        [npy(np.arange(2.0 * n).reshape(n, 2)) for n in range(1, 5)] + [npy([[0.5, np.nan], [1, 2]]), npy(np.eye(2, dtype=np.uint8))],
        [
            b"",
            npy(np.eye(9))[:-8],
            npy(np.eye(9))[:40],
            npy([[1, np.inf]]),
            npy([[np.nan] * 2]),
            npy(np.zeros((0, 2))),
            npy(np.zeros((2, 2, 2))),
            npy(1.0),
            npy([["a", "b"]]),
            npy(np.array([{"a": 1}], object)),
            npy(np.ones((2, 2), complex)),
            b"text",
            json.dumps([[1, 2]]).encode(),
        ],
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
