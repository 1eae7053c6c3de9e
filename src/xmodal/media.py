"""The only door for bytes from outside: from inside the allowed roots (folders, zip and tar files), of bounded size, and no stand-in.

A cell is a path, bytes, a `data:` URI, the base64 text of a picture, or `{"bytes": …, "path": …}`; or several of these: a list, a list
in JSON, names with a separator between them, a folder. Pictures and arrays in memory become bytes at the table's door (`encoded`)."""

from __future__ import annotations

import base64
import binascii
import contextlib
import io
import json
import lzma
import os
import posixpath
import re
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable
from urllib.parse import unquote_to_bytes

import numpy as np

from xmodal.errors import MediaError, Unfound
from xmodal.formats import kind_of

T = TypeVar("T")
Stamp = tuple[int, int, int]
Cell = object  # what a cell may hold: text, a path, bytes, a number, a date, None
# A pipe or device must not block us, and a link put in place after the check must not be followed.
FLAGS = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_NOFOLLOW", "O_CLOEXEC", "O_BINARY"))
STAND_INS = {
    b"version https://git-lfs": ("a Git LFS pointer", "run git lfs pull"),
    b"<!doctype html": ("a web page", "download the file again"),
    b"<html": ("a web page", "download the file again"),
}
BASE64 = re.compile(r"[A-Za-z0-9+/_\-\s]{40,}={0,2}\s*")
DRIVE = re.compile(r"[A-Za-z]:/")
LONE = re.compile(r"[A-Za-z][^\x00-\x7f](?![^\x00-\x7f])|(?<![^\x00-\x7f])[^\x00-\x7f][A-Za-z]")  # an accent that was taken for Chinese
ARCHIVE_DAMAGE = (OSError, tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError, lzma.LZMAError)


@dataclass(frozen=True)
class Caps:
    """Upper bounds, checked before anything is decoded. `files`: of one cell."""

    bytes: int = 256 * 2**20
    pixels: int = 80_000_000
    decoded: int = 20_000_000_000  # pixels of all the frames of a clip that have to be decoded: about half a minute
    points: int = 1_000_000
    files: int = 256


@runtime_checkable
class Raw(Protocol):
    """An opened cell: its header is checked, nothing is decoded yet."""

    @property
    def digest(self) -> str: ...  # blake2b-128 of its bytes, hexadecimal

    @property
    def load(self) -> Callable[..., np.ndarray]: ...  # image: size=, sound: rate=, video: size= and frames=


class Archive:
    """A zip or plain tar file: `files` by name, `folders` with the names in them. Members are read where they lie."""

    def __init__(self, path: str) -> None:
        self.path, self.zip = path, zipfile.ZipFile(path) if zipfile.is_zipfile(path) else None
        if self.zip:
            held: dict[str, Any] = {told(i).replace("\\", "/"): i for i in self.zip.infolist() if not i.is_dir()}
        else:
            with tarfile.open(path, "r:") as tar:
                held = {m.name: m for m in tar.getmembers() if m.isreg() and not m.issparse()}
        normal = ((posixpath.normpath(name), member) for name, member in held.items())
        self.files = {name: member for name, member in normal if not name.startswith(("/", ".."))}
        self.folders: dict[str, dict[str, None]] = {"": {}}
        for parts in (name.split("/") for name in self.files):
            for i, part in enumerate(parts):
                self.folders.setdefault("/".join(parts[:i]), {})[part] = None

    def read(self, name: str, cap: int) -> tuple[bytes, int]:
        """A member, if it isn't larger than `cap`, and its size, more than which is never unpacked."""
        member = self.files[name]
        size = member.file_size if self.zip else member.size
        with self.zip.open(member) if self.zip else open(self.path, "rb") as file:
            file.seek(0 if self.zip else member.offset_data)
            return file.read(size if size <= cap else 0), size


def told(member: zipfile.ZipInfo) -> str:
    """The name of a member. Where it isn't marked as UTF-8 it often is, or GB18030, and not cp437, as which the standard has it."""
    if member.flag_bits & 0x800 or member.filename.isascii():
        return member.filename
    raw = member.filename.encode("cp437")
    with contextlib.suppress(UnicodeDecodeError):
        return raw.decode("utf-8")
    with contextlib.suppress(UnicodeDecodeError):
        return name if LONE.search(name := raw.decode("gb18030")) is None else member.filename
    return member.filename


@dataclass(frozen=True)
class Media:
    """`roots`: folders, zip and tar files that paths may lead into, tried in order. `said`: how many cells were read under another
    spelling than the table's."""

    roots: tuple[Path, ...]
    caps: Caps = Caps()
    said: Counter[str] = field(default_factory=Counter, compare=False, repr=False)
    held: Mapping[Cell, bytes] = field(default_factory=dict, compare=False, repr=False)  # files that were read already

    def __post_init__(self) -> None:
        object.__setattr__(self, "roots", tuple(Path(os.path.realpath(root)) for root in self.roots))

    def open(self, cell: Cell) -> io.BufferedIOBase:
        """The bytes of one file, whatever stands for it. Raises MediaError and nothing else."""
        if isinstance(cell, str) and (content := embedded(cell)) is not None:
            cell = content
        if isinstance(cell, bytes):
            return self._checked(io.BytesIO(cell), len(cell), cell)
        if isinstance(cell, str) and cell in self.held:
            return io.BytesIO(self.held[cell])
        if not isinstance(cell, (str, os.PathLike)):
            raise MediaError(f"neither a path nor bytes but {type(cell).__name__}", shown(cell), "give a path or bytes")
        path, how = self.find(os.fspath(cell))
        try:
            if not os.path.lexists(path) and (at := member_of(path)):
                content, size = at[0].read(at[1], self.caps.bytes)
                file: io.BufferedIOBase = io.BytesIO(content)
            else:
                file = os.fdopen(os.open(path, FLAGS), "rb")
                status = os.fstat(file.fileno())
                size = status.st_size if stat.S_ISREG(status.st_mode) else -1
        except OSError as e:
            raise MediaError((e.strerror or "cannot be opened").lower(), shown(cell)) from e
        except (KeyError, *ARCHIVE_DAMAGE) as e:
            raise MediaError(f"damaged or locked in its archive: {e}", shown(cell), "make the archive again") from e
        file = self._checked(file, size, cell)
        self.said.update(how)
        return file

    def literal(self, name: str) -> bool:
        """Whether there is a file of just this name."""
        found = attempt(self.find, name)
        return not isinstance(found, MediaError) and not found[1]

    def files(self, cell: Cell, separator: str | None = None) -> list[str | bytes]:
        """The files of a cell, in order: itself, what a list or a JSON list holds, names between separators, or the files of a folder.
        A file of just that name goes before all these. Raises MediaError."""
        if isinstance(cell, (list, tuple, np.ndarray)):
            found = [file for one in cell for file in self.files(one)]
        elif isinstance(cell, Mapping) and cell.keys() & {"bytes", "path"}:
            found = self.files(cell.get("path") if cell.get("bytes") is None else cell["bytes"])
        elif isinstance(cell, (str, os.PathLike)):
            found = self._named(os.fspath(cell), separator)
        elif cell is None or isinstance(cell, bytes):
            found = [] if cell is None else [cell]
        else:
            raise MediaError(f"neither a path nor bytes but {type(cell).__name__}", shown(cell), "give a path or bytes")
        if len(found) > self.caps.files:
            raise MediaError(f"{len(found):,} files in a cell, more than {self.caps.files:,}", shown(cell), "make it several rows")
        return found

    def _named(self, cell: str, separator: str | None) -> list[str | bytes]:
        if not cell.strip():
            return []
        if cell[:5].lower() == "data:" or any(os.path.isfile(os.path.join(root, cell)) for root in self.roots):  # most cells
            return [cell]
        found = attempt(self.find, cell)
        if isinstance(found, MediaError):
            if cell.lstrip().startswith("["):
                with contextlib.suppress(ValueError, RecursionError):
                    return self.files(json.loads(cell))
            return [name.strip() for name in cell.split(separator) if name.strip()] if separator and separator in cell else [cell]
        held = {} if os.path.isfile(found[0]) else children(found[0])
        names = sorted({f"{cell.rstrip('/')}/{name}" for alike in held.values() for name in alike if not name.startswith(".")})
        if len(names) <= self.caps.files:
            names = [name for name in names if not children(self.find(name)[0])]
        if held and not names:
            raise MediaError("an empty folder", shown(cell), "replace the folder")
        return [*names] if held else [cell]

    def find(self, name: str) -> tuple[str, list[str]]:
        """The real path, and how it was spelled if not as it stands: the literal name first, then Windows separators read as such, then
        the one file whose name differs only in case or has an extension more."""
        where, do = "no such file" if self.roots else "a path, but no media root", "check the path and --media-root"
        do += f", which is {', '.join(map(str, self.roots))}" if self.roots else ""
        if "://" in name:
            where, do = "a link, and nothing is fetched from the network", "download the files and give their paths"
        paths, how = list[str](), list[str]()
        for spelled in dict.fromkeys((name, name.replace("\\", "/"))) if nameable(name) else ():
            how = ["Windows separators"] if spelled != name else []
            paths = [os.path.realpath(root / spelled) for root in self.roots]
            for path in paths:
                if not self._allowed(path) or DRIVE.match(spelled):
                    where = f"outside {', '.join(map(str, self.roots))}"
                elif exists(path):
                    return path, how
        for path in paths if where == "no such file" else ():
            alike = self._alike(path)
            if len(alike) == 1 and exists(alike[0]):
                return alike[0], [*how, "another case or no extension"]
            if alike := alike or self._alike(os.path.splitext(path)[0]):
                do = f"did you mean {' or '.join(repr(os.path.basename(a)) for a in alike[:3])}?"
        raise Unfound(where, shown(name), do, paths[0] if paths else name)

    def _alike(self, path: str) -> list[str]:
        """The paths inside the roots that differ from this one only in case, else only in that and in an extension more."""
        if not self._allowed(path) or exists(path):
            return [path] if self._allowed(path) else []
        folder, last = os.path.split(path)
        found: list[str] = []
        for near in self._alike(folder):
            names = children(near).get(folded(last), [])
            names = [name for name in names if folded(name) == folded(last)] or names
            found += [os.path.realpath(os.path.join(near, name)) for name in names]
        return [path for path in found if self._allowed(path)]

    def _allowed(self, path: str) -> bool:
        return any(Path(path).is_relative_to(root) for root in self.roots)

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
    text = str(cell) if not isinstance(cell, bytes) else f"{len(cell)} bytes"
    return text if isinstance(cell, bytes) else f"file {text if len(text) <= 200 else text[:60] + '…'!r}"


def embedded(cell: str) -> bytes | None:
    """The bytes that a data: URI or the base64 text of a picture spells; None for other text. Raises MediaError."""
    if cell[:5].lower() == "data:":
        head, _, body = cell.partition(",")
        content = unquote_to_bytes(body)
        try:
            return base64.b64decode(content, validate=True) if head.lower().endswith(";base64") else content
        except binascii.Error as e:
            raise MediaError(f"a damaged data: URI: {e}", shown(cell)) from e
    if BASE64.fullmatch(cell):
        with contextlib.suppress(binascii.Error):
            content = base64.b64decode(cell.translate(str.maketrans("-_", "+/")))
            return content if kind_of(content) else None
    return None


def nameable(name: str) -> bool:
    """Whether a file can have this name: no NUL, no half of a character, no part longer and no way deeper than
    systems allow."""
    with contextlib.suppress(UnicodeEncodeError):
        content = os.fsencode(name)
        return b"\0" not in content and len(content) <= 4096 and content.count(b"/") < 256 and max(map(len, content.split(b"/"))) <= 255
    return False


def folded(name: str) -> str:
    """The same for names that differ in case, or in how accents are composed, as systems write them."""
    return unicodedata.normalize("NFC", name).casefold()


def stamp(path: str) -> Stamp:
    """What changes with the content, so that what is kept of a file or folder is not kept too long."""
    status = os.stat(path)
    return status.st_mtime_ns, status.st_size, status.st_ino


@lru_cache(maxsize=8)
def archive(path: str, as_it_is: Stamp) -> Archive | None:  # noqa: ARG001
    """The archive at a path; None for other files. Raises MediaError for one that no member can be taken from."""
    try:
        with open(path, "rb") as file:
            start = file.read(6)
        if start.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"Rar!", b"\x28\xb5\x2f\xfd")):
            raise MediaError("an archive that is compressed as a whole", shown(path), "unpack it, or make it a zip or an uncompressed tar")
        return Archive(path)
    except ARCHIVE_DAMAGE:
        return None


def member_of(path: str) -> tuple[Archive, str] | None:
    """The archive that a path leads to or into, and the name in it (empty: the archive itself); None for other paths."""
    outer = path
    while not os.path.lexists(outer) and outer != os.path.dirname(outer):
        outer = os.path.dirname(outer)
    if not os.path.isfile(outer) or not (found := archive(outer, stamp(outer))):
        return None
    return found, path[len(outer) + 1 :].replace(os.sep, "/")


def exists(path: str) -> bool:
    """On the disk or in an archive."""
    return os.path.exists(path) or bool((at := member_of(path)) and (at[1] in at[0].files or at[1] in at[0].folders))


@lru_cache(maxsize=64)
def names_in(folder: str, at: tuple[Archive, str] | None, as_it_is: Stamp) -> dict[str, list[str]]:  # noqa: ARG001
    """The same, kept. `at`: the place, if it is in an archive."""
    found: dict[str, list[str]] = {}
    for name in at[0].folders.get(at[1], ()) if at else os.listdir(folder):
        for spelled in {folded(name), folded(os.path.splitext(name)[0])}:
            found.setdefault(spelled, []).append(name)
    return found


def children(folder: str) -> dict[str, list[str]]:
    """Of a folder, on the disk or in an archive: the names in it by their spelling without case, with and without extension."""
    try:
        at = None if os.path.isdir(folder) else member_of(folder)
        return names_in(folder, at, stamp(at[0].path if at else folder))
    except OSError:
        return {}


def attempt(action: Callable[..., T], *arguments: Any) -> T | MediaError:
    """What it returns, or the MediaError that it raises."""
    try:
        return action(*arguments)
    except MediaError as e:
        return e
