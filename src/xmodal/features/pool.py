"""The caller's side of the extraction workers: started when first asked, replaced when they die, ended with the block."""

from __future__ import annotations

import contextlib
import io
import os
import queue
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import numpy as np

from xmodal.errors import MediaError, WorkerError
from xmodal.features.worker import Extraction, Features, receive, send
from xmodal.media import Cell, shown

TIMEOUT = 60.0  # seconds a cell may take
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def cores(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Processors that this process may use, by affinity and by the container's quota."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):  # ValueError: "max", no quota
        microseconds, period = map(int, quota.read_text().split())
        count = min(count, max(microseconds // period, 1))
    return count


class Worker:
    """One process and the two ends of its pipes."""

    def __init__(self, extraction: Extraction) -> None:
        self.extraction = extraction
        self.process: subprocess.Popen[bytes] | None = None
        self.deadline = np.inf

    def _pipes(self) -> tuple[io.BufferedIOBase, io.BufferedIOBase]:
        """Its own session, so that Ctrl-C reaches the caller alone; it ends when its input does."""
        if self.process is None:
            path = os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")]))
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "xmodal.features.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                env={**os.environ, **ONE_THREAD, "PYTHONPATH": path},
            )
            try:
                send(self.process.stdin, self.extraction.to_json(), {})  # type: ignore[arg-type]
                receive(self.process.stdout)  # type: ignore[arg-type]
            except (EOFError, OSError) as e:
                raise WorkerError("an extraction worker ended at its start: run python -m xmodal.features.worker") from e
        return self.process.stdin, self.process.stdout  # type: ignore[return-value]

    def ask(self, cell: Cell, digest: str) -> Features | MediaError:
        """One cell. If the process dies or takes too long, that is the cell's fault."""
        requests, replies = self._pipes()
        arrays = {"cell": np.frombuffer(cell, np.uint8)} if isinstance(cell, bytes) else {}
        self.deadline = time.monotonic() + TIMEOUT
        try:
            send(requests, {"digest": digest, "cell": None if arrays else cell}, arrays)
            header, features = receive(replies)
        except (EOFError, OSError):
            reason = "takes too long to decode" if time.monotonic() > self.deadline else "crashes the decoder"
            self.stop()
            return MediaError(reason, shown(cell), "replace the file")
        finally:
            self.deadline = np.inf
        return MediaError(*header["error"]) if "error" in header else features

    def stop(self) -> None:
        """End the process."""
        if self.process:
            self.process.kill()
            self.process.communicate()
        self.process = None


class Pool:
    """As many workers as there are cores."""

    def __init__(self, extraction: Extraction) -> None:
        self.workers = [Worker(extraction) for _ in range(cores())]
        self.idle: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        for worker in self.workers:
            self.idle.put(worker)
        self.threads = ThreadPoolExecutor(len(self.workers))

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.threads.shutdown(wait=False, cancel_futures=True)
        for worker in self.workers:
            worker.stop()

    def _ask(self, cell: Cell, digest: str) -> Features | MediaError:
        worker = self.idle.get()
        try:
            return worker.ask(cell, digest)
        finally:
            self.idle.put(worker)

    def map(self, requests: Iterable[tuple[Cell, str]]) -> Iterator[Features | MediaError]:
        """Replies in order. Kills workers that take too long."""
        for future in [self.threads.submit(self._ask, *request) for request in requests]:
            while not wait([future], timeout=0.5).done:
                for worker in self.workers:
                    if worker.process and time.monotonic() > worker.deadline:
                        worker.process.kill()
            yield future.result()
