"""Clips: the only place that opens the pictures of a video. T frames that are asked for · F frames of the file."""

from __future__ import annotations

import contextlib
import hashlib
import io
import math
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from PIL import Image as Pillow

from xmodal.errors import Absent, MediaError
from xmodal.formats import kind_of
from xmodal.media import Caps, Cell, Media, Raw, shown
from xmodal.modality.files import Corruption, File, Files
from xmodal.modality.image import rgb

# By the first bytes: FFmpeg's own guess would take a playlist, which names other files, for a video.
CONTAINERS = {"MP4": "mov", "AVI": "avi", "MKV": "matroska", "GIF": "gif"}
NONE = {"protocol_whitelist": "none"}  # no protocol has that name, so nothing in a container is followed
FRAMES, SIDE = 16, 512  # of a clip; pixels of a side, unless a size is asked for
DAMAGE = (ArithmeticError, LookupError, TypeError, ValueError, RuntimeError, AttributeError, OSError, MemoryError)
Stamped = tuple[float, Any]  # when a frame is shown, in units of its track; and the frame


class Clip:
    """One opened clip. Raises MediaError for other kinds, for one without pictures and for too many pixels."""

    def __init__(self, data: bytes, caps: Caps, name: str) -> None:
        self.data, self.name, self.kind, self.most = data, name, kind_of(data), caps.decoded
        self._loaded: dict[tuple[int | None, int], np.ndarray] = {}
        if self.kind not in CONTAINERS:
            raise MediaError(f"not a video of kind {', '.join(CONTAINERS)}", name, "convert it to MP4")
        with self._opened() as (_, track):
            self.width, self.height = track.codec_context.width, track.codec_context.height
        if self.width * self.height > caps.pixels:
            raise MediaError(f"{self.width:,} × {self.height:,} pixels, more than {caps.pixels:,}", name, "make it smaller")

    @contextlib.contextmanager
    def _opened(self) -> Iterator[tuple[Any, Any]]:
        """The container and its first picture track; what a decoder raises in it becomes a MediaError."""
        try:
            import av
        except ImportError as e:
            raise MediaError("a video, which needs a package", self.name, "run: pip install 'xmodal[video]'") from e
        try:
            with av.open(io.BytesIO(self.data), format=CONTAINERS[self.kind], io_open=refuse, container_options=NONE) as container:
                tracks = [t for t in container.streams.video if not t.disposition & av.stream.Disposition.attached_pic]  # no covers
                if not tracks:
                    raise Absent(f"{self.kind} without a picture track", self.name)
                if not tracks[0].codec_context:
                    raise MediaError(f"{self.kind} of an unknown encoding", self.name, "convert it to MP4 with H.264")
                tracks[0].thread_type = "NONE"
                yield container, tracks[0]
        except (av.FFmpegError, *DAMAGE) as e:
            raise MediaError(f"damaged {self.kind}: {e}", self.name, "replace the file") from e

    @cached_property
    def digest(self) -> str:
        """blake2b-128 of the bytes."""
        return hashlib.blake2b(self.data, digest_size=16).hexdigest()

    @cached_property
    def _index(self) -> tuple[np.ndarray, np.ndarray, float, bool]:
        """When each frame is shown [F] and which of these are keyframes [F], from the packets themselves, as headers lie; seconds a unit;
        whether frames are counted, as packets lack times that hold (AVI with B-frames): then none is taken for a keyframe."""
        with self._opened() as (container, track):
            packets = [(p.pts, bool(p.is_keyframe)) for p in container.demux(track) if p.size and not p.is_discard]
            unit, reordered = float(track.time_base), self.kind == "AVI" and track.codec_context.has_b_frames
            rate = float(track.average_rate or 25) * unit
        if not packets:
            raise MediaError("no frames", self.name, "replace the file")
        if reordered or None in (times := [pts for pts, _ in packets]) or len(set(times)) < len(times):
            return np.arange(len(packets)) / rate, np.zeros(len(packets), bool), unit, True
        time_F, key_F = zip(*sorted(packets), strict=True)
        return np.array(time_F, np.float64), np.array(key_F), unit, False

    def times(self, frames: int = FRAMES) -> np.ndarray:
        """When each frame that `load` gives is first shown, in seconds after the first, float32 [T]. Raises MediaError if damaged."""
        time_F, _, unit, _ = self._index
        return np.asarray((time_F[shown_at(time_F, frames)] - time_F[0]) * unit, np.float32)

    def load(self, size: int | None = None, frames: int = FRAMES) -> np.ndarray:
        """What is on the screen at moments evenly spread from the first frame to the last, upright: uint8 [T, H, W, 3], stretched to
        [T, size, size, 3], else in its shape of at most 512 pixels a side. Raises MediaError if damaged."""
        if (size, frames) not in self._loaded:
            self._loaded[size, frames] = np.stack(self._decoded(size, frames))
        return self._loaded[size, frames]

    def _decoded(self, size: int | None, count: int, seek: bool = True) -> list[np.ndarray]:
        """From keyframe to keyframe where one lies between, else frame after frame: that gives the same pictures."""
        time_F, key_F, _, counted = self._index
        at_T, key_F = shown_at(time_F, count), key_F & seek
        key_T = np.maximum.accumulate(np.where(key_F, np.arange(len(key_F)), 0))[at_T]
        needed = int((at_T - np.maximum(key_T, np.append(0, at_T[:-1]))).sum()) + count
        if needed * self.width * self.height > self.most:
            why = f"{needed:,} frames of {self.width:,} × {self.height:,} pixels to decode, more than {self.most:,} pixels"
            raise MediaError(why, self.name, "cut it, make it smaller, or encode it with more keyframes")
        made: list[np.ndarray] = []
        with self._opened() as (container, track):
            frames, now, ahead = stamped(container.decode(track), time_F if counted else None), (-math.inf, None), (time_F[0], None)
            for at, key in zip(time_F[at_T], time_F[key_T], strict=True):
                before = now[1]
                if jump := key > ahead[0]:
                    container.seek(int(key), stream=track)
                    frames, now, ahead = stamped(container.decode(track)), (-math.inf, None), (-math.inf, None)
                while ahead[0] <= at:
                    now, ahead = ahead, next(frames)
                if jump and now[1] is None:  # it went too far
                    return self._decoded(size, count, seek=False)
                frame = now[1] or ahead[1]
                if frame is None:
                    raise MediaError("no frame can be decoded", self.name, "replace the file")
                made.append(made[-1] if frame is before else upright(frame, size, made[0].shape if made else None))
        return made

    def facts(self) -> list[str]:
        """For counts: its format, and whether it has no sound."""
        with self._opened() as (container, _):
            return [self.kind, *([] if container.streams.audio else ["without sound"])]


def refuse(url: str, *_: Any) -> None:
    """No file leads to another."""
    raise PermissionError(f"names another file, {url[:60]!r}")


def shown_at(time_F: np.ndarray, count: int) -> np.ndarray:
    """Which frame is on the screen at each of `count` moments evenly spread from the first to the last, [T]."""
    return np.asarray(np.searchsorted(time_F, np.linspace(time_F[0], time_F[-1], count), "right") - 1)


def stamped(frames: Iterator[Any], time_F: np.ndarray | None = None) -> Iterator[Stamped]:
    """Frames and when they are shown, by their own times or by their place; at last, for ever after, none."""
    for place, frame in enumerate(frames):
        if time_F is not None:
            yield time_F[min(place, len(time_F) - 1)], frame
        elif frame.pts is not None:
            yield frame.pts, frame
    yield math.inf, None


def upright(frame: Any, size: int | None, shape: tuple[int, ...] | None) -> np.ndarray:
    """uint8 [H, W, 3], turned as its file says, transparent parts white; `shape` of the frames before, as a track may change it."""
    clear = any(part.is_alpha for part in frame.format.components)
    plain = frame.reformat(format="rgba" if clear else "rgb24", threads=1)  # threads for a frame each cost five times as much
    picture = rgb(Pillow.fromarray(plain.to_ndarray()))
    turns = round(frame.rotation / 90)
    height, width = (size, size) if size else shape[:2] if shape else (0, 0)
    if not height:
        picture.thumbnail((SIDE, SIDE))
    else:
        width, height = (height, width) if turns % 2 else (width, height)
        picture = picture.resize((width, height), Pillow.Resampling.BILINEAR, reducing_gap=2.0)
    return np.ascontiguousarray(np.rot90(np.asarray(picture), turns))


def drop(frames_THW3: np.ndarray, severity: int, draw: np.random.Generator) -> np.ndarray:
    """15 % of the frames a step of severity are lost: the one before stays on the screen."""
    kept_T = draw.random(len(frames_THW3)) >= 0.15 * severity
    kept_T[:1] = True
    return np.asarray(frames_THW3[np.maximum.accumulate(np.where(kept_T, np.arange(len(kept_T)), 0))])


def freeze(frames_THW3: np.ndarray, severity: int, draw: np.random.Generator) -> np.ndarray:
    """The picture stands still, from somewhere in the first tenth on, for 18 % of the clip a step of severity."""
    start, place_T = int(draw.random() * len(frames_THW3) / 10), np.arange(len(frames_THW3))
    still_T = (place_T > start) & (place_T <= start + 0.18 * severity * len(place_T))
    return np.asarray(frames_THW3[np.where(still_T, start, place_T)])


class Video(Files):
    """Cells are videos: paths, bytes, data: URIs; several in a cell too. A GIF is one where it is asked for."""

    kind: ClassVar[str] = "video"
    noun: ClassVar[str] = "videos"
    suffixes: ClassVar[tuple[str, ...]] = (".mp4", ".m4v", ".mov", ".avi", ".webm", ".mkv")
    corruptions: ClassVar[Mapping[str, Corruption]] = {"drop": drop, "freeze": freeze}

    def open(self, cell: Cell, media: Media) -> Clip:
        """Raises MediaError for what is not a video of the known kinds and of bounded size."""
        with media.open(cell) as file:
            return Clip(file.read(), media.caps, shown(cell))

    def natural(self, file: File) -> bool:
        """No GIF."""
        return not (isinstance(file, Clip) and file.kind == "GIF")

    def draw(self, raw: Raw) -> np.ndarray:
        """Four frames, side by side."""
        return np.concatenate(list(raw.load(frames=4)), 1)
