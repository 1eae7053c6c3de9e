"""What bytes are: the kind of a file by how it starts, .npy files; and pictures and arrays in memory as the bytes of a file."""

from __future__ import annotations

import io
import math
import re
import struct
import sys
import tokenize
import warnings
from typing import Any

import numpy as np

from xmodal.errors import MediaError

# What stands at a place near the start of a file tells its kind, whatever its name; by the modality that it is of.
MARKS = {
    "image": (
        (0, rb"\x89PNG", "PNG"), (0, rb"\xff\xd8\xff", "JPEG"), (0, rb"GIF8", "GIF"), (0, rb"II\*\0|MM\0\*|II\+\0|MM\0\+", "TIFF"),
        (0, rb"RIFF....WEBP", "WEBP"), (0, rb"BM....\0\0\0\0", "BMP"), (4, rb"ftypavi[fs]|ftyp.{8,24}avif", "AVIF"),
        (4, rb"ftyp(?:he[iv]|mif1|msf1)", "HEIC"), (128, rb"DICM", "DICOM"), (0, rb"\xff\x0a|\0\0\0\x0cJXL ", "JPEG XL"),
        (0, rb"\0\0\0\x0cjP  ", "JPEG 2000"), (0, rb"%PDF", "PDF"), (0, rb"8BPS", "Photoshop"), (0, rb"(?:<\?xml.*)?<svg", "SVG"),
    ),
    "audio": (
        (0, rb"(?:RIFF|RF64|riff)....WAVE", "WAV"), (0, rb"fLaC", "FLAC"), (0, rb"OggS", "OGG"),
        (0, rb"ID3|\xff[\xe2\xe3\xf2\xf3\xfa\xfb]", "MP3"), (4, rb"ftyp(?:M4A|M4B)", "M4A"), (0, rb"FORM....AIF", "AIFF"),
    ),
    "video": (
        (0, rb"RIFF....AVI ", "AVI"), (0, rb"\x1aE\xdf\xa3", "MKV"), (4, rb"ftyp", "MP4"), (0, rb"\0\0\x01[\xba\xb3]", "MPEG"),
    ),
    "array": ((0, rb"\x93NUMPY", "NPY"),),
}  # fmt: skip
NPY_DAMAGE = (ValueError, TypeError, LookupError, SyntaxError, ArithmeticError, AttributeError, EOFError, MemoryError, RecursionError,
              tokenize.TokenError, struct.error)  # fmt: skip
GREY = 257  # 65,535 / 255


def kind_of(start: bytes) -> str:
    """The kind of a file by its first bytes; empty if it isn't known."""
    return sort_of(start)[1]


def sort_of(start: bytes) -> tuple[str, str]:
    """The modality and the kind of a file by its first bytes; empty if they aren't known."""
    found = (
        (sort, kind) for sort, marks in MARKS.items() for at, mark, kind in marks if re.compile(mark, re.DOTALL).match(start[:256], at)
    )
    return next(found, ("", ""))


def encoded(cell: Any) -> Any:
    """A picture of Pillow's, or an array of pixels, as the bytes of a file, without loss; buffers as bytes; in a list too; other cells as
    they are. Grey of 16 bits stays so; colours, 0…1 as floats, have 8; an H × W of other numbers becomes .npy. Raises MediaError."""
    pillow = sys.modules.get("PIL.Image")
    if isinstance(cell, (list, tuple)):
        return [encoded(one) for one in cell]
    if isinstance(cell, (bytearray, memoryview)):
        return bytes(cell)
    if pillow and isinstance(cell, pillow.Image):
        return of_image(cell)
    if isinstance(cell, np.ndarray) and cell.ndim == 2 and cell.dtype.kind in "fiu" and cell.dtype not in (np.uint8, np.uint16):
        np.save(file := io.BytesIO(), cell, allow_pickle=False)  # pixels or steps: that is for the column's reading to say
        return file.getvalue()
    return of_array(cell) if isinstance(cell, np.ndarray) and cell.ndim in (2, 3) else cell


def of_image(image: Any) -> bytes:
    """The very file that it was opened from, if nothing was done to it yet; else a PNG, or TIFF for what PNG can't hold, upright."""
    from PIL import ImageOps

    file = io.BytesIO()
    try:
        if getattr(image, "tile", None) and getattr(image, "fp", None) and not image.tell():
            at = image.fp.tell()
            image.fp.seek(0)
            content: bytes = image.fp.read()
            image.fp.seek(at)
            if kind_of(content):
                return content
        upright = ImageOps.exif_transpose(image)
        upright = upright.convert("RGB") if upright.mode == "HSV" else upright
        plain = upright.mode in ("1", "L", "LA", "P", "RGB", "RGBA") or upright.mode.startswith("I;16")
        upright.save(file, "PNG" if plain else "TIFF", **({"compress_level": 1} if plain else {}))
    except (OSError, ValueError, SyntaxError) as e:
        raise MediaError(f"a picture that cannot be read: {e}", repr(image), "open it again") from e
    return file.getvalue()


def of_array(pixels: np.ndarray) -> bytes:
    """[H, W] or [H, W, 1, 3 or 4]: uint8, uint16, bool, or floats 0…1. Raises MediaError."""
    from PIL import Image

    pixels = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
    got = f"an array of shape {pixels.shape} and type {pixels.dtype}"
    if not pixels.size or (pixels.ndim == 3 and pixels.shape[2] not in (3, 4)):
        raise MediaError("no shape of a picture", got, "give H × W, H × W × 3 or H × W × 4")
    if pixels.dtype.kind == "f":
        if not (pixels.min() >= 0 and pixels.max() <= 1):  # NaN neither
            raise MediaError("floats that are not all from 0 to 1", got, "divide it by its range")
        pixels = np.rint(pixels.astype(np.float64) * 65535).astype(np.uint16)
    if pixels.dtype == np.uint16 and pixels.ndim == 3:
        pixels = (pixels // GREY).astype(np.uint8)
    if pixels.dtype not in (np.bool_, np.uint8, np.uint16):
        raise MediaError("no type of pixels", got, "convert it to uint8, uint16 or floats from 0 to 1")
    file = io.BytesIO()
    Image.fromarray(pixels * np.uint8(255) if pixels.dtype == np.bool_ else pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()


def array_of(content: bytes, name: str) -> np.ndarray:
    """The array of a .npy file, never unpickled, its size checked before it is made. Raises MediaError."""
    file = io.BytesIO(content)
    try:
        with warnings.catch_warnings(action="ignore"):  # headers of Python 2
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, by_column, kind = read(file)
        if kind.hasobject:
            raise MediaError("an array of pickled objects, which are never loaded", name, "save numbers")
        if min(shape, default=0) < 0 or math.prod(shape) * kind.itemsize > len(content) - file.tell():
            raise MediaError(f"cut off: its header says shape {shape}", name, "save it again")
        flat = np.frombuffer(content, kind, math.prod(shape), file.tell()) if math.prod(shape) else np.zeros(0, kind)
        return flat.reshape(shape, order="F" if by_column else "C")
    except NPY_DAMAGE as e:
        raise MediaError(f"a damaged .npy file: {type(e).__name__}", name, "save it again") from e
