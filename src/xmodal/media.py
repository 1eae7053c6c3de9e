"""The only door for bytes from outside: from inside the allowed roots, of bounded size, and no stand-in."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np

from xmodal.errors import MediaError

# No device or pipe blocks us, and no link put in place after the check is followed.
FLAGS = os.O_RDONLY
for _name in ("O_NONBLOCK", "O_NOFOLLOW", "O_CLOEXEC", "O_BINARY"):
    FLAGS |= getattr(os, _name, 0)
STAND_INS = {
    b"version https://git-lfs": ("a Git LFS pointer", "run git lfs pull"),
    b"<!doctype html": ("a web page", "download the file again"),
    b"<html": ("a web page", "download the file again"),
}


@dataclass(frozen=True)
class Caps:
    """Upper bounds, checked before anything is decoded."""

    bytes: int = 256 * 2**20
    pixels: int = 80_000_000


class Raw(Protocol):
    """An opened cell: its header is checked, nothing is decoded yet."""

    @property
    def digest(self) -> str: ...  # blake2b-128 of its bytes, hexadecimal

    @property
    def load(self) -> Callable[..., np.ndarray]: ...  # image: size=


@dataclass(frozen=True)
class Media:
    """`roots`: the folders that paths may lead into, tried in order."""

    roots: tuple[Path, ...]
    caps: Caps = Caps()

    def __post_init__(self) -> None:
        object.__setattr__(self, "roots", tuple(Path(os.path.realpath(root)) for root in self.roots))

    def open(self, cell: object) -> BinaryIO:
        """The bytes of a path or of bytes. Raises MediaError and nothing else."""
        if isinstance(cell, (bytes, bytearray)):
            file: BinaryIO = io.BytesIO(cell)
            return self._checked(file, len(cell), f"{len(cell)} bytes")
        if not isinstance(cell, (str, os.PathLike)):
            raise MediaError(f"a cell of type {type(cell).__name__}", repr(cell)[:80], "give a path or bytes")
        name = os.fspath(cell)
        return self._file(self._find(name), name)

    def _find(self, name: str) -> str:
        """The real path: the literal name first, then with Windows separators read as separators."""
        outside = False
        for spelled in dict.fromkeys((name, name.replace("\\", "/"))):
            for root in self.roots:
                try:
                    path = os.path.realpath(root / spelled, strict=True)
                except (OSError, ValueError):  # ValueError: a NUL in the name
                    outside |= escapes(root, spelled)
                    continue
                if any(Path(path).is_relative_to(allowed) for allowed in self.roots):
                    return path
                outside = True
        if outside:
            raise MediaError("outside the media roots", shown(name), "move it inside, or give --media-root FOLDER")
        if not self.roots:
            raise MediaError("a path, but no media root", shown(name), "give --media-root FOLDER")
        raise MediaError("no such file", shown(name), f"looked in {', '.join(map(str, self.roots))}; check --media-root")

    def _file(self, path: str, name: str) -> BinaryIO:
        try:
            handle = os.open(path, FLAGS)
        except OSError as e:
            raise MediaError(e.strerror or "cannot be opened", shown(name)) from e
        file = os.fdopen(handle, "rb")
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            file.close()
            raise MediaError("not a regular file", shown(name))
        return self._checked(file, status.st_size, shown(name))

    def _checked(self, file: BinaryIO, size: int, name: str) -> BinaryIO:
        problem: tuple[str, str] | None = None
        if size == 0:
            problem = "empty", "replace the file"
        elif size > self.caps.bytes:
            problem = f"{size:,} bytes, more than {self.caps.bytes:,}", "make it smaller"
        else:
            start = file.read(64).lstrip().lower()
            problem = next((what for mark, what in STAND_INS.items() if start.startswith(mark)), None)
            file.seek(0)
        if problem:
            file.close()
            raise MediaError(problem[0], name, problem[1])
        return file


def escapes(root: Path, name: str) -> bool:
    """Whether a path that does not exist would lead out of the root. A drive letter does too."""
    return not Path(os.path.normpath(root / name)).is_relative_to(root) or name[1:3] in (":\\", ":/")


def shown(name: str) -> str:
    """A path as it stands in messages."""
    return f"file {name if len(name) <= 200 else name[:200] + '…'!r}"
