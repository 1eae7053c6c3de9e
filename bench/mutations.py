"""What damaged files do: 1,000 seeded mutations of real files of each format. Only MediaError, nothing over the caps."""

from __future__ import annotations

import io
import json
import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import soundfile
from PIL import Image

from bench.common import Row, at_most, data
from xmodal.errors import MediaError
from xmodal.media import Caps, Media
from xmodal.modality import MODALITIES
from xmodal.modality.audio import FILES as SOUNDS
from xmodal.modality.audio import SECONDS as LONGEST
from xmodal.modality.audio import Audio
from xmodal.modality.image import FORMATS
from xmodal.modality.image import Image as Pictures
from xmodal.modality.strokes import Drawing
from xmodal.modality.video import SIDE, Video

COUNT = 1000
FILES = 10  # real pictures
CAPS = Caps(pixels=4_000_000)
SECONDS = 10.0  # that one may take
CLIPS = {"digits_video": "mp4", "ucf_clips_mini": "avi"}


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
    return [*pictures(), *sounds(), *clips(), *drawings(), *series()]


def pictures() -> list[Row]:
    folder = data("grocery_store").parent
    real = [Image.open(path).convert("RGB").resize((320, 240)) for path in sorted((folder / "images" / "train").glob("*.jpg"))[:FILES]]

    def encoded(kind: str) -> list[bytes]:
        files = [io.BytesIO() for _ in real]
        for picture, file in zip(real, files, strict=True):
            picture.save(file, kind)
        return [file.getvalue() for file in files]

    return harm(
        "pictures", {kind: encoded(kind) for kind in FORMATS}, lambda b: Pictures().open(b, Media((), CAPS)).load(), 3 * CAPS.pixels
    )


def sounds() -> list[Row]:
    real = [soundfile.read(path) for path in sorted((data("av_digits").parent / "audio").glob("*.wav"))[:FILES]]

    def encoded(kind: str) -> list[bytes]:
        files = [io.BytesIO() for _ in real]
        for (x, rate), file in zip(real, files, strict=True):
            soundfile.write(file, x, rate, format=kind)
        return [file.getvalue() for file in files]

    return harm("sounds", {kind: encoded(kind) for kind in SOUNDS}, lambda b: Audio().open(b, Media(())).load(), LONGEST * 16_000 + 1)


def drawings() -> list[Row]:
    texts = [path.read_bytes() for path in sorted((data("handwriting").parent / "strokes").glob("*.txt"))[:FILES]]
    plain = [json.dumps([stroke.tolist() for stroke in Drawing(text, 10**6, "").strokes]).encode() for text in texts]
    pen = MODALITIES["strokes"]
    return harm("drawings", {"text": texts, "JSON": plain}, lambda b: pen.open(b, Media(())).load(), 10**7)  # type: ignore[attr-defined]


def series() -> list[Row]:
    random, files = np.random.default_rng(0), list[bytes]()
    for length in range(20, 20 + FILES):
        np.save(file := io.BytesIO(), random.normal(size=(length, 7)), allow_pickle=False)
        files.append(file.getvalue())
    steps = MODALITIES["sequence"]
    return harm("series", {"NPY": files}, lambda b: steps.open(b, Media(())).load(), 10**7)  # type: ignore[attr-defined]


def clips() -> list[Row]:
    found = {kind: sorted((data(name).parent / "clips").glob(f"*.{kind}"))[:FILES] for name, kind in CLIPS.items()}
    files = {kind: [path.read_bytes() for path in paths] for kind, paths in found.items()}
    return harm("clips", files, lambda b: Video().open(b, Media((), CAPS)).load(), 16 * 3 * SIDE**2)


def harm(noun: str, files: dict[str, Sequence[bytes]], load: Callable[[bytes], np.ndarray], most: int) -> list[Row]:
    """Rows of what `load` does with damaged files, by format. `most`: entries that it may give."""
    wrong, slowest, seen = Counter[str](), 0.0, Counter[str]()
    for kind, good in files.items():
        for seed in range(COUNT):
            start = time.perf_counter()
            try:
                with warnings.catch_warnings(action="ignore"):
                    seen["over the cap" if load(mutated(good[seed % len(good)], seed)).size > most else "read"] += 1
            except MediaError:
                seen["refused"] += 1
            except Exception as e:  # noqa: BLE001  what this bench looks for
                wrong[f"{kind}: {type(e).__name__}: {e}"] += 1
            slowest = max(slowest, time.perf_counter() - start)
    protocol = f"{COUNT} mutations of each of {', '.join(files)}; of {FILES} real {noun}"
    return [
        at_most(f"mutations of {noun}: other errors than MediaError", sum(wrong.values()), 0, protocol, dict(wrong)),
        at_most(f"mutations of {noun}: over the cap", seen["over the cap"], 0, protocol, dict(seen)),
        at_most(f"mutations of {noun}: slowest, seconds", slowest, SECONDS, protocol),
    ]
