"""Features by two cores against one; a JPEG decoded here against the faster of Pillow's draft and PyAV; an epoch's batches read from the
store against decoding them."""

import io
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from bench.common import Row, at_least, at_most, data
from xmodal.encoders import ENCODERS
from xmodal.features import Counts
from xmodal.features.column import FeatureColumn
from xmodal.features.extract import digest_of, extract
from xmodal.features.extractors import CLASSIC, Extractor
from xmodal.features.store import DIGEST, Store
from xmodal.features.worker import Extraction
from xmodal.media import Media
from xmodal.modality import MODALITIES

PAIRS, SIDE = 5, 1024  # pixels of a photo's side
# Files that are extracted, whole tables where they are real: starting a worker costs a third of a second.
MOST = {"image": 1000, "audio": 3000, "video": 600, "strokes": 1920, "sequence": 3000}


def photos(folder: Path, count: int) -> list[Path]:
    """JPEGs that look like photos: clouds of many scales, a little noise."""
    made = []
    for number in range(count):
        random, pixels = np.random.default_rng(number), np.zeros((SIDE, SIDE, 3))
        for scale in (8, 32, 128):
            small = Image.fromarray((random.random((scale, scale, 3)) * 255).astype(np.uint8))
            pixels += np.asarray(small.resize((SIDE, SIDE), Image.Resampling.BICUBIC)) / 3
        made.append(folder / f"{number}.jpg")
        Image.fromarray((pixels + random.normal(0, 4, pixels.shape)).clip(0, 255).astype(np.uint8)).save(made[-1], quality=90)
    return made


def series(folder: Path, count: int) -> list[Path]:
    """Arrays of 200 to 400 steps of 74 values."""
    made = []
    for number in range(count):
        random = np.random.default_rng(number)
        made.append(folder / f"{number}.npy")
        np.save(made[-1], random.normal(size=(int(random.integers(200, 400)), 74)).astype(np.float32))
    return made


def twice(folder: Path, paths: Sequence[Path]) -> list[Path]:
    """The files, and each with one line break more at its end: other bytes, the same work."""
    made = [folder / f"again-{path.name}" for path in paths]
    for one, path in zip(made, paths, strict=True):
        one.write_bytes(path.read_bytes() + b"\n")
    return [*paths, *made]


def real(table: str, folder: str, count: int) -> list[Path]:
    """The first files of a real table."""
    return sorted((data(table).parent / folder).rglob("*.*"))[:count]


def files(folder: Path) -> dict[str, list[Path]]:
    """Of each modality that is registered."""
    every: dict[str, Callable[[], list[Path]]] = {
        "image": lambda: photos(folder, MOST["image"]), "audio": lambda: real("av_digits", "audio", MOST["audio"]),
        "video": lambda: real("digits_video", "clips", MOST["video"]),
        "strokes": lambda: twice(folder, real("handwriting", "strokes", MOST["strokes"])),
        "sequence": lambda: series(folder, MOST["sequence"]),
    }  # fmt: skip
    return {kind: made() for kind, made in every.items() if kind in MODALITIES}


def extractors(kind: str) -> tuple[Extractor, ...]:
    """All that a fit reads of a modality: the classic one, and those of its encoders."""
    found = {e.spec.digest: e for e in (CLASSIC[kind], *(c.extractor[kind] for c in ENCODERS.values() if kind in c.extractor))}
    return tuple(found.values())


def seconds(kind: str, paths: Sequence[Path], cores: set[int]) -> float:
    """To extract all into an empty store, by the workers that these cores allow."""
    every = os.sched_getaffinity(0)
    media = Media(tuple({path.parent for path in paths}))
    requests = {i: (str(path), digest_of(str(path), media)) for i, path in enumerate(paths)}
    os.sched_setaffinity(0, cores)
    try:
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            errors = extract(Extraction({kind: extractors(kind)}, media), Store(Path(folder)), Counts(), lambda *_: None, requests)
            spent = time.perf_counter() - start
        assert not any(errors.values()), errors
        return spent
    finally:
        os.sched_setaffinity(0, every)


def jpeg(paths: Sequence[Path]) -> tuple[float, dict[str, float]]:
    """CPU of ours over the faster of the two, to 64 × 64 RGB; all three, in ms a picture."""
    import av

    contents = [path.read_bytes() for path in paths[:60]]
    picture = MODALITIES["image"]

    def pillow(content: bytes) -> None:
        image = Image.open(io.BytesIO(content))
        image.draft("RGB", (64, 64))
        np.asarray(image.convert("RGB").resize((64, 64), Image.Resampling.BILINEAR, reducing_gap=2.0))

    def pyav(content: bytes) -> None:
        with av.open(io.BytesIO(content), format="jpeg_pipe") as container:
            frame = next(container.decode(video=0))
            frame.reformat(64, 64, "rgb24").to_ndarray()

    sides = {"ours": lambda content: picture.open(content, Media(())).load(size=64), "pillow": pillow, "pyav": pyav}  # type: ignore[attr-defined]
    spent = {name: np.zeros((3, len(contents))) for name in sides}
    for lap in range(3):
        for i, content in enumerate(contents):
            for name, side in sides.items():
                start = time.process_time()
                side(content)
                spent[name][lap, i] = 1000 * (time.process_time() - start)
    each = {name: float(np.median(times)) for name, times in spent.items()}
    return each["ours"] / min(each["pillow"], each["pyav"]), each


def epoch(kind: str, paths: Sequence[Path]) -> float:
    """CPU of decoding every cell over that of reading them, batch by batch, from the store."""
    one = extractors(kind)[-1]
    extraction = Extraction({kind: (one,)}, Media((paths[0].parent,)))
    with tempfile.TemporaryDirectory() as folder:
        store, media = Store(Path(folder)), extraction.media
        requests = {i: (str(p), digest_of(str(p), media)) for i, p in enumerate(paths)}
        extract(extraction, store, Counts(), lambda *_: None, requests)
        digest_U = np.unique(np.array([d for _, d in requests.values()], DIGEST))
        pack = store.read(one.spec, digest_U, one.empty, one.ragged)
        row_BK = np.arange(len(digest_U))[:, None]
        column = FeatureColumn(dict(pack.dense), dict(pack.ragged), row_BK, np.zeros(len(digest_U), np.int8))
        batches = np.array_split(np.random.default_rng(0).permutation(len(digest_U)), max(len(digest_U) // 64, 1))
        start = time.process_time()
        for batch in batches:
            column.take(batch)
        read = time.process_time() - start
    start = time.process_time()
    for cell, digest in requests.values():
        extraction.one(cell, digest)
    return (time.process_time() - start) / read


def run() -> list[Row]:
    rows = []
    with tempfile.TemporaryDirectory() as name:
        found, cores = files(Path(name)), sorted(os.sched_getaffinity(0))[:2]
        for kind, paths in found.items():
            pairs = [(seconds(kind, paths, set(cores[:1])), seconds(kind, paths, set(cores))) for _ in range(PAIRS)]
            best = max(one / two for one, two in pairs)
            protocol = f"{len(paths)} files, workers of one core against those of two, wall time, best of {PAIRS} alternating pairs"
            rows.append(at_least(f"extraction of {kind} on 2 cores", best, 1.7, protocol, detail=[[round(s, 2) for s in p] for p in pairs]))
        ratio, each = jpeg(found["image"])
        rows.append(
            at_most(
                "JPEG to 64 pixels, over the faster of Pillow's draft and PyAV",
                ratio,
                1.15,
                f"{SIDE}² photos, median CPU, side by side",
                each,
            )
        )
        both = {kind: epoch(kind, found[kind]) for kind in ("image", "audio") if kind in found}
        rows += [
            at_least(f"an epoch of {k}: decoding over reading from the store", r, 5.0, "CPU, batches of 64, one core")
            for k, r in both.items()
        ]
    return rows
