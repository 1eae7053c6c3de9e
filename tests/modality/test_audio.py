from __future__ import annotations

import importlib
import io
import struct
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bench.mutations import mutated
from xmodal.errors import MediaError
from xmodal.media import Media
from xmodal.modality import MODALITIES
from xmodal.modality.audio import OPPOSED, SECONDS, Audio, Sound, mixed
from xmodal.modality.spectrum import FLOOR, filters, hertz, log_mel, mel

NOWHERE = Media(())
AUDIO = MODALITIES["audio"]
assert isinstance(AUDIO, Audio)
WIDTHS = [("WAV", w) for w in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "IMA_ADPCM")]
KINDS = [*WIDTHS, ("FLAC", "PCM_16"), ("FLAC", "PCM_24"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"), ("AIFF", "PCM_16")]


def tone(seconds: float = 1.0, rate: int = 16_000, pitch: float = 440) -> np.ndarray:
    return (0.4 * np.sin(2 * np.pi * pitch * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def encoded(x: np.ndarray, rate: int = 16_000, kind: str = "WAV", width: str | None = None) -> bytes:
    soundfile.write(file := io.BytesIO(), x, rate, width, format=kind)
    return file.getvalue()


def film(sound: np.ndarray | None, kind: str = "mp4", pictures: bool = True, rate: int = 16_000) -> bytes:
    """A container of FFmpeg's."""
    container = av.open(file := io.BytesIO(), "w", format=kind)
    picture = container.add_stream("mpeg4", rate=10, width=32, height=32, pix_fmt="yuv420p") if pictures else None
    track = container.add_stream("aac", rate=rate, layout="mono") if sound is not None else None
    for i in range(5 if picture else 0):
        container.mux(picture.encode(av.VideoFrame.from_ndarray(np.full((32, 32, 3), 20 * i, np.uint8), format="rgb24")))  # type: ignore[union-attr]
    if track is not None and sound is not None:
        frame = av.AudioFrame.from_ndarray(sound[None], format="fltp", layout="mono")
        frame.sample_rate = rate
        container.mux(track.encode(frame))
    for stream in container.streams:
        container.mux(stream.encode(None))
    container.close()
    return file.getvalue()


def opened(data: bytes | str, media: Media = NOWHERE) -> Sound:
    return AUDIO.open(data, media)


@pytest.mark.parametrize(("kind", "width"), KINDS)
def test_kinds_and_widths_give_the_same_sound(kind: str, width: str) -> None:
    sound = opened(encoded(tone(), 16_000, kind, width))
    x_T = sound.load()
    assert x_T.dtype == np.float32
    assert 0 <= len(x_T) - 16_000 <= 300  # ADPCM has blocks
    loose = width in ("ULAW", "IMA_ADPCM", "VORBIS", "OPUS", "MPEG_LAYER_III", "PCM_U8")
    assert np.abs(x_T[2000:14_000] - tone()[2000:14_000]).max() < (0.1 if loose else 1e-4)
    assert sound.facts()[:2] == [kind, "16,000 Hz"]


@pytest.mark.parametrize(("kind", "pictures"), [("ipod", False), ("mp4", True), ("matroska", True), ("avi", True)])
def test_sound_tracks(kind: str, pictures: bool) -> None:
    sound = opened(film(tone(), kind, pictures))
    x_T = sound.load()
    assert sound.film == pictures
    assert abs(len(x_T) / 16_000 - 1) < 0.15
    strength = np.abs(np.fft.rfft(x_T[2000:12_000]))
    assert abs(strength.argmax() * 16_000 / 10_000 - 440) < 3


def test_a_name_decides_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(encoded(tone(), kind="MP3"))
    assert opened("a.wav", Media((tmp_path,))).kind == "MP3"


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000, 192_000])
def test_every_rate_becomes_the_one_asked_for(rate: int) -> None:
    sound = opened(encoded(tone(rate=rate), rate))
    for wanted in (16_000, 8_000):
        x_T = sound.load(rate=wanted)
        assert len(x_T) == wanted
        assert np.abs(x_T - tone(rate=wanted))[wanted // 10 : -wanted // 10].max() < 0.01


def test_channels_are_averaged_and_opposed_ones_do_not_cancel() -> None:
    left, right = tone(), tone(pitch=660)
    assert np.array_equal(mixed(np.stack([left, right], 1)), np.stack([left, right], 1).mean(1))
    assert np.array_equal(mixed(np.stack([left, -left], 1)), left)
    assert np.array_equal(mixed(np.stack([0.5 * left, -left], 1)), (0.5 * left - left) / 2 if OPPOSED < 1 / 16 else -left)
    assert np.array_equal(mixed(np.stack([0.9 * left, -left], 1)), -left)
    one_of_many = np.zeros((16_000, 8), np.float32)
    one_of_many[:, 3] = left
    assert np.array_equal(mixed(one_of_many), left)
    both = opened(encoded(np.stack([left, -left], 1), width="FLOAT"))
    assert np.array_equal(both.load(), left)
    assert "2 channels, mixed" in both.facts()


def test_long_sounds_are_cut_and_far_too_long_ones_are_refused_by_their_header() -> None:
    sound = opened(encoded(tone(SECONDS + 10, 8_000), 8_000))
    assert len(sound.load()) == SECONDS * 16_000
    assert f"over {SECONDS} s, only its start is read" in sound.facts()
    assert sound.unread == (SECONDS + 10, 10)
    flac = bytearray(encoded(tone(), kind="FLAC"))
    flac[21] |= 15  # of 36 bits that tell how many samples there are
    flac[22:26] = b"\xff" * 4
    with pytest.raises(MediaError, match=r"1,193.0 hours, more than 6.*cut it"):
        opened(bytes(flac))


@pytest.mark.parametrize("count", [1, 2, 100, 399])
def test_short_and_silent_sounds(count: int) -> None:
    for x in (tone()[1 : count + 1], np.zeros(count, np.float32)):
        sound = opened(encoded(x, 8_000))
        assert len(sound.load()) >= 1
        assert log_mel(sound.load(), 64).shape[1] == 64
        assert np.isfinite(log_mel(sound.load(), 64)).all()
        assert AUDIO.draw(sound).shape[0] == 64


@pytest.mark.parametrize(("value", "says"), [(np.nan, "not finite"), (np.inf, "not finite"), (3e4, r"up to 3e\+04.*divide")])
def test_samples_without_meaning(value: float, says: str) -> None:
    x = tone()
    x[500] = value
    with pytest.raises(MediaError, match=says):
        opened(encoded(x, width="FLOAT")).load()
    x[500] = 1.2  # decoders overshoot
    assert opened(encoded(x, width="FLOAT")).load().max() == 1


def test_what_is_no_sound() -> None:
    with pytest.raises(MediaError, match="no samples"):
        opened(encoded(np.zeros(0, np.float32))).load()
    with pytest.raises(MediaError, match="PNG: not a sound of kind WAV, FLAC"):
        opened(b"\x89PNG" + bytes(99))
    with pytest.raises(MediaError, match="a video without a sound track"):
        opened(film(None))
    with pytest.raises(MediaError, match=r"17 channels of 16,000 Hz.*at most 16"):
        opened(encoded(np.zeros((9, 17), np.float32)))
    with pytest.raises(MediaError, match=r"400 Hz.*1,000 to 192,000"):
        opened(encoded(tone(), 400))
    with pytest.raises(MediaError, match=r"damaged FLAC"):
        opened(encoded(tone(), kind="FLAC")[:40]).load()


def test_what_ffmpeg_alone_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(sound: Sound) -> None:
        raise av.error.PatchWelcomeError(1, "not yet implemented")

    data = film(tone(), "ipod", pictures=False)
    monkeypatch.setattr(Sound, "_container", unknown)
    with pytest.raises(MediaError, match=r"damaged M4A.*not yet implemented"):
        opened(data)


def cover() -> bytes:
    """An ID3 tag that holds a picture."""
    Image.new("RGB", (300, 300), "red").save(file := io.BytesIO(), "PNG")
    body = b"\0image/png\0\3\0" + file.getvalue()
    frame = b"APIC" + struct.pack(">I", len(body)) + b"\0\0" + body
    size = bytes((len(frame) >> shift) & 127 for shift in (21, 14, 7, 0))
    return b"ID3\3\0\0" + size + frame


def test_a_cover_is_no_video() -> None:
    sound = opened(cover() + encoded(tone(), kind="MP3"))
    assert abs(len(sound.load()) - 16_000) <= 2000
    assert not sound.film
    assert AUDIO.recognise(pa.chunked_array([[cover() + encoded(tone(), kind="MP3")]]), NOWHERE).reading.modality == "audio"  # type: ignore[union-attr]


def test_videos_are_audio_only_where_asked_for() -> None:
    def score(cells: list[bytes]) -> float:
        found = AUDIO.recognise(pa.chunked_array([pa.array(cells)]), NOWHERE)
        return found.score if found else 0.0

    assert score([encoded(tone())]) == score([film(tone(), "ipod", pictures=False)]) == 0.9
    assert score([film(tone())]) == 0.1
    assert score([film(tone()), encoded(tone()), encoded(tone(2))]) == 0.9
    assert score([film(None)]) == 0


def test_a_missing_package_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module

    def gone(name: str) -> Any:
        if name in ("av", "soundfile"):
            raise ImportError(name)
        return real(name)

    m4a, wav = film(tone(), "ipod", pictures=False), encoded(tone())
    monkeypatch.setattr(importlib, "import_module", gone)
    with pytest.raises(MediaError, match=r"pip install 'xmodal\[video\]'"):
        opened(m4a)
    with pytest.raises(MediaError, match=r"pip install 'xmodal\[audio\]'"):
        opened(wav)


def test_filters_are_the_formula() -> None:
    edge = [700 * (10 ** (i * 2595 * np.log10(1 + 8000 / 700) / 65 / 2595) - 1) for i in range(66)]
    want = np.zeros((257, 64))
    for b in range(64):
        for k in range(257):
            f = k * 16_000 / 512
            if edge[b] < f <= edge[b + 1]:
                want[k, b] = (f - edge[b]) / (edge[b + 1] - edge[b])
            elif edge[b + 1] < f < edge[b + 2]:
                want[k, b] = (edge[b + 2] - f) / (edge[b + 2] - edge[b + 1])
    np.testing.assert_allclose(filters(64), want, atol=1e-5)
    assert (filters(64).sum(0) > 0).all()
    assert hertz(mel(np.array(1234.5))) == pytest.approx(1234.5)
    assert mel(np.array(1000)) == pytest.approx(1000, abs=0.1)


def test_log_mel_is_the_formula() -> None:
    x = np.random.default_rng(0).normal(size=1000).astype(np.float32) * 0.1
    got = log_mel(x, 40)
    assert got.shape == (4, 40)
    for i in range(4):
        window = [0.5 - 0.5 * np.cos(2 * np.pi * n / 400) for n in range(400)]
        padded = np.pad(x[160 * i : 160 * i + 400] * window, (0, 112))
        power = np.abs([sum(padded * np.exp(-2j * np.pi * k * np.arange(512) / 512)) for k in range(257)]) ** 2 / 400
        np.testing.assert_allclose(got[i], np.log(power @ filters(40) + FLOOR), atol=1e-3)


@given(st.integers(0, 99), st.integers(1, 300))
def test_corruptions_grow_and_depend_on_the_draws_alone(seed: int, length: int) -> None:
    x = tone()[:: 16_000 // length][:length] + np.float32(0.01)
    for name, corrupt in AUDIO.corruptions.items():
        harm = []
        for severity in range(1, 6):
            one, two = (corrupt(x, severity, np.random.default_rng(seed)) for _ in range(2))
            assert np.array_equal(one, two)
            assert one.dtype == np.float32
            assert one.shape == x.shape
            assert np.abs(one).max() <= 1
            harm.append(float(((one - x) ** 2).sum()))
        assert all(a <= b + 1e-6 for a, b in pairwise(harm)), name


def test_noise_has_its_ratio_and_silence_its_share() -> None:
    x = tone(5)
    for severity in range(1, 6):
        left = AUDIO.corruptions["noise"](x, severity, np.random.default_rng(0)) - x
        assert 10 * np.log10((x**2).mean() / (left**2).mean()) == pytest.approx(25 - 5 * severity, abs=0.5)
        lost = AUDIO.corruptions["silence"](x + 0.5, severity, np.random.default_rng(0)) == 0
        assert lost.mean() == pytest.approx(severity / 10, abs=0.01)
        assert np.abs(AUDIO.corruptions["clipping"](x, severity, np.random.default_rng(0))).max() == pytest.approx(
            0.4 / 2**severity, rel=0.01
        )


def survives(data: bytes) -> None:
    try:
        x_T = opened(data).load()
        assert np.isfinite(x_T).all()
        assert 0 < len(x_T) <= SECONDS * 16_000 + 1
    except MediaError:
        pass


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3", "AIFF", "ipod", "matroska"])
def test_fifty_mutations_of_a_format(kind: str) -> None:
    x = tone(0.3)
    data = encoded(x, kind=kind) if kind.isupper() else film(x, kind, pictures=kind == "matroska")
    for seed in range(50):
        survives(mutated(data, seed))
