from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import xmodal
from xmodal.errors import ConfigError
from xmodal.features import store as module
from xmodal.features.column import Spec
from xmodal.features.store import DIGEST, Store

SPEC = Spec("test", 1, "none", "{}")
EMPTY = {"x": np.zeros((0, 3), np.float32), "y": np.zeros((0,), np.uint8), "track": np.zeros((0, 2), np.float32)}
RAGGED = frozenset({"track"})


def digests(*numbers: int) -> np.ndarray:
    return np.sort(np.array([hashlib.blake2b(str(i).encode(), digest_size=16).hexdigest() for i in numbers], DIGEST))


def content(digest_U: np.ndarray) -> dict[str, np.ndarray]:
    """Features that are a function of the digest."""
    seed = np.array([int(d[:8], 16) for d in digest_U.tolist()], np.float64)
    return {"x": np.stack([seed, seed + 1, seed + 2], 1).astype(np.float32), "y": (seed % 251).astype(np.uint8)}


def tracks(digest_U: np.ndarray) -> list[np.ndarray]:
    """A ragged feature, of lengths 0 to 6."""
    return [np.full((int(d[:8], 16) % 7, 2), int(d[:6], 16), np.float32) for d in digest_U.tolist()]


def add(store: Store, *numbers: int) -> None:
    some = digests(*numbers)[::-1]
    ragged = np.concatenate(tracks(some)), np.cumsum([0, *map(len, tracks(some))])
    store.add(SPEC, some, content(some), {"track": ragged})


def check(store: Store, *numbers: int) -> dict[str, np.ndarray]:
    got = store.read(SPEC, digests(*numbers), EMPTY, RAGGED)
    for name, array in content(digests(*numbers)).items():
        np.testing.assert_array_equal(got.dense[name], array)
    values, offsets = got.ragged["track"]
    assert len(offsets) == len(numbers) + 1
    for i, track in enumerate(tracks(digests(*numbers))):
        np.testing.assert_array_equal(values[offsets[i] : offsets[i + 1]], track)
    return dict(got.dense)


def test_add_has_read_merge(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert not store.has(SPEC, digests(1, 2)).any()
    assert store.read(SPEC, digests(), EMPTY, RAGGED).dense["x"].shape == (0, 3)
    add(store, *range(20))
    add(store, *range(10, 30))
    assert store.has(SPEC, digests(*range(40))).sum() == 30
    check(store, 3, 12, 25)
    store.merge(SPEC)
    assert len(store.packs(SPEC)) == 1
    assert isinstance(check(store, *range(30))["x"], np.memmap)  # just its cells: mapped, nothing copied
    check(store, 3, 29)
    assert not list((tmp_path / SPEC.digest).glob(".*"))


def test_a_large_pack_stays_when_a_few_cells_come(tmp_path: Path) -> None:
    store = Store(tmp_path)
    add(store, *range(100))
    large = next(iter(store.packs(SPEC)))
    for i in range(100, 110):
        add(store, i)
    store.merge(SPEC)
    assert next(iter(store.packs(SPEC))) == large
    assert [len(p) for p in store.packs(SPEC).values()] == [100, 10]
    assert isinstance(check(store, *range(100))["x"], np.memmap)
    check(store, *range(95, 105))


def test_features_are_never_copied_into_memory(tmp_path: Path) -> None:
    store = Store(tmp_path)
    add(store, *range(20))
    add(store, *range(20, 40))
    assert isinstance(check(store, *range(5, 35))["x"], np.memmap)
    assert [p.name for p in tmp_path.iterdir()] == [SPEC.digest]  # the copy has no name and goes with its user


def test_what_is_unfinished_is_not_there_and_goes(tmp_path: Path) -> None:
    store = Store(tmp_path)
    add(store, 1)
    folder = tmp_path / SPEC.digest
    pack = next(folder.glob("pack-*"))
    half, fresh, old = folder / "pack-half", folder / ".pack-fresh", folder / ".pack-old"
    for path in (half, fresh, old):
        path.mkdir()
        (path / "digest.npy").write_bytes((pack / "digest.npy").read_bytes())
    os.utime(old, (0, time.time() - 2 * module.LITTER))
    half.rename(folder / ".half")
    store.merge(SPEC)
    assert store.has(SPEC, digests(1)).all()
    assert not old.exists()
    assert fresh.exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_a_full_disk_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, full, real = Store(tmp_path), Path("/dev/full"), Path.open
    add(store, *range(100))
    add(store, *range(100, 200))
    monkeypatch.setattr(module.tempfile, "TemporaryFile", lambda **_: full.open("w+b"))
    monkeypatch.setattr(Path, "open", lambda path, *mode, **more: real(full if path.suffix == ".npy" else path, *mode, **more))
    for action in (lambda: check(store, 5, 150), lambda: store.merge(SPEC), lambda: add(store, 300)):
        with pytest.raises(OSError, match="No space left"):
            action()
    monkeypatch.undo()
    assert not list((tmp_path / SPEC.digest).glob(".*"))
    check(store, *range(200))


@pytest.mark.parametrize("harm", ["cut", "empty", "lose", "zero", "manifest", "list"])
def test_a_damaged_pack_is_put_aside_and_made_again(tmp_path: Path, caplog: pytest.LogCaptureFixture, harm: str) -> None:
    store = Store(tmp_path)
    add(store, *range(50))
    add(store, 100)
    pack = next(iter(store.packs(SPEC)))
    x, whole = pack / "x.npy", (pack / "x.npy").read_bytes()
    if harm in ("manifest", "list"):
        (pack / "manifest.json").write_text({"manifest": '{"cells": 5', "list": "[]"}[harm])
    elif harm == "lose":
        x.unlink()
    else:
        x.write_bytes({"cut": whole[:-8], "empty": b"", "zero": bytes(len(whole))}[harm])
    store = Store(tmp_path)
    assert store.has(SPEC, digests(3, 100)).sum() == 1
    assert "damaged" in caplog.text and not pack.exists()
    caplog.clear()
    add(store, *range(50))
    check(store, *range(50), 100)
    assert not caplog.text


def test_default_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XMODAL_CACHE", str(tmp_path))
    assert Store().root == tmp_path / "features"
    monkeypatch.delenv("XMODAL_CACHE")
    assert "xmodal" in str(Store().root)


WRITER = """
import sys
sys.path.insert(0, sys.argv[3])
from pathlib import Path
import test_store as t
store, start = t.Store(Path(sys.argv[1])), int(sys.argv[2])
for i in range(start, start + 60, 5):
    t.add(store, *range(i, i + 10))
    store.merge(t.SPEC)
    t.check(store, *range(start, i + 10))
"""


def test_processes_that_add_and_merge_at_once_lose_nothing(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(Path(xmodal.__file__).parents[1])}
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    here = str(Path(__file__).parent)
    running = [subprocess.Popen([*command, str(start), here], env=env, stderr=subprocess.PIPE, text=True) for start in (0, 30, 60)]
    for process in running:
        assert not process.communicate(timeout=100)[1]
        assert process.returncode == 0
    check(Store(tmp_path), *range(125))


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, specs = Store(tmp_path), [Spec(name, 1, "none", "{}") for name in ("old", "read", "kept", "new")]
    for age, spec in enumerate(specs):
        some = digests(*range(100))
        store.add(spec, some, content(some))
        for manifest in (tmp_path / spec.digest).glob("pack-*/manifest.json"):
            os.utime(manifest, (0, 1000 + age))
    size = store.sizes()[specs[0].digest][1]
    store.read(specs[1], digests(*range(100)), {k: v for k, v in EMPTY.items() if k not in RAGGED})
    assert store.trim(limit=4 * size) == 0
    assert store.trim(keep=[specs[2]], limit=2 * size) >= 2 * size
    assert {name.split("-")[0] for name, (cells, _) in store.sizes().items() if cells} == {"read", "kept"}
    monkeypatch.setenv("XMODAL_CACHE_LIMIT", "1.5 kb")
    assert module.cap() == 1500
    monkeypatch.setenv("XMODAL_CACHE_LIMIT", "much")
    with pytest.raises(ConfigError, match="20GB"):
        module.cap()


@given(st.integers(0, 10**9))
@settings(max_examples=25, deadline=None)
def test_a_flipped_bit_is_found(seed: int) -> None:
    random = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        add(store, *range(20))
        assert store.verify() == []
        files = [f for f in Path(folder).rglob("*.npy") if f.stat().st_size]
        file = files[random.integers(len(files))]
        held = bytearray(file.read_bytes())
        held[random.integers(len(held))] ^= 1 << int(random.integers(8))
        file.write_bytes(held)
        assert [p.name for p in store.verify()] == [file.parent.name]
        assert not store.has(SPEC, digests(1)).any()


def test_what_a_store_has_seen_or_written_outlives_another_that_trims(tmp_path: Path) -> None:
    add(Store(tmp_path), 1, 2)
    mine, other = Store(tmp_path), Store(tmp_path)
    assert mine.has(SPEC, digests(1, 2, 3)).tolist().count(True) == 2  # planned: the third is to be extracted
    assert other.trim(limit=0) > 0
    add(mine, 3)
    assert other.trim(limit=0) > 0
    check(mine, 1, 2, 3)
    mine.merge(SPEC)
    assert other.trim(limit=0) > 0
    check(mine, 1, 2, 3)
    assert not Store(tmp_path).has(SPEC, digests(1, 2, 3)).any()
