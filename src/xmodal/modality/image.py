"""Pictures: the only place that opens one."""

from __future__ import annotations

import hashlib
import io
import struct
import warnings
import zlib
from collections.abc import Mapping
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
from PIL import Image as Pillow
from PIL import ImageOps

from xmodal.errors import ConfigError, MediaError
from xmodal.job import Json
from xmodal.media import Media
from xmodal.table import Guess, Reading, distinct

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP")
SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp")
# All that Pillow's decoders are known to raise on damaged files.
DAMAGE = (OSError, SyntaxError, ValueError, ArithmeticError, LookupError, TypeError, EOFError, MemoryError, RuntimeError,
          struct.error, zlib.error, Pillow.DecompressionBombError, Pillow.DecompressionBombWarning)  # fmt: skip
SAMPLE = 100  # cells whose header decides what a column is


class Picture:
    """One opened picture (of a moving one, its first frame)."""

    def __init__(self, data: bytes, pixels: int, name: str) -> None:
        self.data, self.name = data, name
        self._loaded: dict[int | None, np.ndarray] = {}
        self._image = self._open()
        width, height = self._image.size
        if width * height > pixels:
            raise MediaError(f"{width:,} x {height:,} pixels, more than {pixels:,}", name, "make it smaller")

    def _open(self) -> Pillow.Image:
        with warnings.catch_warnings(action="error", category=Pillow.DecompressionBombWarning):
            try:
                return Pillow.open(io.BytesIO(self.data), formats=FORMATS)
            except DAMAGE as e:
                bomb = isinstance(e, (Pillow.DecompressionBombError, Pillow.DecompressionBombWarning))
                reason = "too many pixels" if bomb else f"not a picture of kind {', '.join(FORMATS)}"
                raise MediaError(reason, self.name) from e

    @cached_property
    def digest(self) -> str:
        """blake2b-128 of the bytes."""
        return hashlib.blake2b(self.data, digest_size=16).hexdigest()

    def load(self, size: int | None = None) -> np.ndarray:
        """uint8 [H, W, 3], upright; with `size` stretched to [size, size, 3]. Raises MediaError if damaged."""
        if size not in self._loaded:
            try:
                image = self._image if not self._loaded else self._open()
                if size:
                    image.draft("RGB", (size, size))  # a JPEG decodes to an eighth at least this large: 3 x faster
                image = rgb(ImageOps.exif_transpose(image))
                if size and image.size != (size, size):
                    image = image.resize((size, size), Pillow.Resampling.BILINEAR, reducing_gap=2.0)
                self._loaded[size] = np.asarray(image)
            except DAMAGE as e:
                raise MediaError(f"damaged picture: {e}", self.name) from e
        return self._loaded[size]


def rgb(image: Pillow.Image) -> Pillow.Image:
    """8-bit RGB: transparent parts on white, 16-bit grey scaled by its type (Pillow would clip it)."""
    if image.mode.startswith("I;16"):
        return Pillow.fromarray((np.asarray(image) // 257).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise ValueError("32-bit pixels have no range; save it with 8 or 16 bits")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Pillow.alpha_composite(Pillow.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


class Image:
    """Cells are paths or bytes of pictures."""

    family: ClassVar[Literal["media"]] = "media"
    options: ClassVar[Mapping[str, Json]] = {}

    def open(self, cell: object, media: Media) -> Picture:
        """Raises MediaError for what is not a picture of the known kinds and of bounded size."""
        with media.open(cell) as file:
            name = f"{len(cell)} bytes" if isinstance(cell, bytes) else f"file {str(cell)!r}"
            return Picture(file.read(), media.caps.pixels, name)

    def recognise(self, column: pa.ChunkedArray, media: Media) -> Guess | None:
        """Decided by the headers of cells spread over the column. Raises ConfigError if none of the paths opens."""
        cells = [c for c in distinct(column)[0] if isinstance(c, (str, bytes)) and c]
        cells = cells[:: max(len(cells) // SAMPLE, 1)][:SAMPLE]
        opened, first = 0, None
        for cell in cells:
            try:
                self.open(cell, media)
                opened += 1
            except MediaError as e:
                first = first or e
        named = sum(isinstance(c, str) and c.lower().endswith(SUFFIXES) for c in cells)
        if first and named > len(cells) / 2 and not opened:
            raise ConfigError("pictures at the column's paths", f"none of {len(cells)} opens, the first: {first.got}",
                              "give --media-root FOLDER, or leave the column out with --ignore")  # fmt: skip
        if cells and max(opened, named) > len(cells) / 2:
            return Guess(0.9, Reading("", "image", {}, f"{opened} of {len(cells)} sampled cells open as pictures"))
        return None
