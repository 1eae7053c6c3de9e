from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow
from pydicom.dataset import FileDataset, FileMetaDataset

from bench.mutations import mutated
from xmodal.errors import ConfigError, MediaError
from xmodal.media import Caps, Media
from xmodal.modality import MODALITIES
from xmodal.modality import image as module
from xmodal.modality.image import Picture
from xmodal.table import Reading

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


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "TIFF", "WEBP", "JPEG", "AVIF"])
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


def grey(data: bytes) -> np.ndarray:
    got = opened(data).load()
    assert (got[..., 0] == got[..., 1]).all()
    return got[..., 0]


DEEP = np.arange(65536, dtype=np.uint16).reshape(256, 256)


def test_deep_grey_is_scaled_by_its_type_and_never_by_the_picture() -> None:
    for kind, array in (("PNG", DEEP), ("TIFF", DEEP), ("TIFF", DEEP.astype(">u2"))):
        assert np.array_equal(grey(encoded(array, kind)), DEEP // 257), (kind, array.dtype)
        assert np.array_equal(grey(encoded(array[:16], kind)), DEEP[:16] // 257)  # a dark picture stays dark
    floats = np.linspace(0, 1, 1024, dtype=np.float32).reshape(32, 32)
    assert np.array_equal(grey(encoded(floats, "TIFF")), np.floor(floats * 255 + 0.5))
    assert grey(encoded(floats / 2, "TIFF")).max() == 128
    for bad in (floats * 2, floats - 0.1, floats + np.nan):
        with pytest.raises(MediaError, match="outside 0…1"):
            opened(encoded(bad, "TIFF")).load()
    with pytest.raises(MediaError, match="32-bit"):
        opened(encoded(np.full((4, 4), 70_000, np.int32), "TIFF")).load()


def tiff(bits: int, pixels: bytes, side: int, zero_is_white: bool = False, order: str = "<") -> bytes:
    """An uncompressed grey TIFF of one strip."""
    tags = [(256, side), (257, side), (258, bits), (259, 1), (262, 0 if zero_is_white else 1), (273, 8), (277, 1), (278, side)]
    entries = b"".join(struct.pack(f"{order}HHIHH", tag, 3, 1, value, 0) for tag, value in tags)
    entries += struct.pack(f"{order}HHII", 279, 4, 1, len(pixels))
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}I", 8 + len(pixels))
    return head + pixels + struct.pack(f"{order}H", len(tags) + 1) + entries + b"\0\0\0\0"


def test_grey_of_twelve_bits_and_of_inverted_tiff() -> None:
    levels = np.arange(4096).reshape(64, 64)
    packed = np.stack([levels[:, ::2] >> 4, (levels[:, ::2] & 15) << 4 | levels[:, 1::2] >> 8, levels[:, 1::2] & 255], -1)
    got = grey(tiff(12, packed.astype(np.uint8).tobytes(), 64))
    assert np.array_equal(got, np.floor(levels * 255 / 4095 + 0.5))
    for order in "<>":
        assert np.array_equal(grey(tiff(16, DEEP.astype(f"{order}u2").tobytes(), 256, order=order)), DEEP // 257)
    assert np.array_equal(grey(tiff(16, DEEP.astype("<u2").tobytes(), 256, zero_is_white=True)), 255 - DEEP // 257)


@given(st.integers(0, 255), st.integers(0, 255))
def test_what_lies_under_transparent_parts_is_never_seen(under: int, alpha: int) -> None:
    pixels = np.full((2, 2, 4), (under, 255 - under, under, alpha), np.uint8)
    for array in (pixels, pixels[..., [0, 3]]):  # RGBA, grey with alpha
        for kind in ("PNG", "TIFF"):
            got = opened(encoded(Pillow.fromarray(array, None), kind)).load().astype(float)
            want = 255 - (255 - array[..., [0, 0, 0] if array.shape[2] == 2 else [0, 1, 2]].astype(float)) * alpha / 255
            assert np.abs(got - want).max() <= 1


def test_transparency_without_an_alpha_channel() -> None:
    palette = Pillow.fromarray(np.array([[0, 1], [1, 0]], np.uint8), "P")
    palette.putpalette([10, 20, 30, 40, 50, 60])
    white, seen = [255, 255, 255], [40, 50, 60]
    for kind in ("PNG", "GIF"):
        assert opened(encoded(palette, kind, transparency=0)).load().tolist() == [[white, seen], [seen, white]]
    assert opened(encoded(palette, "PNG", transparency=bytes([0, 255]))).load().tolist() == [[white, seen], [seen, white]]
    colour = np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)
    assert opened(encoded(colour, "PNG", transparency=(1, 2, 3))).load().tolist() == [[white, [4, 5, 6]]]
    assert grey(encoded(np.array([[0, 1], [514, 0]], np.uint16), "PNG", transparency=0)).tolist() == [[255, 0], [2, 255]]


def test_cmyk_as_printers_and_as_adobe_write_it() -> None:
    photo = Pillow.new("RGB", (8, 8), (200, 30, 40)).convert("CMYK")
    plain = encoded(photo, "JPEG", quality=100)  # Pillow writes it inverted, with Adobe's mark
    at = plain.index(b"Adobe") - 4
    assert np.abs(opened(plain).load()[0, 0].astype(int) - (200, 30, 40)).max() <= 4
    inverted = Pillow.fromarray(255 - np.asarray(photo), "CMYK")
    bare = encoded(inverted, "JPEG", quality=100)
    bare = bare[:at] + bare[at + 2 + int.from_bytes(bare[at + 2 : at + 4], "big") :]  # without the mark nothing is inverted
    assert np.abs(opened(bare).load()[0, 0].astype(int) - (200, 30, 40)).max() <= 4
    assert opened(encoded(photo, "TIFF")).load()[0, 0].tolist() == [200, 30, 40]


@pytest.mark.parametrize("shape", [(1, 1), (1, 4000), (4000, 1), (2, 3)])
def test_smallest_and_thinnest(shape: tuple[int, int]) -> None:
    for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "AVIF"):
        picture = opened(encoded(np.full((*shape, 3), 99, np.uint8), kind))
        assert picture.load().shape == (*shape, 3)
        assert np.abs(picture.load(size=64).astype(int) - 99).max() <= 3


def test_kinds_are_told_by_content_and_others_refused_by_name() -> None:
    heic = b"\0\0\0\x18ftypheic" + bytes(200)
    cases = {
        heic: ("HEIC", "JPEG"), b"\0\0\0\x18ftypavif" + bytes(200): ("damaged or unknown AVIF", "replace"), b"%PDF-1.4": ("PDF", "convert"),
        b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic" + bytes(99): ("HEIC", "JPEG"), b"<svg xmlns=''></svg>": ("SVG", "convert"),
        b"\xff\x0a" + bytes(99): ("JPEG XL", "convert"), b"8BPS" + bytes(99): ("Photoshop", "convert"),
    }  # fmt: skip
    for data, (kind, do) in cases.items():
        with pytest.raises(MediaError) as e:
            opened(data)
        assert kind in e.value.reason
        assert do in e.value.do
    assert opened(encoded(RAMP, "AVIF", quality=100)).load().shape == RAMP.shape


def test_a_moving_picture_is_its_first_frame() -> None:
    frames = [Pillow.new("RGB", (8, 8), shade) for shade in ("black", "white", "white")]
    assert opened(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])).load().max() == 0


KINDS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "AVIF")
GOOD = [encoded(RAMP, kind) for kind in KINDS]


def survives(data: bytes) -> None:
    try:
        with warnings.catch_warnings(action="ignore"):
            picture = opened(data, Media((), Caps(pixels=10**6)))
            assert picture.load(size=16).shape == (16, 16, 3)
            assert picture.load().size <= 3 * 10**6
            picture.facts()
    except MediaError:
        pass


@given(st.sampled_from(GOOD), st.integers(0, 10_000), st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=6))
def test_no_damage_raises_anything_but_media_error(data: bytes, cut: int, flips: list[tuple[int, int]]) -> None:
    harmed = bytearray(data[: max(cut % (2 * len(data)), 1)])
    for where, value in flips:
        harmed[where % len(harmed)] = value
    survives(bytes(harmed))


@pytest.mark.parametrize("kind", [*KINDS, "DICOM"])
def test_fifty_mutations_of_a_format(kind: str) -> None:
    data = film(RAMP[..., 0]) if kind == "DICOM" else encoded(RAMP, kind)
    for seed in range(50):
        survives(mutated(data, seed))


def film(pixels: np.ndarray, **tags: Any) -> bytes:
    """A DICOM file of one frame, or several."""
    data = FileDataset("", {}, file_meta=FileMetaDataset(), preamble=bytes(128))
    data.file_meta.TransferSyntaxUID, data.SOPClassUID = "1.2.840.10008.1.2.1", "1.2.840.10008.5.1.4.1.1.1"
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = "1.2.3"
    data.Rows, data.Columns = pixels.shape[-2:]
    data.BitsAllocated, data.SamplesPerPixel, data.PatientName = 8 * pixels.itemsize, 1, "Doe^Jane"
    data.NumberOfFrames = pixels.size // (data.Rows * data.Columns)
    data.PixelData = pixels.tobytes()
    usual = {
        "BitsStored": 8 * pixels.itemsize,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
        "PhotometricInterpretation": "MONOCHROME2",
    }
    for name, value in {**usual, **tags}.items():
        setattr(data, name, value)
    data.HighBit = data.BitsStored - 1
    file = io.BytesIO()
    data.save_as(file, enforce_file_format=True)
    return file.getvalue()


def test_films_are_rescaled_windowed_and_never_negative() -> None:
    stored = np.arange(0, 4096, 16, dtype=np.uint16).reshape(16, 16)
    by_range = np.rint(stored / 4095 * 255)
    assert np.array_equal(grey(film(stored, BitsStored=12)), by_range)
    assert np.array_equal(grey(film(stored // 2, BitsStored=12)), np.rint(stored // 2 / 4095 * 255))  # never per picture
    assert np.array_equal(grey(film(stored, BitsStored=12, PhotometricInterpretation="MONOCHROME1")), np.rint(255 - stored / 4095 * 255))
    assert np.array_equal(grey(film(np.stack([stored, stored * 0]), BitsStored=12)), by_range)  # the first frame
    hounsfield = stored.astype(np.float64) - 1024
    window = grey(film(stored, BitsStored=12, RescaleSlope=1, RescaleIntercept=-1024, WindowCenter=[40, 500], WindowWidth=[400, 2000]))
    assert np.array_equal(window, np.rint(((hounsfield - (39.5 - 199.5)) / 399).clip(0, 1) * 255))
    signed = (stored.astype(np.int32) - 2048).astype(np.int16)
    assert np.array_equal(grey(film(signed, BitsStored=12)), by_range)
    assert opened(film(stored)).load(size=8).shape == (8, 8, 3)


def test_damaged_or_huge_films_and_no_pydicom(monkeypatch: pytest.MonkeyPatch) -> None:
    junk = bytes(128) + b"DICM" + b"junk" * 50
    whole = film(np.zeros((16, 16), np.uint8))
    for bad in (junk, *(whole[:end] for end in range(132, len(whole) - 200))):
        with pytest.raises(MediaError, match=r"damaged.*DICOM"):
            opened(bad).load()
    with pytest.raises(MediaError, match=r"256 pixels|16 × 16 pixels"):
        opened(film(np.zeros((16, 16), np.uint8)), Media((), Caps(pixels=255)))
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(MediaError, match=r"DICOM.*pip install 'xmodal\[dicom\]'"):
        opened(junk)


def test_recognising_several_files_and_where_none_opens(tmp_path: Path) -> None:
    for i in range(12):
        (tmp_path / f"{i}.png").write_bytes(encoded(RAMP + np.uint8(i)))
    (tmp_path / "classes").mkdir()
    (tmp_path / "classes" / "0.png").write_bytes(encoded(RAMP))
    media, image = Media((tmp_path,)), MODALITIES["image"]

    def guess(cells: list[Any], media: Media = media) -> Reading | None:
        found = image.recognise(pa.chunked_array([pa.array(cells)]), media)
        return found.reading if found else None

    few = guess([*(f"{i}.png" for i in range(10)), "1.png|2.png"])
    assert few
    assert few.options == {"separator": "|"}
    assert "'|' separates several files in 1 cells" in few.reason
    assert guess([f"{i}.png" for i in range(10)]).options == {}  # type: ignore[union-attr]
    assert guess([[f"{i}.png", "0.png"] for i in range(10)])
    assert guess([f'["{i}.png"]' for i in range(10)])
    assert guess([encoded(RAMP), b"x", encoded(RAMP, "GIF")])
    absent = guess([*(f"{i}.png" for i in range(9)), "none.png"])
    assert absent
    assert absent.reason == "9 of 10 sampled cells open as pictures"
    assert guess(["classes"])
    assert guess(["classes"] * 9) is None  # a class may be called as a folder is
    assert guess(["red; blue", "red; green", "blue"]) is None
    for i in range(9):
        (tmp_path / f"{i}.jpg").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(ConfigError, match=r"none of 9 opens.*Git LFS.*git lfs pull.*--media-root"):
        guess([f"{i}.jpg" for i in range(9)])
    for cells in ([f"my photos/red car {i}.png" for i in range(9)], [f"{i}.png;{i}.png" for i in range(9)]):
        with pytest.raises(ConfigError, match=rf"none of the \d+ tried is there, the first: {tmp_path}/.*--media-root"):
            guess(cells, Media((tmp_path / "none",)))


def test_a_survey_counts_formats_and_what_is_odd(tmp_path: Path) -> None:
    frames = [Pillow.new("RGB", (8, 8), shade) for shade in ("black", "white")]
    exif = Pillow.Exif()
    exif[0x0112] = 6
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.gif").write_bytes(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    (tmp_path / "a" / "2.gif").write_bytes(encoded(frames[0], "GIF"))
    (tmp_path / "a" / "3.jpg").write_bytes(encoded(RAMP, "JPEG", exif=exif))
    (tmp_path / "a" / "4.jpg").write_bytes(b"\0\0\0\x18ftypheic" + bytes(200))
    cells = pa.chunked_array([pa.array(["a\\1.gif", "a/2.gif;a/3.jpg", "a/3", "a/4.jpg", "none.png", None])])
    counts = MODALITIES["image"].survey(cells, Media((tmp_path,)), Reading("c", "image", {"separator": ";"}))  # type: ignore[attr-defined]
    refused = {name: n for name, n in counts.items() if "HEIC" in name}
    assert list(refused.values()) == [1]
    assert counts - Counter(refused) == {
        "GIF": 2, "moving": 1, "JPEG": 2, "turned upright": 2, "unreadable: no such file": 1, "Windows separators": 1,
        "another case or no extension": 1,
    }  # fmt: skip


def test_films_of_colour(tmp_path: Path) -> None:
    colour = film(RAMP[..., 0], SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0, PixelData=RAMP.tobytes())
    assert np.array_equal(opened(colour).load(), RAMP)
    with pytest.raises(MediaError, match="palette"):
        opened(film(RAMP[..., 0], PhotometricInterpretation="PALETTE COLOR")).load()
