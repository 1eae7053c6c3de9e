"""Features on disk, by content: a folder a spec, in it packs of .npy files sorted by the digest of the cell's bytes.

A pack is written beside, synced and renamed, its manifest last, so it is whole or not there. Packs never change: a merge
writes their union first and then deletes them, so processes may add and merge at once and lose nothing. A Store keeps mapped
what it has seen or written, so that whatever it once had can be read from it, though another process trims it meanwhile.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tokenize import TokenError
from typing import IO

import numpy as np
from numpy.lib.format import dtype_to_descr, write_array_header_1_0

from xmodal.errors import ConfigError
from xmodal.features.column import Spec, place, take_ragged
from xmodal.files import beside, hashes, naming, swap_folder, write_json

DIGEST = "S32"  # blake2b-128, hexadecimal (numpy drops the NULs that raw bytes may end in)
LITTER = 24 * 3600  # seconds after which an unfinished pack is nobody's
LIMIT = "50GB"  # of all that is stored
STEP = 32 * 2**20  # bytes copied at once, so that a merge needs little memory
# What NumPy and JSON raise on files that are cut or overwritten.
DAMAGE = (FileNotFoundError, ValueError, EOFError, LookupError, TypeError, SyntaxError, TokenError, MemoryError)
Ragged = tuple[np.ndarray, np.ndarray]  # values, offsets [U + 1]


@dataclass(frozen=True)
class Pack:
    """Features of U cells."""

    digest: np.ndarray  # [U], sorted
    dense: Mapping[str, np.ndarray]  # [U, …]
    ragged: Mapping[str, Ragged] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.digest)


def cap() -> int:
    """The bytes that the store may hold: XMODAL_CACHE_LIMIT, as in 20GB. Raises ConfigError."""
    text = os.environ.get("XMODAL_CACHE_LIMIT") or LIMIT
    found = re.fullmatch(r"([0-9.]+) *([KMGT]?)B?", text.strip().upper())
    if not found:
        raise ConfigError("a size such as 20GB in XMODAL_CACHE_LIMIT", repr(text), "correct it")
    return int(float(found[1]) * 1000 ** " KMGT".index(found[2] or " "))


class Store:
    """`root`: by default XMODAL_CACHE, else the platform's cache folder."""

    def __init__(self, root: Path | None = None) -> None:
        if root is None:
            import platformdirs

            root = Path(os.environ.get("XMODAL_CACHE") or platformdirs.user_cache_path("xmodal")) / "features"
        self.root = root
        self.held: dict[str, dict[Path, Pack]] = {}

    def packs(self, spec: Spec) -> dict[Path, Pack]:
        """All that is stored under a spec, or was, mapped, the largest first."""
        held = self.held.setdefault(spec.digest, {})
        for _ in range(1000):
            with contextlib.suppress(FileNotFoundError):  # another process has merged between our look and our opening
                held |= {path: opened(path) for path in (self.root / spec.digest).glob("pack-*") if path not in held}
                return dict(sorted(held.items(), key=lambda item: -len(item[1])))
            time.sleep(0.01)
        raise FileNotFoundError(self.root / spec.digest)

    def has(self, spec: Spec, digest_U: np.ndarray) -> np.ndarray:
        """Which of these cells are stored, [U]."""
        found_U = np.zeros(len(digest_U), bool)
        for pack in self.packs(spec).values():
            found_U |= located(pack, digest_U)[1]
        return found_U

    def add(self, spec: Spec, digest_U: np.ndarray, dense: Mapping[str, np.ndarray], ragged: Mapping[str, Ragged] | None = None) -> None:
        """Safe on the disk when this returns."""
        order = np.argsort(digest_U)
        held = {name: take_ragged(values, offsets, order) for name, (values, offsets) in (ragged or {}).items()}
        self._write(spec, [Pack(digest_U[order], {name: array[order] for name, array in dense.items()}, held)], digest_U[order])

    def read(self, spec: Spec, digest_U: np.ndarray, empty: Mapping[str, np.ndarray], ragged: frozenset[str] = frozenset()) -> Pack:
        """Features of stored (sorted) cells, mapped: a pack that holds just these, else a nameless copy. `empty`: each feature of no cell;
        `ragged`: which of them are."""
        held = self.packs(spec)
        for path in held:
            with contextlib.suppress(OSError):  # gone, or of a folder that cannot be written
                os.utime(path / "manifest.json")
        packs = list(held.values())
        for pack in packs:
            if np.array_equal(pack.digest, digest_U):
                return pack
        if not len(digest_U):
            none = np.zeros(1, np.int64)
            return Pack(digest_U, {n: a for n, a in empty.items() if n not in ragged}, {n: (empty[n], none) for n in ragged})
        with naming(self.root), contextlib.ExitStack() as stack:
            files = {name: stack.enter_context(tempfile.TemporaryFile(dir=self.root)) for name in empty}
            ends = copy(packs, digest_U, files)

            def mapped(name: str, length: int) -> np.ndarray:
                shape = (length, *empty[name].shape[1:])
                return (
                    np.memmap(files[name], empty[name].dtype, "r", shape=shape) if math.prod(shape) else np.zeros(shape, empty[name].dtype)
                )

            dense = {name: mapped(name, len(digest_U)) for name in empty if name not in ragged}
            return Pack(digest_U, dense, {name: (mapped(name, int(ends[name][-1])), ends[name]) for name in ragged})

    def merge(self, spec: Spec) -> None:
        """One file a feature again, except that a pack more than twice as large as all smaller ones stays as it is."""
        rest = list(self.packs(spec).items())
        held = self.held[spec.digest]
        while rest and len(rest[0][1]) > 2 * sum(len(pack) for _, pack in rest[1:]):
            del rest[0]
        if rest:
            self._write(spec, [pack for _, pack in rest], np.unique(np.concatenate([pack.digest for _, pack in rest])))
        for path, _ in rest:
            del held[path]
            with contextlib.suppress(OSError):  # another process was faster
                shutil.rmtree(path.rename(beside(path)))
        for path in (self.root / spec.digest).glob(".*"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > LITTER:
                    shutil.rmtree(path)

    def sizes(self) -> dict[str, tuple[int, int]]:
        """Cells and bytes by spec."""
        found = {}
        for folder in sorted(self.root.glob("*-*/")):
            cells = sum(json.loads(m.read_text())["cells"] for m in folder.glob("pack-*/manifest.json"))
            found[folder.name] = cells, sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
        return found

    def trim(self, keep: Collection[Spec] = (), limit: int | None = None) -> int:
        """Delete what was not used for longest, but these, until all is within the limit; the bytes deleted."""
        used = []
        for pack in self.root.glob("*-*/pack-*"):
            with contextlib.suppress(OSError):  # merged away
                used.append(((pack / "manifest.json").stat().st_mtime, sum(f.stat().st_size for f in pack.iterdir()), pack))
        over = sum(size for _, size, _ in used) - (cap() if limit is None else limit)
        spared, freed = {spec.digest for spec in keep}, 0
        for _, size, pack in sorted(used):
            if freed < over and pack.parent.name not in spared:
                self.held.get(pack.parent.name, {}).pop(pack, None)
                with contextlib.suppress(OSError):
                    shutil.rmtree(pack.rename(beside(pack)))
                    freed += size
        return freed

    def verify(self) -> list[Path]:
        """The packs whose bytes are not as they were written, put aside."""
        self.held.clear()
        bad = []
        for pack in sorted(self.root.glob("*-*/pack-*")):
            with contextlib.suppress(FileNotFoundError):  # merged away, or put aside by `opened`
                opened(pack)
                if json.loads((pack / "manifest.json").read_text()).get("hashes") == hashes(pack):
                    continue
                pack.rename(beside(pack))
            bad.append(pack)
        return bad

    def clear(self) -> None:
        """Delete everything. Who reads from it meanwhile keeps what is mapped."""
        self.held.clear()
        shutil.rmtree(self.root, ignore_errors=True)

    def _write(self, spec: Spec, packs: Sequence[Pack], digest_U: np.ndarray) -> None:
        """A pack of these cells out of others, whole or not at all."""
        dense, ragged = packs[0].dense, packs[0].ragged
        path = self.root / spec.digest / f"pack-{secrets.token_hex(8)}"
        with swap_folder(path) as new:
            np.save(new / "digest.npy", digest_U, allow_pickle=False)
            ends = {name: np.append(0, np.cumsum(lengths(packs, digest_U, name))) for name in ragged}
            for name, offsets in ends.items():
                np.save(new / f"{name}.offsets.npy", offsets, allow_pickle=False)
            with contextlib.ExitStack() as stack:
                files = {name: stack.enter_context((new / f"{name}.npy").open("wb")) for name in (*dense, *ragged)}
                for name, file in files.items():
                    array, count = (ragged[name][0], int(ends[name][-1])) if name in ragged else (dense[name], len(digest_U))
                    shape = (count, *array.shape[1:])
                    write_array_header_1_0(file, {"descr": dtype_to_descr(array.dtype), "fortran_order": False, "shape": shape})
                copy(packs, digest_U, files)
            held = {"cells": len(digest_U), "features": list(dense), "ragged": list(ragged)}
            write_json(new / "manifest.json", {**held, "hashes": hashes(new)})
        with contextlib.suppress(FileNotFoundError):  # trimmed at once
            self.held.setdefault(spec.digest, {})[path] = opened(path)


def opened(path: Path) -> Pack:
    """A pack's arrays, mapped. Raises FileNotFoundError if it has been merged away, or is damaged and so put aside."""
    try:
        plain = json.loads((path / "manifest.json").read_text())

        def mapped(name: str) -> np.ndarray:
            array: np.ndarray = np.load(path / f"{name}.npy", mmap_mode="r", allow_pickle=False)
            return array

        dense = {name: mapped(name) for name in plain["features"]}
        ragged = {name: (mapped(name), mapped(f"{name}.offsets")) for name in plain.get("ragged", ())}
        pack, cells = Pack(mapped("digest"), dense, ragged), plain["cells"]
        whole = all(len(array) == cells for array in (pack.digest, *dense.values()))
        if not whole or any(len(ends) != cells + 1 or ends[-1] != len(values) for values, ends in ragged.values()):
            raise ValueError("its arrays have other lengths than its manifest says")
        return pack
    except DAMAGE as e:
        with contextlib.suppress(FileNotFoundError):  # merged away, or put aside by another process
            path.rename(beside(path))
            logging.getLogger(__name__).warning("stored features in %s are damaged and are made again: %s", path, e)
        raise FileNotFoundError(path) from e


def located(pack: Pack, digest_U: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each cell's position in the pack, and whether it is there."""
    at_U = np.searchsorted(pack.digest, digest_U).clip(max=len(pack) - 1)
    return at_U, pack.digest[at_U] == digest_U


def lengths(packs: Sequence[Pack], digest_U: np.ndarray, name: str) -> np.ndarray:
    """Of a ragged feature of these cells, [U]."""
    length_U = np.zeros(len(digest_U), np.int64)
    for pack in packs:
        at, there = located(pack, digest_U)
        length_U[there] = np.diff(pack.ragged[name][1])[at[there]]
    return length_U


def copy(packs: Sequence[Pack], digest_U: np.ndarray, files: Mapping[str, IO[bytes]]) -> dict[str, np.ndarray]:
    """Append these cells' features, out of the packs, to the files: written, not mapped, as a full disk kills who writes to a mapped file.
    The offsets of the ragged ones. Raises FileNotFoundError if a cell is in none of the packs."""
    found = [(pack, *located(pack, digest_U)) for pack in packs]
    if not np.any([there for *_, there in found], 0).all():
        raise FileNotFoundError("stored features are gone: was the cache emptied meanwhile?")
    ends: dict[str, np.ndarray] = {}
    for name, file in files.items():
        if name in packs[0].dense:
            array, ends_U = packs[0].dense[name], np.arange(len(digest_U) + 1)
        else:
            array = packs[0].ragged[name][0]
            ends_U = ends[name] = np.append(0, np.cumsum(lengths(packs, digest_U, name)))
        most = max(STEP // max(array.itemsize * math.prod(array.shape[1:]), 1), 1)  # values at once; a cell at the least
        start = 0
        while start < len(digest_U):
            stop = max(int(np.searchsorted(ends_U, ends_U[start] + most, "right")) - 1, start + 1)
            out = np.empty((ends_U[stop] - ends_U[start], *array.shape[1:]), array.dtype)
            for pack, at_U, there_U in found:
                there = np.flatnonzero(there_U[start:stop]) + start
                put(out, ends_U[there] - ends_U[start], pack, name, at_U[there])
            file.write(out.data)
            start = stop
        file.flush()
    return ends


def put(out: np.ndarray, start_U: np.ndarray, pack: Pack, name: str, at_U: np.ndarray) -> None:
    """Each cell's feature at its place."""
    if name in pack.dense:
        out[start_U] = pack.dense[name][at_U]
        return
    values, offsets = pack.ragged[name]
    length_U = offsets[at_U + 1] - offsets[at_U]
    place(out, start_U, values, offsets[at_U], length_U)
