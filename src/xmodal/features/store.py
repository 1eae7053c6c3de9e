"""Features on disk, by content: a folder a spec, in it packs of .npy files sorted by cell digest.

A pack is written beside, synced and renamed, so it is whole or not there; its manifest is its last file. Packs are never
changed: merging writes their union first and deletes them after, so two processes may do it at once and lose nothing.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap

from xmodal.features.column import Spec
from xmodal.files import read_json, swap_folder, write_json

Pack = Mapping[str, np.ndarray]  # "digest": [U], sorted; then each feature [U, …]
DIGEST = "S32"  # blake2b-128, hexadecimal (numpy drops the NULs that raw bytes may end in)
LITTER = 24 * 3600  # seconds after which an unfinished pack belongs to nobody
STEP = 4096  # rows copied at once, so that a merge needs little memory


class Store:
    """`root` None: the same in memory."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root
        self._memory: dict[str, list[Pack]] = {}

    @classmethod
    def default(cls) -> Store:
        """In XMODAL_CACHE, else the platform's cache folder."""
        import platformdirs

        return cls(Path(os.environ.get("XMODAL_CACHE") or platformdirs.user_cache_path("xmodal")) / "features")

    def packs(self, spec: Spec) -> list[Pack]:
        """All that is stored under a spec, mapped."""
        if self.root is None:
            return self._memory.get(spec.digest, [])
        for _ in range(8):  # another process may merge between our look and our opening
            try:
                return [opened(path) for path in sorted((self.root / spec.digest).glob("pack-*"))]
            except FileNotFoundError:
                continue
        raise FileNotFoundError(self.root / spec.digest)

    def has(self, spec: Spec, digest_U: np.ndarray) -> np.ndarray:
        """Which of these cells are stored."""
        found_U = np.zeros(len(digest_U), bool)
        for pack in self.packs(spec):
            found_U |= located(pack, digest_U)[1]
        return found_U

    def add(self, spec: Spec, digest_U: np.ndarray, features: Mapping[str, np.ndarray]) -> None:
        """One pack more, on disk when this returns."""
        order = np.argsort(digest_U)
        pack = {"digest": digest_U[order], **{name: array[order] for name, array in features.items()}}
        if self.root is None:
            self._memory.setdefault(spec.digest, []).append(pack)
            return
        with swap_folder(self.root / spec.digest / f"pack-{secrets.token_hex(8)}") as folder:
            for name, array in pack.items():
                np.save(folder / f"{name}.npy", array, allow_pickle=False)
            write_json(folder / "manifest.json", {"cells": len(order), "features": list(features)})

    def read(self, spec: Spec, digest_U: np.ndarray, empty: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The features of these stored cells (sorted digests), [U, …]: mapped if they are just one pack's, else copied."""
        packs = self.packs(spec)
        if len(packs) == 1 and np.array_equal(packs[0]["digest"], digest_U):
            return {name: packs[0][name] for name in empty}
        out = {name: np.empty((len(digest_U), *array.shape[1:]), array.dtype) for name, array in empty.items()}
        for pack in packs:
            fill(out, pack, digest_U)
        return out

    def merge(self, spec: Spec) -> None:
        """One file a feature again. A pack more than twice the size of all smaller ones stays, so that a few new cells
        do not rewrite a big store."""
        if self.root is None:
            return
        folder = self.root / spec.digest
        paths = sorted(folder.glob("pack-*"), key=lambda p: -len(opened(p)["digest"]))
        sizes = [len(opened(p)["digest"]) for p in paths]
        while len(paths) > 1 and sizes[0] > 2 * sum(sizes[1:]):
            del paths[0], sizes[0]
        for old in folder.glob(".*"):
            if time.time() - old.stat().st_mtime > LITTER:
                shutil.rmtree(old, ignore_errors=True)
        if len(paths) < 2:
            return
        packs = [opened(path) for path in paths]
        digest_U = np.unique(np.concatenate([pack["digest"] for pack in packs]))
        with swap_folder(folder / f"pack-{secrets.token_hex(8)}") as new:
            np.save(new / "digest.npy", digest_U, allow_pickle=False)
            features = {name: array for name, array in packs[0].items() if name != "digest"}
            out = {
                name: open_memmap(new / f"{name}.npy", "w+", array.dtype, (len(digest_U), *array.shape[1:]))
                for name, array in features.items()
            }
            for pack in packs:
                fill(out, pack, digest_U)
            for mapped in out.values():
                mapped.flush()
            write_json(new / "manifest.json", {"cells": len(digest_U), "features": list(features)})
        for path in paths:
            shutil.rmtree(path, ignore_errors=True)


def opened(path: Path) -> Pack:
    """A pack's arrays, mapped. Raises FileNotFoundError if it has been merged away."""
    if not (path / "manifest.json").is_file():
        raise FileNotFoundError(path)
    names = ["digest", *read_json(path / "manifest.json")["features"]]
    return {name: np.load(path / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in names}


def located(pack: Pack, digest_U: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each cell's position in the pack, and whether it is there."""
    at_U = np.searchsorted(pack["digest"], digest_U).clip(max=len(pack["digest"]) - 1)
    return at_U, pack["digest"][at_U] == digest_U


def fill(out: Mapping[str, np.ndarray], pack: Pack, digest_U: np.ndarray) -> None:
    """Copy what the pack has of these cells to their places."""
    at_U, there_U = located(pack, digest_U)
    where = np.flatnonzero(there_U)
    for start in range(0, len(where), STEP):
        some = where[start : start + STEP]
        for name, array in out.items():
            array[some] = np.asarray(pack[name])[at_U[some]]
