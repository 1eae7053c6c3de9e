"""One cell's features, and the process that computes them: `python -m xmodal.features.worker` answers requests on standard
input, each message a length, a JSON header and its arrays' bytes. No pickle, no torch. A damaged file may crash or hang
this process, never the caller's."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from xmodal.errors import MediaError, WorkerError
from xmodal.features.extractors import EXTRACTORS, Extractor
from xmodal.job import build, registered
from xmodal.media import Caps, Cell, Media, shown
from xmodal.modality import MODALITIES, MediaModality

Features = dict[str, np.ndarray]
Stream = io.BufferedIOBase
TIMEOUT = 60.0  # seconds a cell may take
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


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
            raise MediaError("changed while it was read", shown(cell), "try again")
        return {name: array for extractor in self.extractors for name, array in extractor.one(raw).items()}

    def to_json(self) -> dict[str, Any]:
        """For the worker, which looks extractors up by name."""
        extractors = [[e.name, dataclasses.asdict(e)] for e in self.extractors]
        media = {"roots": [str(root) for root in self.media.roots], "caps": dataclasses.asdict(self.media.caps)}
        return {"modality": self.modality, "extractors": extractors, **media}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Extraction:
        """Inverse of `to_json`."""
        made = tuple(build(registered("extractors", EXTRACTORS, name), settings) for name, settings in values["extractors"])
        return cls(values["modality"], made, Media(tuple(map(Path, values["roots"])), Caps(**values["caps"])))


def send(stream: Stream, header: Mapping[str, Any], arrays: Features) -> None:
    """One message."""
    shapes = [[name, array.dtype.str, array.shape] for name, array in arrays.items()]
    head = json.dumps({**header, "arrays": shapes}).encode()
    stream.write(len(head).to_bytes(8, "little") + head + b"".join(array.tobytes() for array in arrays.values()))
    stream.flush()


def receive(stream: Stream) -> tuple[dict[str, Any], Features]:
    """The next message. Raises EOFError when there is none, or half of one."""

    def exactly(count: int) -> bytes:
        content = stream.read(count)
        if len(content) < count:
            raise EOFError
        return content

    header = json.loads(exactly(int.from_bytes(exactly(8), "little")))
    arrays = {}
    for name, kind, shape in header.pop("arrays"):
        flat = np.frombuffer(exactly(np.dtype(kind).itemsize * int(np.prod(shape, dtype=np.int64))), kind)
        arrays[name] = flat.reshape(shape)
    return header, arrays


def cores(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Processors that this process may use, by affinity and by the container's quota."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):  # ValueError: "max", no quota
        microseconds, period = map(int, quota.read_text().split())
        count = min(count, max(microseconds // period, 1))
    return count


class Pool:
    """As many workers as there are cores; a thread speaks to each."""

    def __init__(self, extraction: Extraction) -> None:
        self.extraction = extraction
        self.threads = ThreadPoolExecutor(cores())
        self.own = threading.local()  # .worker: the thread's process
        self.deadlines: dict[Any, float] = {}  # of every process that lives

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.threads.shutdown(wait=False, cancel_futures=True)
        for worker in list(self.deadlines):
            self._end(worker)

    def _end(self, worker: subprocess.Popen[bytes]) -> None:
        self.deadlines.pop(worker, None)
        worker.kill()
        worker.communicate()

    def _start(self) -> Any:
        """In its own session, so that Ctrl-C reaches the caller alone. It ends when its input does."""
        path = os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")]))
        pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "start_new_session": True}
        command, env = [sys.executable, "-P", "-m", "xmodal.features.worker"], {**os.environ, **ONE_THREAD, "PYTHONPATH": path}
        worker: Any = subprocess.Popen(command, env=env, **pipes)
        self.deadlines[worker] = np.inf
        try:
            send(worker.stdin, self.extraction.to_json(), {})
            receive(worker.stdout)
        except (EOFError, OSError) as e:
            raise WorkerError("an extraction worker ended at its start: run python -m xmodal.features.worker") from e
        return worker

    def _ask(self, cell: Cell, digest: str) -> Features | MediaError:
        """One cell. If the process dies or takes too long, that is the cell's fault."""
        worker = self.own.worker = getattr(self.own, "worker", None) or self._start()
        self.deadlines[worker] = time.monotonic() + TIMEOUT
        arrays = {"cell": np.frombuffer(cell, np.uint8)} if isinstance(cell, bytes) else {}
        try:
            send(worker.stdin, {"digest": digest, "cell": None if arrays else cell}, arrays)
            header, features = receive(worker.stdout)
        except (EOFError, OSError):
            reason = "takes too long to decode" if time.monotonic() > self.deadlines[worker] else "crashes the decoder"
            self._end(worker)
            self.own.worker = None
            return MediaError(reason, shown(cell), "replace the file")
        self.deadlines[worker] = np.inf
        return MediaError(*header["error"]) if "error" in header else features

    def map(self, requests: Iterable[tuple[Cell, str]]) -> Iterator[Features | MediaError]:
        """Replies in order. Kills workers that take too long."""
        for future in [self.threads.submit(self._ask, *request) for request in requests]:
            while not wait([future], timeout=0.5).done:
                for worker, deadline in list(self.deadlines.items()):
                    if time.monotonic() > deadline:
                        worker.kill()
            yield future.result()


def main() -> None:
    """The first message says what to do with each cell; then answer until standard input ends."""
    requests, replies = cast(Stream, sys.stdin.buffer), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not come among the replies
    extraction = Extraction.from_json(receive(requests)[0])
    send(replies, {}, {})
    while True:
        try:
            header, arrays = receive(requests)
        except EOFError:
            return
        try:
            send(replies, {}, extraction.one(arrays["cell"].tobytes() if arrays else header["cell"], header["digest"]))
        except MediaError as e:
            send(replies, {"error": [e.reason, e.where, e.do]}, {})


if __name__ == "__main__":
    main()
