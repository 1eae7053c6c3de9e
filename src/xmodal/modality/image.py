"""Pictures: the only place that opens one."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import struct
import sys
import warnings
import zlib
from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib.util import find_spec
from typing import ClassVar

import numpy as np
from PIL import Image as Pillow
from PIL import ImageChops, ImageFilter, ImageOps, UnidentifiedImageError, features

from xmodal.errors import MediaError
from xmodal.formats import array_of, kind_of, of_array
from xmodal.media import Cell, Media, Raw, shown
from xmodal.modality.files import Corruption, Files

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", *(["AVIF"] if "avif" in features.modules and features.check("avif") else []))
SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".avif", ".heic", ".heif", ".dcm")
# All that Pillow's decoders, and pydicom, are known to raise on damaged files.
DAMAGE = (OSError, SyntaxError, ValueError, ArithmeticError, LookupError, TypeError, RuntimeError, AttributeError, struct.error, zlib.error)
INSTALL = {"DICOM": "run: pip install 'xmodal[dicom]', or convert it to PNG", "HEIC": "convert to JPEG or PNG, or pip install pillow-heif"}
TURN, BITS, WHITE_IS_ZERO = 0x0112, 258, 262  # tags of EXIF and TIFF


class Picture:
    """One opened picture; of a moving one, its first frame. Raises MediaError for other kinds and for too many pixels."""

    def __init__(self, data: bytes, cap: int, name: str) -> None:
        self.bytes = data
        data = of_array(array_of(data, name)) if kind_of(data) == "NPY" else data
        self.data, self.name, self.kind = data, name, kind_of(data)
        self._loaded: dict[int | None, np.ndarray] = {}
        with self._damage():
            width, height = self._header() if self.kind == "DICOM" else self._open().size
        if width * height > cap:
            raise MediaError(f"{width:,} × {height:,} pixels, more than {cap:,}", name, "make it smaller")

    @contextlib.contextmanager
    def _damage(self) -> Iterator[None]:
        """What a decoder raises in it becomes a MediaError."""
        film = sys.modules.get("pydicom.errors")
        unread = (UnidentifiedImageError, *((film.BytesLengthException, film.InvalidDicomError) if film else ()))
        with warnings.catch_warnings(action="ignore"):
            warnings.simplefilter("error", Pillow.DecompressionBombWarning)
            try:
                yield
            except (Pillow.DecompressionBombError, Pillow.DecompressionBombWarning) as e:
                raise MediaError("too many pixels", self.name) from e
            except MemoryError as e:
                raise MediaError("needs too much memory", self.name, "make it smaller") from e
            except unread as e:
                damaged = f"damaged or unknown {self.kind}" if self.kind else f"not a picture of kind {', '.join(FORMATS)}"
                raise MediaError(damaged, self.name, "replace the file") from e
            except DAMAGE as e:
                raise MediaError(f"damaged {self.kind}: {e}", self.name, "replace the file") from e

    def _open(self) -> Pillow.Image:
        kinds = FORMATS
        if self.kind == "HEIC" and find_spec("pillow_heif"):
            importlib.import_module("pillow_heif").register_heif_opener()
            kinds = ("HEIF",)
        elif self.kind and self.kind not in FORMATS:
            got = f"{self.kind}: not a picture of kind {', '.join(FORMATS)}"
            raise MediaError(got, self.name, INSTALL.get(self.kind, "convert to JPEG or PNG"))
        return Pillow.open(io.BytesIO(self.data), formats=kinds)

    @cached_property
    def digest(self) -> str:
        """blake2b-128 of the bytes."""
        return hashlib.blake2b(self.bytes, digest_size=16).hexdigest()

    def load(self, size: int | None = None) -> np.ndarray:
        """uint8 [H, W, 3], upright; with `size` stretched to [size, size, 3]. Raises MediaError if damaged."""
        if size not in self._loaded:
            with self._damage():
                image = self._film() if self.kind == "DICOM" else self._still(size)
                if size and image.size != (size, size):
                    image = image.resize((size, size), Pillow.Resampling.BILINEAR, reducing_gap=2.0)
                self._loaded[size] = np.asarray(image)
        return self._loaded[size]

    def facts(self) -> list[str]:
        """For counts: its format, whether it moves, whether it is turned upright."""
        if self.kind == "DICOM":
            return [self.kind]
        image, told = self._open(), dict[str, bool]()
        with contextlib.suppress(MediaError), self._damage():
            told = {"moving": getattr(image, "is_animated", False), "turned upright": image.getexif().get(TURN, 1) not in (0, 1)}
        return [str(image.format), *(name for name, true in told.items() if true)]

    def _still(self, size: int | None) -> Pillow.Image:
        image = self._open()
        if size:
            image.draft("RGB", (size, size))  # a JPEG decodes to an eighth at least this large: 3 × faster
        tags = getattr(image, "tag_v2", {})
        bits = tags.get(BITS, (16,))[0] if image.mode.startswith("I;16") or (image.mode, image.format) == ("I", "PNG") else 0
        negative = (bits or image.mode == "F") and tags.get(WHITE_IS_ZERO) == 0
        if (image.mode, image.format, "adobe" in image.info) == ("CMYK", "JPEG", False):
            image = ImageChops.invert(image)  # Pillow takes every CMYK JPEG for one of Adobe's, which are inverted
        return rgb(ImageOps.exif_transpose(image), 2**bits - 1, bool(negative))

    def _header(self) -> tuple[int, int]:
        """Width and height of a DICOM."""
        if not find_spec("pydicom"):
            raise MediaError("DICOM, which needs a package", self.name, INSTALL["DICOM"])
        from pydicom import dcmread

        head = dcmread(io.BytesIO(self.data), stop_before_pixels=True, specific_tags=["Rows", "Columns"])
        return int(head.Columns), int(head.Rows)

    def _film(self) -> Pillow.Image:
        """The first frame of a DICOM: rescaled, then by its window, else by the range of its stored bits; MONOCHROME1 inverted. Nothing
        but pixels is kept."""
        from pydicom import dcmread
        from pydicom.pixels import pixel_array

        film = dcmread(io.BytesIO(self.data))
        pixels = pixel_array(film, index=0)
        if film.PhotometricInterpretation == "PALETTE COLOR" or (pixels.ndim == 3 and pixels.itemsize > 1):
            raise ValueError("colours of a palette, or of more than 8 bits, are not read")
        if pixels.ndim == 3:
            return Pillow.fromarray(pixels.astype(np.uint8))
        slope, intercept = (float(film.get(name, usual)) for name, usual in (("RescaleSlope", 1), ("RescaleIntercept", 0)))
        low = -(2 ** (film.BitsStored - 1)) if film.PixelRepresentation else 0
        ends = [slope * end + intercept for end in (low, low + 2**film.BitsStored - 1)]
        if "WindowCenter" in film and "WindowWidth" in film:  # may each hold several: the first
            centre, width = (float(np.ravel(film[name].value)[0]) for name in ("WindowCenter", "WindowWidth"))
            ends = [centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2]
        share = ((pixels * slope + intercept - min(ends)) / max(max(ends) - min(ends), 1e-9)).clip(0, 1)
        share = 1 - share if film.PhotometricInterpretation == "MONOCHROME1" else share
        return Pillow.fromarray(np.rint(share * 255).astype(np.uint8)).convert("RGB")


def rgb(image: Pillow.Image, top: int = 0, negative: bool = False) -> Pillow.Image:
    """8-bit RGB. Transparent parts are white. Deep grey is scaled by the range of its type, never by the picture's own: 16 bits from
    0…65,535, 12 bits (TIFF) from 0…4,095 (`top`), floats from 0…1. `negative`: 0 is white."""
    if top or image.mode == "F":
        pixels = np.asarray(image)
        if not top and not (pixels.min() >= 0 and pixels.max() <= 1):  # NaN neither
            raise ValueError("float pixels outside 0…1 have no known range: scale it, or save it with 8 or 16 bits")
        small = (pixels // (top // 255) if top == 65535 else pixels.astype(np.float32) * (255 / (top or 1)) + 0.5).astype(np.uint8)
        small = 255 - small if negative else small
        small[pixels == image.info.get("transparency", -1)] = 255
        image = Pillow.fromarray(small)
    if image.mode == "I":
        raise ValueError("32-bit pixels have no known range: save it with 8 or 16 bits")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Pillow.alpha_composite(Pillow.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def blur(pixels_HW3: np.ndarray, severity: int, random: np.random.Generator) -> np.ndarray:  # noqa: ARG001
    """Gaussian, of a radius up to a twelfth of the shorter side."""
    return np.asarray(Pillow.fromarray(pixels_HW3).filter(ImageFilter.GaussianBlur(min(pixels_HW3.shape[:2]) * severity / 60)))


def noise(pixels_HW3: np.ndarray, severity: int, random: np.random.Generator) -> np.ndarray:
    """Gaussian, of a deviation up to 40 % of the range."""
    return (pixels_HW3 + random.normal(0, 255 * 0.08 * severity, pixels_HW3.shape)).clip(0, 255).astype(np.uint8)


def window(pixels_HW3: np.ndarray, share: float, random: np.random.Generator) -> tuple[slice, slice]:
    """A place anywhere, of this share of each side."""
    sides = [max(round(side * share), 1) for side in pixels_HW3.shape[:2]]
    starts = [int(random.integers(0, whole - side + 1)) for whole, side in zip(pixels_HW3.shape, sides, strict=False)]
    return slice(starts[0], starts[0] + sides[0]), slice(starts[1], starts[1] + sides[1])


def crop(pixels_HW3: np.ndarray, severity: int, random: np.random.Generator) -> np.ndarray:
    """A window of down to 40 % of each side, stretched to the size of the whole."""
    height, width = pixels_HW3.shape[:2]
    part = np.ascontiguousarray(pixels_HW3[window(pixels_HW3, 1 - 0.12 * severity, random)])
    return np.asarray(Pillow.fromarray(part).resize((width, height), Pillow.Resampling.BILINEAR))


def occlusion(pixels_HW3: np.ndarray, severity: int, random: np.random.Generator) -> np.ndarray:
    """A grey window of up to 80 % of each side."""
    made = pixels_HW3.copy()
    made[window(pixels_HW3, 0.16 * severity, random)] = 127
    return made


class Image(Files):
    """Cells are pictures: paths, bytes, data: URIs, base64; several in a cell too."""

    kind: ClassVar[str] = "image"
    bounded: ClassVar[bool] = True
    noun: ClassVar[str] = "pictures"
    suffixes: ClassVar[tuple[str, ...]] = SUFFIXES
    corruptions: ClassVar[Mapping[str, Corruption]] = {"blur": blur, "noise": noise, "crop": crop, "occlusion": occlusion}

    def open(self, cell: Cell, media: Media) -> Picture:
        """Raises MediaError for what is not a picture of the known kinds and of bounded size."""
        with media.open(cell) as file:
            return Picture(file.read(), media.caps.pixels, shown(cell))

    def draw(self, raw: Raw) -> np.ndarray:
        """The picture itself."""
        return raw.load()
