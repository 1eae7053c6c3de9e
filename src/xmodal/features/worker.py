"""Extraction in a process of its own, `python -m xmodal.features.worker`: requests on standard input, replies on
standard output, each a length, a JSON header and the bytes of its arrays. No pickle, no torch. A damaged file may crash
or hang this process, never the caller's."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from xmodal.errors import MediaError
from xmodal.features.extractors import EXTRACTORS, Extractor
from xmodal.job import build, registered
from xmodal.media import Caps, Media
from xmodal.modality import MODALITIES, MediaModality

Arrays = Mapping[str, np.ndarray]
Features = list[dict[str, np.ndarray]]  # a dict an extractor


def send(stream: BinaryIO, header: Mapping[str, Any], arrays: Arrays) -> None:
    """One message."""
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    shapes = [[name, array.dtype.str, array.shape] for name, array in arrays.items()]
    head = json.dumps({**header, "arrays": shapes}).encode()
    stream.write(len(head).to_bytes(8, "little") + head + b"".join(array.tobytes() for array in arrays.values()))
    stream.flush()


def receive(stream: BinaryIO) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The next message. Raises EOFError when there is none, or half of one."""
    header = json.loads(exactly(stream, int.from_bytes(exactly(stream, 8), "little")))
    arrays = {}
    for name, kind, shape in header.pop("arrays"):
        dtype = np.dtype(kind)
        content = exactly(stream, dtype.itemsize * int(np.prod(shape, dtype=np.int64)))
        arrays[name] = np.frombuffer(content, dtype).reshape(shape)
    return header, arrays


def exactly(stream: BinaryIO, count: int) -> bytes:
    """So many bytes, or EOFError."""
    content = stream.read(count)
    if len(content) < count:
        raise EOFError
    return content


def extract(cell: object, digest: str, modality: str, extractors: Sequence[Extractor], media: Media) -> Features:
    """All features of one cell, which is opened once. Raises MediaError."""
    raw = cast(MediaModality, registered("modalities", MODALITIES, modality)).open(cell, media)
    if raw.digest != digest:
        raise MediaError("changed while it was read", repr(cell)[:200], "try again")
    return [extractor.one(raw) for extractor in extractors]


@lru_cache(maxsize=64)
def extractor_of(name: str, settings: str) -> Extractor:
    """An extractor by name, with its settings as canonical JSON."""
    return build(registered("extractors", EXTRACTORS, name), json.loads(settings))


def main() -> None:
    """Answer until standard input ends."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not end up among the replies
    send(replies, {"ready": True}, {})
    while True:
        try:
            header, arrays = receive(sys.stdin.buffer)
        except EOFError:
            return
        media = Media(tuple(map(Path, header["roots"])), Caps(**header["caps"]))
        cell = arrays["cell"].tobytes() if "cell" in arrays else header["cell"]
        extractors = [extractor_of(name, settings) for name, settings in header["extractors"]]
        try:
            made = extract(cell, header["digest"], header["modality"], extractors, media)
        except MediaError as e:
            send(replies, {"error": [e.reason, e.got.removesuffix(f" ({e.reason})"), e.do]}, {})
            continue
        send(replies, {}, {f"{i}/{name}": array for i, part in enumerate(made) for name, array in part.items()})


if __name__ == "__main__":
    main()
