"""The caller's side of the extraction workers: start, ask, replace."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import queue
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, cast

import numpy as np

from xmodal.errors import MediaError, WorkerError
from xmodal.features.extractors import Extractor
from xmodal.features.worker import Features, receive, send
from xmodal.media import Media

TIMEOUT = 60.0  # seconds a cell may take
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
Request = tuple[object, str, str, Sequence[Extractor]]  # cell, digest, modality, extractors


def cores() -> int:
    """Processors that this process may use, by affinity and by the container's quota."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        count = min(count, max(int(quota) // int(period), 1))
    return count


class Worker:
    """One process, started when first asked and again after it died."""

    def __init__(self, media: Media) -> None:
        self.base = {"roots": [str(r) for r in media.roots], "caps": dataclasses.asdict(media.caps)}
        self.process: subprocess.Popen[bytes] | None = None
        self.deadline = np.inf

    def start(self) -> subprocess.Popen[bytes]:
        """Its own session, so that Ctrl-C reaches the caller alone; it ends when its input does."""
        paths = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "xmodal.features.worker"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
            env={**os.environ, **ONE_THREAD, "PYTHONPATH": os.pathsep.join(paths)},
        )  # fmt: skip
        self.process = process
        try:
            receive(cast(Any, process.stdout))
        except EOFError as e:
            raise WorkerError(f"an extraction worker ended at its start, exit code {process.wait()}") from e
        return process

    def ask(self, request: Request) -> Features | MediaError:
        """One cell. If the process dies or is killed for taking too long, that is the cell's fault."""
        cell, digest, modality, extractors = request
        names = [(e.spec.name, e.spec.settings) for e in extractors]
        header = {**self.base, "digest": digest, "modality": modality, "extractors": names}
        arrays = {"cell": np.frombuffer(cell, np.uint8)} if isinstance(cell, bytes) else {}
        process = self.process or self.start()
        self.deadline = time.monotonic() + TIMEOUT
        try:
            send(cast(Any, process.stdin), header if arrays else {**header, "cell": cell}, arrays)
            reply, made = receive(cast(Any, process.stdout))
        except (EOFError, OSError):
            late = time.monotonic() > self.deadline
            self.stop()
            reason = f"took more than {TIMEOUT:.0f} s" if late else "made the decoder crash"
            return MediaError(reason, repr(cell)[:200], "replace the file")
        finally:
            self.deadline = np.inf
        if "error" in reply:
            return MediaError(*reply["error"])
        return [
            {name.split("/", 1)[1]: a for name, a in made.items() if name.startswith(f"{i}/")} for i in range(len(names))
        ]

    def stop(self) -> None:
        """End the process."""
        if self.process:
            self.process.kill()
            self.process.communicate()
        self.process = None


class Workers:
    """As many as there are cores, started when first needed, ended with the block."""

    def __init__(self, media: Media) -> None:
        self.all = [Worker(media) for _ in range(cores())]
        self.idle: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        for worker in self.all:
            self.idle.put(worker)

    def __enter__(self) -> Workers:
        self.threads = ThreadPoolExecutor(len(self.all))
        return self

    def __exit__(self, *_: object) -> None:
        self.threads.shutdown(wait=False, cancel_futures=True)
        for worker in self.all:
            worker.stop()

    def _ask(self, request: Request) -> Features | MediaError:
        worker = self.idle.get()
        try:
            return worker.ask(request)
        finally:
            self.idle.put(worker)

    def map(self, requests: Sequence[Request]) -> Iterator[Features | MediaError]:
        """Replies in order. Kills a worker that takes too long."""
        for future in [self.threads.submit(self._ask, r) for r in requests]:
            while not wait([future], timeout=0.5).done:
                for worker in self.all:
                    if worker.process and time.monotonic() > worker.deadline:
                        worker.process.kill()
            yield future.result()
