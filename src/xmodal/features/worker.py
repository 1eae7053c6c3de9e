"""One cell's features, and the process that computes them: `python -m xmodal.features.worker` answers requests on standard
input. No pickle, no torch. A damaged file may crash or hang this process, never the caller's."""

from __future__ import annotations

import contextlib
import dataclasses
import faulthandler
import hashlib
import io
import json
import math
import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, cast

import numpy as np

from xmodal.errors import Absent, MediaError, WorkerError
from xmodal.features.corrupt import Corruption, Worse
from xmodal.features.extractors import EXTRACTORS, Extractor
from xmodal.job import registered
from xmodal.media import Caps, Cell, Media, attempt, shown
from xmodal.modality import MODALITIES, MediaModality

Features = dict[str, np.ndarray]
Made = dict[str, Features | MediaError]  # by modality
Request = tuple[Cell, str]  # path or bytes, and the digest that the bytes must still have, if any
Stream = io.BufferedIOBase
TIMEOUT = 60.0  # seconds a cell may take
AHEAD = 4  # requests that a worker gets at once, if a pipe holds them all: else both sides would wait for the other
NAME = 1000  # characters of a path; what is longer may be a file itself
MEMORY = 3 * 2**30  # bytes that a worker may allocate (Linux): twice what a picture of the largest size needs
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Extraction:
    """What is done with each cell of a column: the extractors of each modality that it is read as."""

    readers: Mapping[str, tuple[Extractor, ...]]
    media: Media
    corruption: Corruption | None = None

    @property
    def bounded(self) -> bool:
        """Whether no cell can take long."""
        return all(getattr(media_modality(name), "bounded", False) for name in self.readers)

    def one(self, cell: Cell, digest: str | None = None) -> Made:
        """The bytes are read once, and the extractors of a modality share one opened cell. `digest`: what the bytes must still be. Raises
        MediaError."""
        with self.media.open(cell) as file:
            content = file.read()
        if digest and hashlib.blake2b(content, digest_size=16).hexdigest() != digest:
            raise MediaError("changed while it was read", shown(cell), "try again")
        media = replace(self.media, held={cell: content})
        return {modality: attempt(self.features, modality, cell, media) for modality in self.readers}

    def features(self, modality: str, cell: Cell, media: Media) -> Features:
        """Of one cell in one modality. Raises MediaError."""
        raw = media_modality(modality).open(cell, media)
        raw = Worse(raw, self.corruption) if self.corruption and self.corruption.modality == modality else raw
        return {name: array for extractor in self.readers[modality] for name, array in extractor.one(raw).items()}


def media_modality(name: str) -> MediaModality:
    """By its name in the registry."""
    return cast(MediaModality, registered("modalities", MODALITIES, name))


def send(stream: Stream, header: Mapping[str, Any], arrays: Features) -> None:
    """One message: a line of JSON, then the arrays' bytes."""
    shapes = [[name, array.dtype.str, array.shape] for name, array in arrays.items()]
    line = json.dumps({**header, "arrays": shapes}).encode() + b"\n"
    stream.write(line + b"".join(array.tobytes() for array in arrays.values()))
    stream.flush()


def receive(stream: Stream) -> tuple[dict[str, Any], Features]:
    """The next message. Raises EOFError when there is none, or half of one."""
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    header, arrays = json.loads(line), {}
    for name, kind, shape in header.pop("arrays"):
        content = stream.read(size := np.dtype(kind).itemsize * math.prod(shape))
        if len(content) < size:
            raise EOFError
        arrays[name] = np.frombuffer(content, kind).reshape(shape)
    return header, arrays


def cores(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Processors that this process may use, by affinity and by the container's quota."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):  # ValueError: "max", no quota
        microseconds, period = map(int, quota.read_text().split())
        count = min(count, max(microseconds // period, 1))
    return count


class Worker:
    """A process that is started when it is asked, and again after it died."""

    def __init__(self, extraction: Extraction) -> None:
        self.extraction, self.lock = extraction, threading.Lock()
        self.process: Any = None
        self.owner, self.stopped = os.getpid(), False

    def start(self) -> None:
        """In its own session, so that Ctrl-C reaches the caller alone. It ends when its input does."""
        path = os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")]))
        pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "start_new_session": True}
        command, env = [sys.executable, "-P", "-m", "xmodal.features.worker"], {**os.environ, **ONE_THREAD, "PYTHONPATH": path}
        self.process, self.owner = subprocess.Popen(command, env=env, **pipes), os.getpid()
        weakref.finalize(self, finish, self.process, self.owner)
        media = self.extraction.media
        settings = {
            "readers": {m: [[e.name, dataclasses.asdict(e)] for e in some] for m, some in self.extraction.readers.items()},
            "roots": [str(root) for root in media.roots], "caps": dataclasses.asdict(media.caps), "timeout": TIMEOUT, "memory": MEMORY,
            "corruption": dataclasses.asdict(self.extraction.corruption) if self.extraction.corruption else None,
        }  # fmt: skip
        try:
            send(self.process.stdin, settings, {})
            receive(self.process.stdout)
        except (EOFError, OSError) as e:
            raise WorkerError("an extraction worker ended at its start: run python -m xmodal.features.worker") from e

    def ask(self, requests: Sequence[Request]) -> list[Made | MediaError]:
        """If the process dies or takes too long, that is the fault of the cell it was at."""
        found: list[Made | MediaError] = []
        if self.owner != os.getpid():  # the parent's process answers the parent, and its lock may be held for ever
            self.process, self.lock, self.owner = None, threading.Lock(), os.getpid()
        with self.lock:
            while len(found) < len(requests) and not self.stopped:
                found += self._ask(requests[len(found) :])
        return found

    def _ask(self, requests: Sequence[Request]) -> list[Made | MediaError]:
        """The answers up to a cell that ended the process. Requests go ahead of answers, so that it never waits for the next one."""
        if self.process is None or self.process.poll() is not None:  # killed while it had nothing to do
            self.start()
        found: list[Made | MediaError] = []
        if self.stopped:  # meanwhile
            self.end()
            return found
        start = time.monotonic()
        try:
            with contextlib.suppress(OSError):  # it died, maybe after some answers
                for cell, digest in requests:
                    arrays = {"cell": np.frombuffer(cell, np.uint8)} if isinstance(cell, bytes) else {}
                    send(self.process.stdin, {"digest": digest, "cell": None if arrays else cell}, arrays)
            for _ in requests:
                found.append(self.made(*receive(self.process.stdout)))
                start = time.monotonic()
        except (EOFError, OSError):
            self.end()
            reason = "crashes the decoder" if time.monotonic() - start < TIMEOUT else "takes too long to decode"
            found.append(MediaError(reason, shown(requests[len(found)][0]), "replace the file"))
        return found

    def made(self, header: Mapping[str, Any], arrays: Features) -> Made | MediaError:
        """What an answer says."""
        if "error" in header:
            return MediaError(*header["error"])
        errors = {m: (Absent if absent else MediaError)(*parts) for m, (absent, *parts) in header["errors"].items()}
        made: Made = {m: errors.get(m, {}) for m in self.extraction.readers}
        for name, array in arrays.items():
            modality, _, feature = name.partition("/")
            cast(Features, made[modality])[feature] = array
        return made

    def end(self, stopped: bool = False) -> None:
        """Kill the process, whatever it does; `stopped`: no other is started."""
        self.stopped |= stopped
        process, self.process = self.process, None
        if process:
            finish(process, self.owner)


def finish(process: Any, owner: int) -> None:
    """Kill a process that this one started."""
    if os.getpid() == owner:
        process.kill()
        process.communicate()


class Kept:
    """Answers one request at a time: here where no cell can take long, else by a process for each column, which stays."""

    def __init__(self) -> None:
        self.workers: dict[str, Worker] = {}

    def __reduce__(self) -> tuple[type[Kept], tuple[()]]:
        """A copy starts its own."""
        return Kept, ()

    def ask(self, column: str, extraction: Extraction, cell: Cell) -> Made | MediaError:
        """One cell's features."""
        if extraction.bounded:
            return attempt(extraction.one, cell)
        return self.workers.setdefault(column, Worker(extraction)).ask([(cell, "")])[0]


@contextlib.contextmanager
def pool(extraction: Extraction) -> Iterator[Callable[[Sequence[Request]], Iterator[Made | MediaError]]]:
    """Answers requests in order, by as many workers as there are cores; a thread speaks to each."""
    workers = [Worker(extraction) for _ in range(cores())]
    threads, idle = ThreadPoolExecutor(len(workers)), workers.copy()

    def ask(requests: Sequence[Request]) -> list[Made | MediaError]:
        worker = idle.pop()  # there are as many as threads
        try:
            return worker.ask(requests)
        finally:
            idle.append(worker)

    def answers(requests: Sequence[Request]) -> Iterator[Made | MediaError]:
        size = 1 if any(len(cast(str | bytes, cell)) > NAME for cell, _ in requests) else AHEAD
        return chain.from_iterable(threads.map(ask, [requests[i : i + size] for i in range(0, len(requests), size)]))

    try:
        yield answers
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
        for worker in workers:
            worker.end(stopped=True)


def main() -> None:
    """The first message says what to do with each cell; then answer until standard input ends."""
    requests, replies = cast(Stream, sys.stdin.buffer), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not come among the replies
    given, _ = receive(requests)
    readers = {m: tuple(registered("extractors", EXTRACTORS, name)(**how) for name, how in some) for m, some in given["readers"].items()}
    media = Media(tuple(map(Path, given["roots"])), Caps(**given["caps"]))
    extraction = Extraction(readers, media, Corruption(**given["corruption"]) if given["corruption"] else None)
    with contextlib.suppress(ImportError, AttributeError, ValueError, OSError):  # only Linux counts all that a process allocates
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (given["memory"], given["memory"]))
    send(replies, {}, {})
    while True:
        try:
            header, arrays = receive(requests)
        except EOFError:
            return
        faulthandler.dump_traceback_later(given["timeout"], exit=True)  # ends this process whatever hangs in it
        try:
            made = extraction.one(arrays["cell"].tobytes() if arrays else header["cell"], header["digest"])
            errors = {m: [isinstance(one, Absent), one.reason, one.where, one.do] for m, one in made.items() if isinstance(one, MediaError)}
            good = {m: one for m, one in made.items() if not isinstance(one, MediaError)}
            send(replies, {"errors": errors}, {f"{m}/{name}": array for m, one in good.items() for name, array in one.items()})
        except MediaError as e:
            send(replies, {"error": [e.reason, e.where, e.do]}, {})
        except MemoryError:
            send(replies, {"error": ["needs too much memory", "the file", "make it smaller"]}, {})
        faulthandler.cancel_dump_traceback_later()


if __name__ == "__main__":
    main()
