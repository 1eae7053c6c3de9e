"""Pictures: the only place that opens one."""

from __future__ import annotations

import hashlib
import io
import struct
import warnings
import zlib
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
from PIL import Image as Pillow
from PIL import ImageOps

from xmodal.errors import ConfigError, MediaError
from xmodal.media import Cell, Media, attempt, shown
from xmodal.table import Guess, distinct

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP")
SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp")
# All that Pillow's decoders are known to raise on damaged files.
DAMAGE = (OSError, SyntaxError, ValueError, ArithmeticError, LookupError, TypeError, EOFError, MemoryError, struct.error, zlib.error)
SAMPLE = 100  # cells whose headers decide what a column is


class Picture:
    """One opened picture; of a moving one, its first frame. Raises MediaError for other kinds and for too many pixels."""

    def __init__(self, data: bytes, cap: int, name: str) -> None:
        self.data, self.name = data, name
        self._loaded: dict[int | None, np.ndarray] = {}
        width, height = self._open().size
        if width * height > cap:
            raise MediaError(f"{width:,} × {height:,} pixels, more than {cap:,}", name, "make it smaller")

    def _open(self) -> Pillow.Image:
        with warnings.catch_warnings(action="error", category=Pillow.DecompressionBombWarning):
            try:
                return Pillow.open(io.BytesIO(self.data), formats=FORMATS)
            except (Pillow.DecompressionBombError, Pillow.DecompressionBombWarning) as e:
                raise MediaError("too many pixels", self.name) from e
            except DAMAGE as e:
                raise MediaError(f"not a picture of kind {', '.join(FORMATS)}", self.name) from e

    @cached_property
    def digest(self) -> str:
        """blake2b-128 of the bytes."""
        return hashlib.blake2b(self.data, digest_size=16).hexdigest()

    def load(self, size: int | None = None) -> np.ndarray:
        """uint8 [H, W, 3], upright; with `size` stretched to [size, size, 3]. Raises MediaError if damaged."""
        if size not in self._loaded:
            try:
                image = self._open()
                if size:
                    image.draft("RGB", (size, size))  # a JPEG decodes to an eighth at least this large: 3 × faster
                image = rgb(ImageOps.exif_transpose(image))
                if size and image.size != (size, size):
                    image = image.resize((size, size), Pillow.Resampling.BILINEAR, reducing_gap=2.0)
            except DAMAGE as e:
                raise MediaError(f"damaged picture: {e}", self.name) from e
            self._loaded[size] = np.asarray(image)
        return self._loaded[size]


def rgb(image: Pillow.Image) -> Pillow.Image:
    """8-bit RGB: transparent parts on white; 16-bit grey by its type's range, which Pillow would clip."""
    if image.mode.startswith("I;16"):
        image = Pillow.fromarray((np.asarray(image) // 257).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError("32-bit pixels have no known range: save it with 8 or 16 bits")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Pillow.alpha_composite(Pillow.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


class Image:
    """Cells are paths or bytes of pictures."""

    family: ClassVar[Literal["media"]] = "media"

    def open(self, cell: Cell, media: Media) -> Picture:
        """Raises MediaError for what is not a picture of the known kinds and of bounded size."""
        with media.open(cell) as file:
            return Picture(file.read(), media.caps.pixels, shown(cell))

    def recognise(self, column: pa.ChunkedArray, media: Media) -> Guess | None:
        """By the headers of cells spread over the column. Raises ConfigError for paths of pictures of which none opens."""
        cells = [c for c in distinct(column)[0] if isinstance(c, (str, bytes)) and c]
        cells = cells[:: max(len(cells) // SAMPLE, 1)][:SAMPLE]
        errors = [e for cell in cells if isinstance(e := attempt(self.open, cell, media), MediaError)]
        opened = len(cells) - len(errors)
        named = sum(isinstance(c, str) and c.lower().endswith(SUFFIXES) for c in cells)
        if max(opened, named) <= len(cells) / 2:
            return None
        if not opened:
            got = f"none of {len(cells)} opens, the first: {errors[0].got}"
            raise ConfigError("pictures at its paths", got, "give --media-root FOLDER, or leave the column out with --ignore")
        return Guess.of(0.9, "image", f"{opened} of {len(cells)} sampled cells open as pictures")
