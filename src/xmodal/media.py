"""The only door for bytes from outside: from inside the allowed roots, of bounded size, and no stand-in."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np

from xmodal.errors import MediaError

T = TypeVar("T")
Cell = object  # what a cell may hold: text, a path, bytes, a number, a date, None
# A pipe or device must not block us, and a link put in place after the check must not be followed.
FLAGS = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_NOFOLLOW", "O_CLOEXEC", "O_BINARY"))
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


@runtime_checkable
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

    def open(self, cell: Cell) -> io.BufferedIOBase:
        """The bytes of a path or of bytes. Raises MediaError and nothing else."""
        if isinstance(cell, bytes):
            return self._checked(io.BytesIO(cell), len(cell), cell)
        if not isinstance(cell, (str, os.PathLike)):
            raise MediaError(f"neither a path nor bytes but {type(cell).__name__}", shown(cell), "give a path or bytes")
        try:
            file = os.fdopen(os.open(self._find(os.fspath(cell)), FLAGS), "rb")
        except OSError as e:
            raise MediaError((e.strerror or "cannot be opened").lower(), shown(cell)) from e
        status = os.fstat(file.fileno())
        return self._checked(file, status.st_size if stat.S_ISREG(status.st_mode) else -1, cell)

    def _find(self, name: str) -> str:
        """The real path: of the literal name, else of the name with Windows separators read as such."""
        where = "no such file" if self.roots else "a path, but no media root"
        for spelled in () if "\0" in name else dict.fromkeys((name, name.replace("\\", "/"))):
            for root in self.roots:
                path = os.path.realpath(root / spelled)
                if not any(Path(path).is_relative_to(allowed) for allowed in self.roots):
                    where = f"outside {', '.join(map(str, self.roots))}"
                elif os.path.exists(path):
                    return path
        raise MediaError(where, shown(name), "check the path and --media-root")

    def _checked(self, file: io.BufferedIOBase, size: int, cell: Cell) -> io.BufferedIOBase:
        problem: tuple[str, str] | None
        if size <= 0:
            problem = ("not a regular file" if size else "empty", "replace the file")
        elif size > self.caps.bytes:
            problem = (f"{size:,} bytes, more than {self.caps.bytes:,}", "make it smaller")
        else:
            start = file.read(64).lstrip().lower()
            file.seek(0)
            problem = next((what for mark, what in STAND_INS.items() if start.startswith(mark)), None)
        if problem:
            file.close()
            raise MediaError(problem[0], shown(cell), problem[1])
        return file


def shown(cell: Cell) -> str:
    """A cell as it stands in messages."""
    return f"{len(cell)} bytes" if isinstance(cell, bytes) else f"file {str(cell)[:200]!r}"


def attempt(action: Callable[..., T], *arguments: Any) -> T | MediaError:
    """What it returns, or the MediaError that it raises."""
    try:
        return action(*arguments)
    except MediaError as e:
        return e
