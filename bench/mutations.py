"""What damaged pictures, drawings and arrays do: 1,000 seeded mutations of files of each format. Only MediaError, nothing over the caps."""

from __future__ import annotations

import io
import json
import time
import warnings
from collections import Counter

import numpy as np
from PIL import Image

from bench.common import Row, at_most, data
from xmodal.errors import MediaError
from xmodal.media import Caps, Media
from xmodal.modality import MODALITIES
from xmodal.modality.image import FORMATS
from xmodal.modality.strokes import Drawing

COUNT = 1000
FILES = 10  # real pictures
CAPS = Caps(pixels=4_000_000)
SECONDS = 10.0  # that one picture may take


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


def array_file(x_TD: np.ndarray) -> bytes:
    np.save(file := io.BytesIO(), x_TD)
    return file.getvalue()


def run() -> list[Row]:
    folder = data("grocery_store").parent
    pictures = [Image.open(path).convert("RGB").resize((320, 240)) for path in sorted((folder / "images" / "train").glob("*.jpg"))[:FILES]]
    files: dict[str, list[bytes]] = {kind: [] for kind in FORMATS}
    for kind, held in files.items():
        for picture in pictures:
            picture.save(file := io.BytesIO(), kind)
            held.append(file.getvalue())
    texts = [path.read_bytes() for path in sorted((data("handwriting").parent / "strokes").glob("*.txt"))[:FILES]]
    files |= {
        "strokes as text": texts,
        "strokes as JSON": [json.dumps([s.tolist() for s in Drawing(t, 10**6, "").strokes]).encode() for t in texts],
    }
    files["arrays"] = [array_file(np.random.default_rng(i).normal(size=(20 + i, 3))) for i in range(FILES)]
    wrong, slowest, seen = Counter[str](), 0.0, Counter[str]()
    for kind, held in files.items():
        modality = MODALITIES["image" if kind in FORMATS else "sequence" if kind == "arrays" else "strokes"]
        for seed in range(COUNT):
            start = time.perf_counter()
            try:
                with warnings.catch_warnings(action="ignore"):
                    opened = modality.open(mutated(held[seed % len(held)], seed), Media((), CAPS))
                    seen["over the cap" if opened.load().size > 3 * CAPS.pixels else "read"] += 1
            except MediaError:
                seen["refused"] += 1
            except Exception as e:  # noqa: BLE001  what this bench looks for
                wrong[f"{kind}: {type(e).__name__}: {e}"] += 1
            slowest = max(slowest, time.perf_counter() - start)
    protocol = f"{COUNT} mutations of each of {', '.join(files)}; of {len(pictures)} photographs"
    return [
        at_most("mutations: other errors than MediaError", sum(wrong.values()), 0, protocol, dict(wrong)),
        at_most("mutations: pictures over the cap", seen["over the cap"], 0, protocol, dict(seen)),
        at_most("mutations: slowest, seconds", slowest, SECONDS, protocol),
    ]
