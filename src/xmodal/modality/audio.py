"""Sounds: the only place that opens one."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import os
import re
import threading
from collections.abc import Iterator
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from xmodal.errors import Absent, MediaError
from xmodal.formats import sort_of
from xmodal.media import Cell, Media, Raw, shown
from xmodal.modality.files import Corruption, File, Files
from xmodal.modality.spectrum import RATE, log_mel

SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".m4a", ".m4b", ".aac", ".aif", ".aiff")
FILES = ("WAV", "FLAC", "OGG", "MP3", "AIFF")  # read by libsndfile
TRACKS = {"M4A": "mov", "MP4": "mov", "MKV": "matroska", "AVI": "avi", "MPEG": "mpeg"}  # by FFmpeg, and its only demuxer that may
MUTED = threading.Lock()  # one at a time changes where standard error goes
EXTRAS = {"soundfile": "audio", "soxr": "audio", "av": "video"}
SECONDS, HOURS = 30, 6  # what is read of a sound; what is refused by its header
RATES, CHANNELS = (1_000, 192_000), 16
OPPOSED = 0.05  # of the loudest channel's energy: channels whose mean has less cancel each other
LOUD = 8.0  # times full scale: more than any decoder overshoots
# All that libsndfile, FFmpeg and what wraps them raise on damaged files.
DAMAGE = (OSError, ValueError, ArithmeticError, LookupError, TypeError, RuntimeError, AttributeError, EOFError)


class Bytes(io.BytesIO):
    """What a damaged header asks for in vain must not raise: it would be printed, as no exception passes libsndfile."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Stays where it is if there is no such place."""
        with contextlib.suppress(ValueError, OverflowError):
            super().seek(offset, whence)
        return self.tell()


class Sound:
    """One opened sound, or the sound track of a video. Raises MediaError for other kinds, none, and too long ones."""

    def __init__(self, data: bytes, name: str) -> None:
        self.data, self.name, self.kind = data, name, sort_of(data)[1]
        self._loaded: dict[int, np.ndarray] = {}
        self.film = False  # whether there are pictures beside the sound, other than its cover
        with self._damage():
            self.rate, self.channels, self.seconds = self._track() if self.kind in TRACKS else self._file()
        if not RATES[0] <= self.rate <= RATES[1] or not 0 < self.channels <= CHANNELS:
            got = f"{self.channels} channels of {self.rate:,} Hz"
            raise MediaError(got, name, f"convert it: at most {CHANNELS} channels, {RATES[0]:,} to {RATES[1]:,} Hz")
        if not 0 <= self.seconds <= 3600 * HOURS:
            raise MediaError(f"{self.seconds / 3600:,.1f} hours, more than {HOURS}", name, "cut it into parts")

    @contextlib.contextmanager
    def _damage(self) -> Iterator[None]:
        """What a decoder raises in it becomes a MediaError."""
        damage = (*DAMAGE, self._package("av").FFmpegError) if self.kind in TRACKS else DAMAGE
        try:
            yield
        except MemoryError as e:
            raise MediaError("needs too much memory", self.name, "make it smaller") from e
        except damage as e:
            told = re.sub(r"Error opening <[^>]*>: ", "", str(e))  # it names an object of ours
            told = "no sound can be decoded" if "does not exist" in told else told  # what libsndfile says where libmpg123 gives up
            raise MediaError(f"damaged {self.kind}: {told}", self.name, "replace the file") from e

    def _package(self, name: str) -> Any:
        try:
            return importlib.import_module(name)
        except (ImportError, OSError) as e:
            do = f"run: pip install 'xmodal[{EXTRAS[name]}]'" + ", or convert it to WAV" * (name == "av")
            raise MediaError(f"{self.kind}, which needs the package {name}", self.name, do) from e

    @contextlib.contextmanager
    def _silent(self) -> Iterator[None]:
        """What libmpg123 prints of a damaged MP3, past Python, goes nowhere."""
        if self.kind != "MP3":
            yield
            return
        with MUTED:
            kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
            try:
                os.dup2(nowhere, 2)
                yield
            finally:
                os.dup2(kept, 2)
                os.close(kept)
                os.close(nowhere)

    def _file(self) -> tuple[int, int, float]:
        """Rate, channels, seconds."""
        with self._silent(), self._package("soundfile").SoundFile(Bytes(self.data)) as file:
            return file.samplerate, file.channels, min(file.frames, 2**60) / max(file.samplerate, 1)

    def _container(self) -> Any:
        options = {"protocol_whitelist": ""}  # nothing but these bytes
        return self._package("av").open(io.BytesIO(self.data), format=TRACKS[self.kind], options=options, metadata_errors="ignore")

    def _track(self) -> tuple[int, int, float]:
        """Rate, channels, seconds of the first sound track."""
        with self._container() as container:
            if not container.streams.audio:
                raise Absent("a video without a sound track" if container.streams.video else "no sound in it", self.name)
            cover = self._package("av").stream.Disposition.attached_pic
            self.film = any(not video.disposition & cover for video in container.streams.video)
            track = container.streams.audio[0]
            seconds = float(track.duration * track.time_base) if track.duration else (container.duration or 0) / 1e6
            return track.codec_context.sample_rate, track.codec_context.channels, seconds

    @cached_property
    def digest(self) -> str:
        """blake2b-128 of the bytes."""
        return hashlib.blake2b(self.data, digest_size=16).hexdigest()

    def load(self, rate: int = RATE) -> np.ndarray:
        """float32 [T], one channel, -1 to 1; the first 30 s. Raises MediaError if damaged, empty, or not of finite samples."""
        if rate not in self._loaded:
            with self._damage():
                x_TC = self._decoded() if self.kind in TRACKS else self._read()
                if not len(x_TC):
                    raise MediaError("no samples", self.name, "replace the file")
                if not (peak := float(np.abs(x_TC).max())) <= LOUD:  # NaN neither
                    got = f"samples up to {peak:.3g}" if np.isfinite(peak) else "samples that are not finite"
                    raise MediaError(got, self.name, "divide it by its range, so that it lies within -1 to 1")
                x_T = mixed(x_TC)
                if rate != self.rate:
                    x_T = self._package("soxr").resample(x_T, self.rate, rate)
                self._loaded[rate] = np.clip(x_T if len(x_T) else np.zeros(1, np.float32), -1, 1)
        return self._loaded[rate]

    def _read(self) -> np.ndarray:
        with self._silent(), self._package("soundfile").SoundFile(Bytes(self.data)) as file:
            x_TC: np.ndarray = file.read(SECONDS * file.samplerate, dtype="float32", always_2d=True)
            return x_TC

    def _decoded(self) -> np.ndarray:
        parts, left = list[np.ndarray](), SECONDS * self.rate
        with self._container() as container:
            planes = self._package("av").AudioResampler(format="fltp")
            for frame in container.decode(container.streams.audio[0]):
                if frame.sample_rate != self.rate or len(frame.layout.channels) != self.channels:
                    raise ValueError("its rate or its channels change")
                parts += [plane.to_ndarray().T for plane in planes.resample(frame)]
                left -= frame.samples
                if left <= 0:
                    break
        return np.concatenate(parts or [np.zeros((0, 1), np.float32)])[: SECONDS * self.rate]

    def facts(self) -> list[str]:
        """For counts: its format, rate, channels, and whether it is cut."""
        told = {f"{self.channels} channels, mixed": self.channels > 1, f"over {SECONDS} s, only its start is read": self.seconds > SECONDS}
        return [self.kind, f"{self.rate:,} Hz", *(name for name, true in told.items() if true)]

    @property
    def unread(self) -> tuple[float, float]:
        """Seconds, and those of them that are left out."""
        return self.seconds, max(self.seconds - SECONDS, 0.0)


def mixed(x_TC: np.ndarray) -> np.ndarray:
    """One channel: the mean, or where it nearly vanishes beside the loudest channel (opposed phases), that one."""
    x_T, energy_C = x_TC.mean(1), (x_TC.astype(np.float64) ** 2).sum(0)
    return x_TC[:, energy_C.argmax()] if (x_T.astype(np.float64) ** 2).sum() < OPPOSED * energy_C.max() else x_T


def noise(x_T: np.ndarray, severity: int, random: np.random.Generator) -> np.ndarray:
    """White noise, 20, 15, 10, 5 or 0 dB below the sound."""
    scale = np.sqrt(np.mean(x_T.astype(np.float64) ** 2)) * 10 ** (0.25 * (severity - 5))
    return np.asarray(np.clip(x_T + scale * random.standard_normal(len(x_T)), -1, 1), np.float32)


def clipping(x_T: np.ndarray, severity: int, random: np.random.Generator) -> np.ndarray:  # noqa: ARG001
    """Cut at .5, .25, .12, .06 or .03 of the peak, as an amplifier that is turned up too far."""
    top = np.abs(x_T).max() * 0.5**severity
    return np.asarray(np.clip(x_T, -top, top))


def silence(x_T: np.ndarray, severity: int, random: np.random.Generator) -> np.ndarray:
    """2, 4, 6, 8 or 10 of 20 stretches are lost."""
    lost = np.isin(np.arange(len(x_T)) * 20 // len(x_T), random.permutation(20)[: 2 * severity])
    return np.asarray(np.where(lost, np.float32(0), x_T))


class Audio(Files):
    """Cells are sounds: paths, bytes, data: URIs, base64; several in a cell too. Of videos, their sound track, where asked for."""

    kind: ClassVar[str] = "audio"
    noun: ClassVar[str] = "sounds"
    suffixes: ClassVar[tuple[str, ...]] = SUFFIXES
    corruptions: ClassVar[dict[str, Corruption]] = {"noise": noise, "clipping": clipping, "silence": silence}

    def open(self, cell: Cell, media: Media) -> Sound:
        """Raises MediaError for what is no sound of the known kinds and of bounded length."""
        with media.open(cell) as file:
            start, name = file.read(256), shown(cell)
            kind = sort_of(start)[1]
            if kind not in (*FILES, *TRACKS):
                raise MediaError(f"{kind or 'unknown'}: not a sound of kind {', '.join(FILES)}, M4A", name, "convert it to WAV or FLAC")
            return Sound(start + file.read(), name)

    def natural(self, file: File) -> bool:
        """No video."""
        return not (isinstance(file, Sound) and file.film)

    def draw(self, raw: Raw) -> np.ndarray:
        """Its spectrogram, low at the bottom, up to 300 columns: a column is the loudest of the frames that it stands for."""
        x_LF = log_mel(raw.load(), 64)
        x_LF = np.maximum.reduceat(x_LF, np.unique(np.linspace(0, len(x_LF), 301).astype(int)[:-1]))
        grey = np.rint(255 * ((x_LF - x_LF.max()) / np.log(1e8) + 1).clip(0, 1)).astype(np.uint8)  # 80 dB
        return np.repeat(grey.T[::-1, :, None], 3, 2)
