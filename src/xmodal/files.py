"""Files and folders that are either whole or not there: written beside, synced, renamed; manifests of hashes."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from xmodal.errors import ArtefactError, ConfigError, UserError

MANIFEST = "manifest.json"


def beside(path: Path) -> Path:
    """A new hidden name in the same folder, so that taking `path`'s place is one rename."""
    return path.with_name(f".{path.name[:100]}-{secrets.token_hex(6)}")


def sync(path: Path) -> None:
    """What was written to this file or folder is on the disk (not on Windows, which opens no folders)."""
    if os.name != "nt":
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """What the operating system refuses in here names a path, as a full disk doesn't of itself."""
    try:
        yield
    except OSError as e:
        if e.filename is not None or type(e) is not OSError:
            raise
        raise OSError(e.errno or errno.EIO, e.strerror or str(e), str(path)) from e


@contextlib.contextmanager
def write_beside(path: Path) -> Iterator[Path]:
    """A path for a file. It takes `path`'s place when the block ends well; else all stays as it was."""
    new, old = beside(path), beside(path)
    try:
        with naming(path):
            yield new
            for item in (*new.rglob("*"), new):
                sync(item)
            if new.is_dir() and path.exists():  # only a file is replaced in one step
                os.replace(path, old)
            os.replace(new, path)
            sync(path.parent)
    finally:
        if old.exists() and not path.exists():
            os.replace(old, path)
        for left in (new, old):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)


def swappable(path: Path) -> Path:
    """The real path of a folder that another may replace. Raises ConfigError for one that the caller is in."""
    path, here = path.resolve(), Path.cwd()
    if path in (here, *here.parents):
        raise ConfigError("a folder that can be replaced as a whole", f"{path}, the working folder or one above it", "name a folder in it")
    return path


@contextlib.contextmanager
def swap_folder(path: Path) -> Iterator[Path]:
    """The same for a folder."""
    with write_beside(swappable(path)) as new:
        new.mkdir(parents=True)
        yield new


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
    except (OSError, ValueError, RecursionError) as e:
        raise ArtefactError(f"JSON in {path}", str(e), "save it again") from e


@contextlib.contextmanager
def part_of(path: Path, field: str) -> Iterator[None]:
    """Whatever is raised by values that were read from here is said of this part of this file: nothing of ours wrote them. Raises
    ArtefactError."""
    try:
        yield
    except Exception as e:  # what plugins and libraries raise of such values is theirs to choose
        got = str(e) if isinstance(e, UserError) else f"{type(e).__name__}: {e}"
        raise ArtefactError(f"{field} in {path} as `fit` writes it", got, "fit it again, or copy the whole folder again") from e


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file in the folder but the manifest and hidden ones, which systems leave and nothing of ours reads."""
    names = sorted(p.relative_to(folder) for p in folder.rglob("*") if p.is_file() and p != folder / MANIFEST)
    shown = (n for n in names if not any(part.startswith(".") for part in n.parts))
    return {n.as_posix(): hashlib.sha256((folder / n).read_bytes()).hexdigest() for n in shown}


def write_manifest(folder: Path) -> None:
    """The last file of a folder."""
    write_json(folder / MANIFEST, hashes(folder))


def check_manifest(folder: Path) -> None:
    """Raises ArtefactError unless just the files of the manifest are there, unchanged."""
    found, wanted = hashes(folder), read_json(folder / MANIFEST)
    if not isinstance(wanted, dict):
        raise ArtefactError(f"hashes by file in {folder / MANIFEST}", type(wanted).__name__, "copy the whole folder again")
    for name in sorted(found.keys() | wanted.keys()):
        if found.get(name) != wanted.get(name):
            came = ("other content" if name in wanted else "a file that was not saved") if name in found else "no such file"
            raise ArtefactError(f"the file {name} of {folder} as it was saved", came, "copy the whole folder again")
