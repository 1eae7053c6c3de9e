from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from xmodal.errors import MediaError
from xmodal.media import Caps, Media
from xmodal.modality import MODALITIES
from xmodal.modality.image import Picture

NOWHERE = Media(())


def encoded(array: np.ndarray, kind: str = "PNG", **settings: Any) -> bytes:
    file = io.BytesIO()
    (array if isinstance(array, Pillow.Image) else Pillow.fromarray(array)).save(file, kind, **settings)
    return file.getvalue()


def opened(data: bytes, media: Media = NOWHERE) -> Picture:
    return MODALITIES["image"].open(data, media)  # type: ignore[attr-defined,no-any-return]


def header(width: int, height: int) -> bytes:
    """A PNG that is nothing but its header."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + b"\0\0\0\0IDAT"


RAMP = np.arange(40 * 60 * 3, dtype=np.uint8).reshape(40, 60, 3)


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "TIFF", "WEBP", "JPEG"])
def test_kinds(kind: str) -> None:
    solid = np.full((10, 20, 3), (200, 30, 40), np.uint8)
    got = opened(encoded(solid, kind)).load()
    assert got.shape == (10, 20, 3)
    assert got.dtype == np.uint8
    assert np.abs(got.astype(int) - solid).max() <= 6


@pytest.mark.parametrize("kind", ["TGA", "PPM", "ICO", "PCX", "PDF"])
def test_other_kinds_are_refused(kind: str) -> None:
    with pytest.raises(MediaError, match="not a picture of kind"):
        opened(encoded(RAMP, kind))


def test_no_path_and_no_name_decides(tmp_path: Path) -> None:
    (tmp_path / "007").write_bytes(encoded(RAMP))
    assert np.array_equal(opened("007", Media((tmp_path,))).load(), RAMP)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [(50_000, 50_000), (11_000, 11_000), (9_000, 9_000)])
def test_pixels_are_capped_by_the_header(size: tuple[int, int]) -> None:
    with warnings.catch_warnings(action="error"), pytest.raises(MediaError, match="pixels"):
        opened(header(*size))


def test_the_cap_is_the_caller_s() -> None:
    with pytest.raises(MediaError, match=r"60 × 40 pixels, more than 2,399"):
        opened(encoded(RAMP), Media((), Caps(pixels=2399)))
    opened(encoded(RAMP), Media((), Caps(pixels=2400)))


@pytest.mark.parametrize("tag", range(1, 9))
def test_every_orientation_is_turned_upright(tag: int) -> None:
    upright = np.zeros((16, 32, 3), np.uint8)
    upright[:8, :16], upright[8:, 16:] = (255, 0, 0), (0, 0, 255)
    undo = {1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: lambda a: a.swapaxes(0, 1),
            6: np.rot90, 7: lambda a: np.rot90(a, 2).swapaxes(0, 1), 8: lambda a: np.rot90(a, -1)}  # fmt: skip
    exif = Pillow.Exif()
    exif[0x0112] = tag
    stored = np.ascontiguousarray(undo[tag](upright))
    assert np.array_equal(opened(encoded(stored, "PNG", exif=exif)).load(), upright)
    photo = opened(encoded(stored, "JPEG", exif=exif, quality=100, subsampling=0))
    assert np.abs(photo.load().astype(int) - upright).max() < 30
    twin = opened(encoded(upright)).load(size=16)
    assert np.abs(photo.load(size=16).astype(int) - twin).max() < 40


def test_size_stretches_and_agrees_with_a_full_decode() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (12, 16, 3)).astype(np.uint8)
    smooth = Pillow.fromarray(noise).resize((640, 480), Pillow.Resampling.BICUBIC)
    photo = opened(encoded(smooth, "JPEG", quality=95))
    full = np.asarray(Pillow.fromarray(photo.load()).resize((64, 64), Pillow.Resampling.BILINEAR))
    small = photo.load(size=64)
    assert small.shape == (64, 64, 3)
    assert np.abs(small.astype(int) - full).mean() < 3  # the draft decode differs by rounding only
    assert photo.load(size=64) is small  # all extractors of a cell share one decode


def test_modes() -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    assert len(np.unique(opened(encoded(ramp)).load())) == 256  # 16 bits are scaled, not clipped
    clear = np.zeros((4, 4, 4), np.uint8)
    clear[:2, :, 3] = 255
    assert opened(encoded(clear)).load()[:, 0, 0].tolist() == [0, 0, 255, 255]  # transparent is white
    assert opened(encoded(Pillow.fromarray(RAMP).convert("CMYK"), "TIFF")).load().shape == RAMP.shape
    assert opened(encoded(Pillow.fromarray(RAMP).convert("P"))).load().shape == RAMP.shape
    with pytest.raises(MediaError, match="32-bit"):
        opened(encoded(np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 4), "TIFF")).load()


def test_a_moving_picture_is_its_first_frame() -> None:
    frames = [Pillow.new("RGB", (8, 8), shade) for shade in ("black", "white", "white")]
    assert opened(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])).load().max() == 0


GOOD = [encoded(RAMP, kind) for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP")]


@given(st.sampled_from(GOOD), st.integers(0, 10_000), st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=6))
def test_no_damage_raises_anything_but_media_error(data: bytes, cut: int, flips: list[tuple[int, int]]) -> None:
    harmed = bytearray(data[: max(cut % (2 * len(data)), 1)])
    for where, value in flips:
        harmed[where % len(harmed)] = value
    try:
        with warnings.catch_warnings(action="ignore"):
            picture = opened(bytes(harmed), Media((), Caps(pixels=10**6)))
            picture.load(size=16)
            assert picture.load().dtype == np.uint8
    except MediaError:
        pass
