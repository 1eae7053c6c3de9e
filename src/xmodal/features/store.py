"""Features on disk, by content: a folder a spec, in it packs of .npy files sorted by the digest of the cell's bytes.

A pack is written beside, synced and renamed, its manifest last, so it is whole or not there. Packs never change: a merge
writes their union first and deletes them after, so two processes may add and merge at once and lose nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap

from xmodal.features.column import Spec
from xmodal.files import beside, swap_folder, write_json

DIGEST = "S32"  # blake2b-128, hexadecimal (numpy drops the NULs that raw bytes may end in)
LITTER = 24 * 3600  # seconds after which an unfinished pack is nobody's
TRIES = 1000  # to find no merge under way
LARGE = 2**28  # bytes that are not copied into memory
STEP = 4096  # rows copied at once, so that a merge needs little memory
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
        for _ in range(TRIES):
            with contextlib.suppress(FileNotFoundError):  # another process has merged between our look and our opening
                found = {path: opened(path) for path in (self.root / spec.digest).glob("pack-*")}
                return dict(sorted(found.items(), key=lambda item: -len(item[1]["digest"])))
            time.sleep(0.01)
        raise FileNotFoundError(self.root / spec.digest)

    def has(self, spec: Spec, digest_U: np.ndarray) -> np.ndarray:
        """Which of these cells are stored."""
        found = [located(pack, digest_U)[1] for pack in self.packs(spec).values()]
        return np.any(found, 0) if found else np.zeros(len(digest_U), bool)

    def add(self, spec: Spec, digest_U: np.ndarray, features: Mapping[str, np.ndarray]) -> None:
        """Safe on the disk when this returns."""
        order = np.argsort(digest_U)
        pack = {name: array[order] for name, array in {"digest": digest_U, **features}.items()}
        write(self.root / spec.digest / f"pack-{secrets.token_hex(8)}", [pack], pack["digest"])

    def read(self, spec: Spec, digest_U: np.ndarray, empty: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Stored cells' features, [U, …]: mapped if a pack holds just these (sorted) cells, else gathered; large ones into a
        file of their own."""
        packs = list(self.packs(spec).values())
        for pack in packs:
            if np.array_equal(pack["digest"], digest_U):
                return {name: pack[name] for name in empty}
        out = {name: (array.dtype, (len(digest_U), *array.shape[1:])) for name, array in empty.items()}
        if sum(kind.itemsize * int(np.prod(shape)) for kind, shape in out.values()) > LARGE:
            view = self.root / spec.digest / f"view-{hashlib.blake2b(digest_U.tobytes(), digest_size=16).hexdigest()}"
            if not view.exists():
                write(view, packs, digest_U)
            return {name: array for name, array in opened(view).items() if name in empty}
        return fill({name: np.empty(shape, kind) for name, (kind, shape) in out.items()}, packs, digest_U)

    def merge(self, spec: Spec) -> None:
        """One file a feature again. A pack more than twice as large as all smaller ones stays: a few new cells do not
        rewrite a large store."""
        packs = self.packs(spec)
        sizes = [len(pack["digest"]) for pack in packs.values()]
        stay = next((i for i, size in enumerate(sizes) if size <= 2 * sum(sizes[i + 1 :])), len(sizes))
        rest = dict(list(packs.items())[stay:])
        if rest:
            digest_U = np.unique(np.concatenate([pack["digest"] for pack in rest.values()]))
            write(self.root / spec.digest / f"pack-{secrets.token_hex(8)}", list(rest.values()), digest_U)
        for path in rest:
            with contextlib.suppress(OSError):  # another process was faster
                shutil.rmtree(path.rename(beside(path)), ignore_errors=True)
        for path in (self.root / spec.digest).glob(".*"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > LITTER:
                    shutil.rmtree(path)


def write(path: Path, packs: Sequence[Pack], digest_U: np.ndarray) -> None:
    """One pack of these cells out of others, whole or not at all."""
    features = {name: array for name, array in packs[0].items() if name != "digest"}
    with swap_folder(path) as new:
        np.save(new / "digest.npy", digest_U, allow_pickle=False)
        shapes = {name: (array.dtype, (len(digest_U), *array.shape[1:])) for name, array in features.items()}
        mapped = {name: open_memmap(new / f"{name}.npy", "w+", kind, shape) for name, (kind, shape) in shapes.items()}
        fill(dict(mapped), packs, digest_U)
        for array in mapped.values():
            array.flush()
        write_json(new / "manifest.json", {"cells": len(digest_U), "features": list(features)})


def opened(path: Path) -> Pack:
    """A pack's arrays, mapped. Raises FileNotFoundError if it has been merged away."""
    names = ["digest", *json.loads((path / "manifest.json").read_text())["features"]]
    return {name: np.load(path / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in names}


def located(pack: Pack, digest_U: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each cell's position in the pack, and whether it is there."""
    at_U = np.searchsorted(pack["digest"], digest_U).clip(max=len(pack["digest"]) - 1)
    return at_U, pack["digest"][at_U] == digest_U


def fill(out: dict[str, np.ndarray], packs: Sequence[Pack], digest_U: np.ndarray) -> dict[str, np.ndarray]:
    """Copy these cells' features out of the packs to their places. Raises FileNotFoundError if one is in none of them."""
    found_U = np.zeros(len(digest_U), bool)
    for pack in packs:
        at_U, there_U = located(pack, digest_U)
        found_U |= there_U
        where = np.flatnonzero(there_U)
        for start in range(0, len(where), STEP):
            some = where[start : start + STEP]
            for name, array in out.items():
                array[some] = np.asarray(pack[name])[at_U[some]]
    if not found_U.all():
        raise FileNotFoundError("stored features are gone: was the cache emptied meanwhile?")
    return out
