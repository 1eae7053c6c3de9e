"""Features on disk, by content: a folder a spec, in it packs of .npy files sorted by the digest of the cell's bytes.

A pack is written beside, synced and renamed, its manifest last, so it is whole or not there. Packs never change: a merge
writes their union first and then deletes them, so processes may add and merge at once and lose nothing.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib.format import dtype_to_descr, write_array_header_1_0

from xmodal.features.column import Spec
from xmodal.files import beside, hashes, naming, swap_folder, write_json

DIGEST = "S32"  # blake2b-128, hexadecimal (numpy drops the NULs that raw bytes may end in)
LITTER = 24 * 3600  # seconds after which an unfinished pack is nobody's
STEP = 4096  # rows copied at once, so that a merge needs little memory
# What NumPy and JSON raise on files that are cut or overwritten.
DAMAGE = (FileNotFoundError, ValueError, EOFError, LookupError, TypeError)
Pack = Mapping[str, np.ndarray]  # "digest" [U], sorted, and each feature [U, …]


class Store:
    """`root`: by default XMODAL_CACHE, else the platform's cache folder."""

    def __init__(self, root: Path | None = None) -> None:
        if root is None:
            import platformdirs

            root = Path(os.environ.get("XMODAL_CACHE") or platformdirs.user_cache_path("xmodal")) / "features"
        self.root = root

    def packs(self, spec: Spec) -> dict[Path, Pack]:
        """All that is stored under a spec, mapped, the largest first."""
        for _ in range(1000):
            with contextlib.suppress(FileNotFoundError):  # another process has merged between our look and our opening
                found = {path: opened(path) for path in (self.root / spec.digest).glob("pack-*")}
                return dict(sorted(found.items(), key=lambda item: -len(item[1]["digest"])))
            time.sleep(0.01)
        raise FileNotFoundError(self.root / spec.digest)

    def has(self, spec: Spec, digest_U: np.ndarray) -> np.ndarray:
        """Which of these cells are stored, [U]."""
        found_U = np.zeros(len(digest_U), bool)
        for pack in self.packs(spec).values():
            found_U |= located(pack, digest_U)[1]
        return found_U

    def add(self, spec: Spec, digest_U: np.ndarray, features: Mapping[str, np.ndarray]) -> None:
        """Safe on the disk when this returns."""
        order = np.argsort(digest_U)
        pack = {name: array[order] for name, array in {"digest": digest_U, **features}.items()}
        self._write(spec, [pack], pack["digest"])

    def read(self, spec: Spec, digest_U: np.ndarray, empty: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Features of stored (sorted) cells, [U, …], mapped: from a pack that holds just these, else from a nameless copy."""
        packs = list(self.packs(spec).values())
        for pack in packs:
            if np.array_equal(pack["digest"], digest_U):
                return {name: pack[name] for name in empty}
        if not len(digest_U):
            return dict(empty)
        with naming(self.root), contextlib.ExitStack() as stack:
            files = {name: stack.enter_context(tempfile.TemporaryFile(dir=self.root)) for name in empty}
            copy(packs, digest_U, files)
            return {n: np.memmap(files[n], a.dtype, "r", shape=(len(digest_U), *a.shape[1:])) for n, a in empty.items()}

    def merge(self, spec: Spec) -> None:
        """One file a feature again, except that a pack more than twice as large as all smaller ones stays as it is."""
        rest = list(self.packs(spec).items())
        while rest and len(rest[0][1]["digest"]) > 2 * sum(len(pack["digest"]) for _, pack in rest[1:]):
            del rest[0]
        if rest:
            self._write(spec, [pack for _, pack in rest], np.unique(np.concatenate([pack["digest"] for _, pack in rest])))
        for path, _ in rest:
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

    def verify(self) -> list[Path]:
        """The packs whose bytes are not as they were written, put aside."""
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
        shutil.rmtree(self.root, ignore_errors=True)

    def _write(self, spec: Spec, packs: Sequence[Pack], digest_U: np.ndarray) -> None:
        """A pack of these cells out of others, whole or not at all."""
        with swap_folder(self.root / spec.digest / f"pack-{secrets.token_hex(8)}") as new:
            np.save(new / "digest.npy", digest_U, allow_pickle=False)
            with contextlib.ExitStack() as stack:
                files = {name: stack.enter_context((new / f"{name}.npy").open("wb")) for name in packs[0] if name != "digest"}
                for name, file in files.items():
                    kind, shape = packs[0][name].dtype, (len(digest_U), *packs[0][name].shape[1:])
                    write_array_header_1_0(file, {"descr": dtype_to_descr(kind), "fortran_order": False, "shape": shape})
                copy(packs, digest_U, files)
            write_json(new / "manifest.json", {"cells": len(digest_U), "features": list(files), "hashes": hashes(new)})


def opened(path: Path) -> Pack:
    """A pack's arrays, mapped. Raises FileNotFoundError if it has been merged away, or is damaged and so put aside."""
    try:
        plain = json.loads((path / "manifest.json").read_text())
        pack = {name: np.load(path / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in ("digest", *plain["features"])}
        if any(len(array) != plain["cells"] for array in pack.values()):
            raise ValueError("its arrays have other lengths than its manifest says")
        return pack
    except DAMAGE as e:
        with contextlib.suppress(FileNotFoundError):  # merged away, or put aside by another process
            path.rename(beside(path))
            logging.getLogger(__name__).warning("stored features in %s are damaged and are made again: %s", path, e)
        raise FileNotFoundError(path) from e


def located(pack: Pack, digest_U: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each cell's position in the pack, and whether it is there."""
    at_U = np.searchsorted(pack["digest"], digest_U).clip(max=len(pack["digest"]) - 1)
    return at_U, pack["digest"][at_U] == digest_U


def copy(packs: Sequence[Pack], digest_U: np.ndarray, files: Mapping[str, IO[bytes]]) -> None:
    """Append these cells' features, out of the packs, to the files: written, not mapped, as a full disk kills who writes to a mapped file.
    Raises FileNotFoundError if a cell is in none of the packs."""
    for start in range(0, len(digest_U), STEP):
        some = digest_U[start : start + STEP]
        found = [(pack, *located(pack, some)) for pack in packs]
        if not np.any([there for *_, there in found], 0).all():
            raise FileNotFoundError("stored features are gone: was the cache emptied meanwhile?")
        for name, file in files.items():
            rows = np.empty((len(some), *packs[0][name].shape[1:]), packs[0][name].dtype)
            for pack, at, there in found:
                rows[there] = pack[name][at[there]]
            file.write(rows.data)
    for file in files.values():
        file.flush()
