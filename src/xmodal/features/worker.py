"""One cell's features, and the process that computes them: `python -m xmodal.features.worker` answers requests on standard
input, each message a length, a JSON header and its arrays' bytes. No pickle, no torch. A damaged file may crash or hang
this process, never the caller's."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from xmodal.errors import MediaError
from xmodal.features.extractors import EXTRACTORS, Extractor
from xmodal.job import Json, build, registered
from xmodal.media import Caps, Cell, Media
from xmodal.modality import MODALITIES, MediaModality

Features = dict[str, np.ndarray]


@dataclass(frozen=True)
class Extraction:
    """What is done with each cell of a column."""

    modality: str
    extractors: tuple[Extractor, ...]
    media: Media

    def one(self, cell: Cell, digest: str | None = None) -> Features:
        """All extractors share one opened cell. `digest`: what the bytes must still be. Raises MediaError."""
        raw = cast(MediaModality, registered("modalities", MODALITIES, self.modality)).open(cell, self.media)
        if digest and raw.digest != digest:
            raise MediaError("changed while it was read", f"file {cell!r}", "try again")
        return {name: array for extractor in self.extractors for name, array in extractor.one(raw).items()}

    def to_json(self) -> dict[str, Json]:
        """For the worker."""
        extractors: list[Json] = [[e.name, dataclasses.asdict(e)] for e in self.extractors]
        roots: list[Json] = [str(root) for root in self.media.roots]
        return {"modality": self.modality, "extractors": extractors, "roots": roots, "caps": dataclasses.asdict(self.media.caps)}

    @classmethod
    def from_json(cls, modality: str, extractors: Any, roots: Any, caps: Any) -> Extraction:
        """Inverse of `to_json`; extractors are looked up by name."""
        made = tuple(build(registered("extractors", EXTRACTORS, name), settings) for name, settings in extractors)
        return cls(modality, made, Media(tuple(map(Path, roots)), Caps(**caps)))


def send(stream: io.BufferedIOBase, header: Mapping[str, Any], arrays: Features) -> None:
    """One message."""
    shapes = [[name, array.dtype.str, array.shape] for name, array in arrays.items()]
    head = json.dumps({**header, "arrays": shapes}).encode()
    stream.write(len(head).to_bytes(8, "little") + head + b"".join(array.tobytes() for array in arrays.values()))
    stream.flush()


def receive(stream: io.BufferedIOBase) -> tuple[dict[str, Any], Features]:
    """The next message. Raises EOFError when there is none, or half of one."""
    header = json.loads(exactly(stream, int.from_bytes(exactly(stream, 8), "little")))
    shapes = [(name, np.dtype(kind), shape) for name, kind, shape in header.pop("arrays")]
    read = {name: exactly(stream, kind.itemsize * int(np.prod(shape, dtype=np.int64))) for name, kind, shape in shapes}
    return header, {name: np.frombuffer(read[name], kind).reshape(shape) for name, kind, shape in shapes}


def exactly(stream: io.BufferedIOBase, count: int) -> bytes:
    """So many bytes, or EOFError."""
    content = stream.read(count)
    if len(content) < count:
        raise EOFError
    return content


def main() -> None:
    """The first message says what to do with each cell; then answer until standard input ends."""
    stdin = cast(io.BufferedIOBase, sys.stdin.buffer)
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not come among the replies
    extraction = Extraction.from_json(**receive(stdin)[0])
    send(replies, {}, {})
    while True:
        try:
            header, arrays = receive(stdin)
        except EOFError:
            return
        try:
            send(replies, {}, extraction.one(arrays["cell"].tobytes() if arrays else header["cell"], header["digest"]))
        except MediaError as e:
            send(replies, {"error": [e.reason, e.where, e.do]}, {})


if __name__ == "__main__":
    main()
