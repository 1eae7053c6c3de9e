"""Clips written for tests: pixels in, bytes of a file out."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import av
import numpy as np

CODECS = {"mp4": ("libx264", "yuv420p"), "matroska": ("libx264", "yuv420p"), "webm": ("libvpx-vp9", "yuv420p"), "avi": ("mpeg4", "yuv420p")}
RATE = 8000


def clip(
    frames: Sequence[np.ndarray], kind: str = "mp4", times: Sequence[float] | None = None, gop: int = 4, sound: bool = False,
    codec: tuple[str, str] | None = None,
) -> bytes:  # fmt: skip
    """`times`: when each frame is shown, in seconds; else 10 a second. A GIF's frames are exact."""
    name, layout = codec or CODECS.get(kind, ("gif", "rgb8"))
    with av.open(file := io.BytesIO(), "w", format=kind) as container:
        track: Any = container.add_stream(name, rate=10)
        track.height, track.width = frames[0].shape[:2]
        track.pix_fmt, track.codec_context.gop_size = layout, gop
        track.codec_context.time_base = Fraction(1, 100 if kind == "gif" else 10 if kind == "avi" else 1000)
        if name == "libx264":
            track.options = {"crf": "10", "preset": "ultrafast" if gop == 1 else "medium", "x264-params": "scenecut=0"}
        voice: Any = container.add_stream("pcm_s16le" if kind == "avi" else "libopus" if kind == "webm" else "aac", RATE) if sound else None
        for at, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame.time_base = track.codec_context.time_base
            frame.pts = round((times[at] if times is not None else at / 10) / frame.time_base)
            container.mux(track.encode(frame))
        container.mux(track.encode(None))
        if voice:
            tone = av.AudioFrame.from_ndarray(np.zeros((1, RATE // 2), np.int16), format="s16", layout="mono")
            tone.rate = RATE
            container.mux(voice.encode(tone))
            container.mux(voice.encode(None))
    return file.getvalue()


def bomb(frames: int, side: int = 8900) -> bytes:
    """A GIF of some kilobytes, each of whose frames changes one pixel of a canvas that is as large as a picture may be."""
    size = side.to_bytes(2, "little") * 2
    frame = b"\x21\xf9\x04\x04\x04\0\0\0\x2c\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0"
    return b"GIF89a" + size + b"\x80\0\0\0\0\0\xff\xff\xff" + frames * frame + b"\x3b"


def shades(count: int, side: int = 48) -> list[np.ndarray]:
    """Frames that tell their place: a grey of 8 times it, upper left a white square."""
    made = [np.full((side, side, 3), 8 * i, np.uint8) for i in range(count)]
    for frame in made:
        frame[: side // 4, : side // 4] = 255
    return made


def moving(way: str, seed: int, count: int = 8, side: int = 32) -> list[np.ndarray]:
    """A bright square that moves left, right, up or down over noise."""
    random = np.random.default_rng(seed)
    made = [random.integers(0, 40, (side, side, 3), dtype=np.uint8) for _ in range(count)]
    step_by = (side - 10) // count
    across, start = random.integers(2, side - 8), random.integers(0, side - step_by * count - 6)
    for step, frame in enumerate(made if way in ("right", "down") else made[::-1]):
        along = start + step_by * step
        y, x = (across, along) if way in ("left", "right") else (along, across)
        frame[y : y + 6, x : x + 6] = 230
    return made
