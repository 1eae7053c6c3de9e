"""Files that are either whole or not there: written beside, synced, renamed; folders with a manifest of hashes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from xmodal.errors import ArtefactError

MANIFEST = "manifest.json"


def beside(path: Path) -> Path:
    """A new name in the same folder, so that a rename is one step; it starts with a dot."""
    return path.with_name(f".{path.name[:100]}-{secrets.token_hex(6)}")


def sync(path: Path) -> None:
    """All that was written to this file or folder is on the disk."""
    if os.name != "nt":  # there, a folder has no handle and a file's must be writable
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)


@contextlib.contextmanager
def write_beside(path: Path) -> Iterator[Path]:
    """A temporary file's path that takes `path`'s place when the block ends well, and goes when not."""
    new = beside(path)
    try:
        yield new
        sync(new)
        os.replace(new, path)
        sync(path.parent)
    finally:
        new.unlink(missing_ok=True)


@contextlib.contextmanager
def swap_folder(path: Path) -> Iterator[Path]:
    """A temporary folder that takes `path`'s place when the block ends well; else all stays as it was."""
    new, old = beside(path), beside(path)
    new.mkdir(parents=True)
    try:
        yield new
        for item in (*new.rglob("*"), new):
            sync(item)
        if path.exists():
            os.replace(path, old)
        os.replace(new, path)
        sync(path.parent)
    finally:
        if old.exists() and not path.exists():
            os.replace(old, path)
        for folder in (new, old):
            shutil.rmtree(folder, ignore_errors=True)


def plain(value: Any) -> Any:
    """JSON's own types: NaN and infinities become null, numpy's scalars Python's."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_json(path: Path, value: Any) -> None:
    """Plain values as JSON, whole or not at all; never a bare NaN."""
    with write_beside(path) as new:
        new.write_text(json.dumps(plain(value), ensure_ascii=False, allow_nan=False, indent=1) + "\n", "utf-8")


def read_json(path: Path) -> Any:
    """Raises ArtefactError if the file is missing or is not JSON."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as e:
        raise ArtefactError(f"JSON in {path}", str(e), "save it again") from e


def file_hash(path: Path) -> str:
    """SHA-256, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(folder: Path) -> None:
    """SHA-256 of every file in the folder."""
    found = sorted(p for p in folder.rglob("*") if p.is_file() and p != folder / MANIFEST)
    write_json(folder / MANIFEST, {p.relative_to(folder).as_posix(): file_hash(p) for p in found})


def check_manifest(folder: Path) -> None:
    """Raises ArtefactError unless every file of the manifest is there, unchanged."""
    for name, wanted in read_json(folder / MANIFEST).items():
        got = file_hash(folder / name) if (folder / name).is_file() else None
        if got != wanted:
            came = "no such file" if got is None else "other content"
            raise ArtefactError(f"the file {name} of {folder} as it was saved", came, "copy the whole folder again")
