"""What damaged pictures and clips do: 1,000 seeded mutations of real files of each format. Only MediaError, nothing over the caps."""

from __future__ import annotations

import io
import time
import warnings
from collections import Counter

import numpy as np
from PIL import Image

from bench.common import Row, at_most, data
from xmodal.errors import MediaError
from xmodal.media import Caps, Media
from xmodal.modality.files import Files
from xmodal.modality.image import FORMATS
from xmodal.modality.image import Image as Pictures
from xmodal.modality.video import SIDE, Video

COUNT = 1000
FILES = 10  # real ones
CAPS = Caps(pixels=4_000_000)
SECONDS = 10.0  # that one file may take


def mutated(content: bytes, seed: int) -> bytes:
    """Cut off, with flipped bits, spliced with itself, or with a header that lies."""
    rng = np.random.default_rng(seed)
    harmed = bytearray(content)
    kind, places = seed % 4, rng.integers(0, len(content), 2).tolist()
    if kind == 0:
        del harmed[places[0] :]
    elif kind == 1:
        for at in rng.integers(0, len(content), rng.integers(1, 20)).tolist():
            harmed[at] ^= 1 << int(rng.integers(8))
    elif kind == 2:
        low, high = sorted(places)
        harmed[low:high] = content[: int(rng.integers(len(content)))]
    else:
        first = rng.integers(0, min(64, len(content)), 8)
        harmed[:64] = bytes(int(rng.integers(256)) if i in first else b for i, b in enumerate(harmed[:64]))
    return bytes(harmed)


def run() -> list[Row]:
    folder = data("grocery_store").parent
    pictures = [Image.open(path).convert("RGB").resize((320, 240)) for path in sorted((folder / "images" / "train").glob("*.jpg"))[:FILES]]
    rows = list[Row]()
    for kind in FORMATS:
        files = []
        for picture in pictures:
            picture.save(file := io.BytesIO(), kind)
            files.append(file.getvalue())
        rows += survived(kind, files, Pictures(), 3 * CAPS.pixels)
    for name, kind in (("digits_video", "mp4"), ("ucf_clips_mini", "avi")):
        files = [path.read_bytes() for path in sorted((data(name).parent / "clips").glob(f"*.{kind}"))[:FILES]]
        rows += survived(kind.upper(), files, Video(), 16 * 3 * SIDE**2)
    return rows


def survived(kind: str, files: list[bytes], modality: Files, most: int) -> list[Row]:
    """What the mutations of some files did; `most`: values that one may load."""
    wrong, slowest, seen = Counter[str](), 0.0, Counter[str]()
    for seed in range(COUNT):
        start = time.perf_counter()
        try:
            with warnings.catch_warnings(action="ignore"):
                opened = modality.open(mutated(files[seed % len(files)], seed), Media((), CAPS))
                seen["over the cap" if opened.load().size > most else "read"] += 1
        except MediaError:
            seen["refused"] += 1
        except Exception as e:  # noqa: BLE001  what this bench looks for
            wrong[f"{type(e).__name__}: {e}"] += 1
        slowest = max(slowest, time.perf_counter() - start)
    protocol = f"{COUNT} mutations of {len(files)} files"
    return [
        at_most(f"mutations of {kind}: other errors than MediaError", sum(wrong.values()), 0, protocol, dict(wrong)),
        at_most(f"mutations of {kind}: over the cap", seen["over the cap"], 0, protocol, dict(seen)),
        at_most(f"mutations of {kind}: slowest, seconds", slowest, SECONDS, protocol),
    ]
