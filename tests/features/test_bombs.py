"""Cells that would take very long: they are left to a process that is killed, however few they are."""

from __future__ import annotations

import base64
import io
import os
import pickle
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.clips import bomb, clip, moving

from xmodal.errors import MediaError
from xmodal.features import Store, build, build_row
from xmodal.features import worker as pools
from xmodal.features.extractors import CLASSIC, EXTRACTORS
from xmodal.features.worker import Extraction, Kept, Worker
from xmodal.job import Input
from xmodal.media import Media
from xmodal.table import Reading, read_table

READ = {"clip": Reading("clip", "video")}
INPUTS = {"main.clip": Input("main.clip", "video", ("clip",))}
MOTION = {"main.clip": [CLASSIC["video"]]}
NOWHERE = Media(())


def row(cell: bytes, kept: Kept) -> Any:
    return build_row({"clip": cell}, READ, INPUTS, MOTION, NOWHERE, kept)["main.clip"]


def test_a_clip_that_takes_too_long_costs_its_cell_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """200 frames are below the cap and would take this machine a quarter of a minute."""
    monkeypatch.setattr(pools, "TIMEOUT", 2.0)
    small, slow, start = clip(moving("left", 0)), bomb(200), time.monotonic()
    columns, counts = build(read_table([{"clip": small}, {"clip": slow}]), READ, INPUTS, MOTION, NOWHERE, Store(tmp_path / "store"))
    assert columns["main.clip"].state_B.tolist() == [0, 2]
    assert [(e.row, e.reason) for e in counts.broken] == [(2, "takes too long to decode")]
    kept = Kept()
    assert [int(row(cell, kept).state_B[0]) for cell in (slow, small, bomb(3000))] == [2, 0, 2]
    for name, array in row(small, kept).dense.items():
        assert np.array_equal(array, columns["main.clip"].dense[name])
    assert time.monotonic() - start < 12


def test_a_process_is_kept_for_later_rows_and_ends_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []
    real = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: started.append(real(*a, **k)) or started[-1])
    kept, small = Kept(), clip(moving("left", 0))
    assert all(row(small, kept).state_B[0] == 0 for _ in range(3))
    (process,), owner = started, os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: owner + 1)  # as in a forked child
    assert row(small, kept).state_B[0] == 0
    monkeypatch.undo()
    assert len(started) == 2 and process.poll() is None, "that of the parent goes on"
    kept.workers["clip"].end()
    process.kill()
    process.wait()


def test_a_process_that_was_killed_while_idle_costs_no_cell_and_a_copy_starts_its_own() -> None:
    kept, small = Kept(), clip(moving("left", 0))
    assert row(small, kept).state_B[0] == 0
    kept.workers["clip"].process.kill()
    kept.workers["clip"].process.wait()
    assert row(small, kept).state_B[0] == 0
    copy = pickle.loads(pickle.dumps(kept))
    assert copy.workers == {} and row(small, copy).state_B[0] == 0
    for one in (kept, copy):
        one.workers["clip"].end()


def test_a_lock_that_a_parent_held_does_not_stop_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker(Extraction({"video": (CLASSIC["video"],)}, NOWHERE))
    worker.lock.acquire()
    owner = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: owner + 1)
    (found,) = worker.ask([(clip(moving("left", 0)), "")])
    assert not isinstance(found, MediaError)
    worker.end()


def test_cells_that_hold_their_files_are_asked_for_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several at once, and their features, are more than pipes hold: each side waited for the other."""
    monkeypatch.setattr(pools, "TIMEOUT", 4.0)
    random = np.random.default_rng(0)
    uris = []
    for _ in range(8):
        Image.fromarray(random.integers(0, 255, (160, 160, 3)).astype(np.uint8)).save(file := io.BytesIO(), "PNG")
        uris.append("data:image/png;base64," + base64.b64encode(file.getvalue()).decode())
    with pools.pool(Extraction({"image": (EXTRACTORS["scaled"](),)}, NOWHERE)) as answers:
        found = list(answers([(uri, "") for uri in uris]))
    assert not any(isinstance(one, MediaError) for one in found)


def test_pictures_start_no_process(monkeypatch: pytest.MonkeyPatch, draw: Any, tmp_path: Path) -> None:
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("started"))
    inputs = {"main.pic": Input("main.pic", "image", ("pic",))}
    given = {"pic": Reading("pic", "image")}, inputs, {"main.pic": [CLASSIC["image"]]}, Media((tmp_path / "pics",))
    assert build_row({"pic": draw(1)[0]}, *given)["main.pic"].state_B[0] == 0
