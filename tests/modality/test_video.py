from __future__ import annotations

import http.server
import io
import struct
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image as Pillow
from tests.clips import bomb, clip, moving, shades

from bench.mutations import mutated
from xmodal.errors import ConfigError, MediaError
from xmodal.media import Caps, Media
from xmodal.modality import MODALITIES
from xmodal.modality import video as module
from xmodal.modality.video import Clip, Video
from xmodal.table import Reading

NOWHERE = Media(())


def opened(data: bytes, media: Media = NOWHERE) -> Clip:
    return Video().open(data, media)


def places(frames_THW3: np.ndarray) -> list[int]:
    """Which of `shades` each frame is."""
    return [round(float(frame[-8:, -8:].mean()) / 8) for frame in frames_THW3]


@pytest.mark.parametrize("kind", ["mp4", "matroska", "webm", "avi", "gif"])
def test_frames_evenly_spread_from_the_first_to_the_last(kind: str) -> None:
    made = opened(clip(shades(21), kind))
    frames = made.load(frames=6)
    assert (frames.shape, frames.dtype) == ((6, 48, 48, 3), np.uint8)
    assert places(frames) == [0, 4, 8, 12, 16, 20]
    np.testing.assert_allclose(made.times(6), [0, 0.4, 0.8, 1.2, 1.6, 2.0], atol=1e-3)
    assert made.load(size=20).shape == (16, 20, 20, 3)
    assert made.facts() == [{"matroska": "MKV", "webm": "MKV"}.get(kind, kind.upper()), "without sound"]


def test_of_a_variable_rate_what_is_on_the_screen() -> None:
    times = [0, 0.05, 0.1, 0.15, 0.2, 1.0, 1.9, 2.0]
    made = opened(clip(shades(8), "matroska", times))
    wanted = [max(i for i, t in enumerate(times) if t <= at + 1e-9) for at in np.linspace(0, 2, 9)]
    assert places(made.load(frames=9)) == wanted == [0, 4, 4, 4, 5, 5, 5, 5, 7]
    np.testing.assert_allclose(made.times(9), np.array(times)[wanted], atol=1e-3)
    assert places(opened(clip(shades(1))).load(frames=3)) == [0, 0, 0]


def test_a_track_that_starts_late_and_a_header_that_lies() -> None:
    late = opened(clip(shades(11), "matroska", [5 + i / 10 for i in range(11)], sound=True))
    assert places(late.load(frames=6)) == [0, 2, 4, 6, 8, 10]
    assert late.times(6)[0] == 0
    data = clip(shades(11))
    at = data.index(b"mdhd") + 4
    lying = data[: at + 16] + struct.pack(">I", 2**31) + data[at + 20 :]  # the duration of the track
    assert places(opened(lying).load(frames=6)) == [0, 2, 4, 6, 8, 10]


@pytest.mark.parametrize(("kind", "codec"), [
    ("mp4", None), ("matroska", None), ("webm", None), ("avi", None), ("avi", ("mjpeg", "yuvj420p")), ("mp4", ("mpeg4", "yuv420p"))
])  # fmt: skip
@pytest.mark.parametrize("gop", [1, 5, 100])
def test_seeking_gives_the_same_pictures(kind: str, codec: tuple[str, str] | None, gop: int, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    noisy = [np.clip(frame + random.integers(0, 60, frame.shape), 0, 255).astype(np.uint8) for frame in shades(24)]
    data, jumps = clip(noisy, kind, gop=gop, codec=codec), list[int]()
    seen = module.stamped
    monkeypatch.setattr(module, "stamped", lambda *given: jumps.append(1) or seen(*given))
    made = opened(data)
    for count in (3, 4, 16, 30):
        jumps.clear()
        by_seeking = np.stack(made._decoded(None, count))
        assert len(jumps) > 1 or count > 4 or gop == 100
        assert len(jumps) == 1 or gop < 100 or codec or kind == "avi"  # whose encoders add keyframes
        assert np.array_equal(by_seeking, np.stack(made._decoded(None, count, seek=False)))


@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
def test_frames_without_times_are_counted(codec: str) -> None:
    """AVI has no times; those that a demuxer makes up are those of the packets, which B-frames put in another order."""
    with av.open(file := io.BytesIO(), "w", format="avi") as container:
        track: Any = container.add_stream(codec, rate=10)
        track.width = track.height = 48
        track.pix_fmt, track.codec_context.gop_size, track.options = "yuv420p", 6, {"bf": "2", "x264-params": "b-adapt=0:scenecut=0"}
        for pixels in shades(13):
            container.mux(track.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(track.encode(None))
    made = opened(file.getvalue())
    assert made._index[3]
    assert places(made.load(frames=5)) == [0, 3, 6, 9, 12]
    np.testing.assert_allclose(made.times(5), [0, 0.3, 0.6, 0.9, 1.2], atol=1e-5)


def turned(data: bytes, matrix: tuple[int, ...]) -> bytes:
    """An MP4 whose track says how it is to be shown."""
    at = data.index(b"tkhd") + 4 + 40
    fixed = [value << (30 if i % 3 == 2 else 16) for i, value in enumerate(matrix)]
    return data[:at] + struct.pack(">9i", *fixed) + data[at + 36 :]


@pytest.mark.parametrize(("matrix", "turns"), [
    ((0, 1, 0, -1, 0, 0, 0, 0, 1), -1), ((-1, 0, 0, 0, -1, 0, 0, 0, 1), 2), ((0, -1, 0, 1, 0, 0, 0, 0, 1), 1)
])  # fmt: skip
def test_a_clip_is_turned_upright(matrix: tuple[int, ...], turns: int) -> None:
    """(0 1; -1 0) is what a phone held upright writes: turn it clockwise."""
    wide = [np.ascontiguousarray(frame[:32]) for frame in shades(5)]
    plain, made = opened(clip(wide)).load(), opened(turned(clip(wide), matrix))
    assert np.array_equal(made.load(), np.rot90(plain, turns, (1, 2)))
    assert np.abs(made.load(size=16).astype(int) - np.rot90(opened(clip(wide)).load(size=16), turns, (1, 2))).max() <= 2


def test_a_gif_moves_and_its_first_frame_is_the_picture() -> None:
    frames = [Pillow.fromarray(frame) for frame in moving("right", 0)]
    frames[0].save(file := io.BytesIO(), "GIF", save_all=True, append_images=frames[1:], duration=100)
    made = opened(file.getvalue())
    assert np.array_equal(made.load()[0], MODALITIES["image"].open(file.getvalue(), NOWHERE).load())  # type: ignore[attr-defined]
    assert places(opened(clip(shades(5), "gif")).load(frames=5))[-1] == 4
    clear = Pillow.new("P", (8, 8), 0)
    clear.putpalette([0, 0, 0, 10, 200, 30])
    clear.save(file := io.BytesIO(), "GIF", save_all=True, append_images=[clear], transparency=0, duration=50)
    assert (opened(file.getvalue()).load() == 255).all(), "what is transparent is white"


def test_caps_and_odd_files(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MediaError, match="more than 2,000"):
        opened(clip(shades(2)), Media((), Caps(pixels=2000)))
    few = Media((), Caps(decoded=20 * 48 * 48))
    assert opened(clip(shades(24), gop=6), few).load(frames=2).shape[0] == 2
    with pytest.raises(MediaError, match="25 frames of 48 × 48 pixels to decode, more than 46,080"):
        opened(clip(shades(24), gop=100), few).load(frames=2)
    with pytest.raises(MediaError, match="3,015 frames of 8,900 × 8,900 pixels to decode, more than 20,000,000,000"):
        opened(bomb(3000)).load()
    with av.open(file := io.BytesIO(), "w", format="mp4") as container:
        voice: Any = container.add_stream("aac", 8000)
        tone = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        tone.rate = 8000
        container.mux(voice.encode(tone))
        container.mux(voice.encode(None))
    with pytest.raises(MediaError, match="without a picture track"):
        opened(file.getvalue())
    empty = clip(shades(3), "avi")
    with pytest.raises(MediaError, match="no frames"):
        opened(empty[: empty.index(b"movi") + 4]).load()
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MediaError, match=r"xmodal\[video\]"):
        opened(clip_of_before)


clip_of_before = clip(shades(2))


def test_no_file_leads_to_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A playlist reaches neither a file nor the network, even if it were taken for a video."""
    asked = list[str]()

    class Server(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: Any) -> None: ...

    server = http.server.HTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (tmp_path / "secret.mp4").write_bytes(clip(shades(3)))
    urls = [f"file:{tmp_path}/secret.mp4", f"{tmp_path}/secret.mp4", f"http://127.0.0.1:{server.server_port}/clip.mp4"]
    playlists = {
        "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{0}\n#EXT-X-ENDLIST\n", "concat": "ffconcat version 1.0\nfile '{0}'\n",
        "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT1S"><Period>'
        '<AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1"><BaseURL>{0}</BaseURL></Representation>'
        "</AdaptationSet></Period></MPD>",
    }  # fmt: skip
    for form, text in playlists.items():
        for url in urls:
            data = text.format(url).encode()
            for name in ("list.mp4", "list.m3u8"):
                (tmp_path / name).write_bytes(data)
                with pytest.raises(MediaError, match="not a video of kind"):
                    Video().open(name, Media((tmp_path,)))
            with monkeypatch.context() as patch:
                patch.setattr(module, "kind_of", lambda _: "AVI")
                patch.setitem(module.CONTAINERS, "AVI", form)
                with pytest.raises(MediaError):
                    opened(data).load()
    server.shutdown()
    assert not asked


def test_nothing_of_a_container_is_left_open(monkeypatch: pytest.MonkeyPatch) -> None:
    held, real = list[Any](), av.open
    monkeypatch.setattr(av, "open", lambda *a, **k: held.append(real(*a, **k)) or held[-1])
    made = opened(clip(shades(6)))
    made.load()
    made.facts()
    with pytest.raises(MediaError):
        opened(clip(shades(6))[:-400]).load()
    assert len(held) > 3
    for container in (one for one in held if isinstance(one, av.container.InputContainer)):
        with pytest.raises(AssertionError, match="Container is not open"):
            container.size  # noqa: B018


@pytest.mark.parametrize("kind", ["mp4", "matroska", "webm", "avi", "gif"])
def test_fifty_mutations_of_a_format(kind: str) -> None:
    data, told = clip(moving("left", 0, 6), kind, sound=kind != "gif"), Counter[str]()
    for seed in range(50):
        try:
            made = opened(mutated(data, seed), Media((), Caps(pixels=10**6)))
            told["read"] += made.load(size=16).shape == (16, 16, 16, 3)
            made.facts()
        except MediaError:
            told["refused"] += 1
    assert told["refused"] > 10
    assert told["read"] > 5


@pytest.mark.parametrize("name", ["drop", "freeze"])
def test_corruptions(name: str) -> None:
    frames, harm = np.stack(shades(30)), Video().corruptions[name]
    before = -1
    for severity in range(1, 6):
        made = harm(frames, severity, np.random.default_rng(7))
        assert np.array_equal(made, harm(frames, severity, np.random.default_rng(7)))
        assert (made.shape, made.dtype) == (frames.shape, frames.dtype)
        assert np.array_equal(made[0], frames[0])
        assert (np.diff(places(made)) >= 0).all()
        changed = int((made != frames).any((1, 2, 3)).sum())
        assert changed >= before + (severity > 1)
        before = changed
    assert before >= 20


def test_what_is_drawn_and_recognised(tmp_path: Path) -> None:
    data = clip(shades(8))
    assert Video().draw(opened(data)).shape == (48, 4 * 48, 3)
    names = [f"{i}.mp4" for i in range(4)]
    for name in names:
        (tmp_path / name).write_bytes(data)
    import pyarrow as pa

    def guess(cells: list[Any]) -> Reading | None:
        found = Video().recognise(pa.chunked_array([cells]), Media((tmp_path,)))
        return found and found.reading

    assert guess(names) == Reading("", "video", {}, "4 of 4 sampled cells open as videos")
    assert guess([data, data + b"\0"]) is not None
    assert guess(["a", "b"]) is None
    for name in names:
        (tmp_path / name).write_bytes(b"no video at all")
    with pytest.raises(ConfigError, match="videos at its paths"):
        guess(names)
