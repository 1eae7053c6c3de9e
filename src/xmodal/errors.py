"""What can go wrong. Everything the user can mend is a `UserError`; anything else that escapes is our bug.

XmodalError
├── UserError              exit code 1
│   ├── TableError         the table cannot be read, or not as asked
│   ├── TargetError        the target cannot be learnt
│   ├── ConfigError        an unknown name or an impossible setting
│   ├── MediaError         one cell's bytes cannot be used (the fit goes on, the cell is BROKEN)
│   │   ├── Absent         they hold nothing of the modality asked for (the cell is MISSING)
│   │   └── Unfound        there is no such file in the folders where media may lie
│   ├── ArtefactError      a model folder is damaged, incomplete or from a newer version
│   └── MissingExtra       an optional package is not installed
└── WorkerError            an extraction worker died and could not be replaced
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class XmodalError(Exception):
    """Root of all exceptions that xmodal raises on purpose."""


class UserError(XmodalError):
    """Three parts: what was expected; what came (with column, row and file); what to do."""

    def __init__(self, expected: str, got: str, do: str) -> None:
        super().__init__(f"expected {expected}; got {got}; {do}")
        self.expected, self.got, self.do = expected, got, do


class TableError(UserError):
    """The table cannot be read, or not as asked."""


class TargetError(UserError):
    """The target cannot be learnt."""


class ConfigError(UserError):
    """An unknown name or an impossible setting."""


class MediaError(UserError):
    """One cell's bytes cannot be used. `reason`: a short sentence for counts and reports; `where`: column, row and file, of which
    those are known."""

    def __init__(self, reason: str, got: str, do: str = "check the cell", column: str = "", row: int = 0) -> None:
        self.reason, self.column, self.row, self.cell = reason, column, row, got
        self.where = f"column {column!r}, row {row}: {got}" if row else got
        super().__init__("a readable cell", f"{self.where} ({reason})", do)


class Absent(MediaError):
    """A good file holds nothing of this modality: a video without sound has nothing to mend."""


class Unfound(MediaError):
    """There is no such file. `path`: where it was looked for first."""

    def __init__(self, reason: str, got: str, do: str, path: str) -> None:
        super().__init__(reason, got, do)
        self.path = path


class ArtefactError(UserError):
    """A model folder is damaged, incomplete or from a newer version."""


class MissingExtra(UserError):
    """An optional package is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"the package {package}", "no such package", f"run: pip install 'xmodal[{extra}]'")


class WorkerError(XmodalError):
    """An extraction worker died and could not be replaced."""


def unknown(kind: str, name: str, known: Iterable[str]) -> ConfigError:
    """The error for a name that is not known, naming the nearest known one."""
    names = sorted(set(known))
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    do = f"did you mean {near[0]!r}?" if near else "use one of those"
    kinds = " or ".join(f"{k[:-1]}ies" if k.endswith("y") else f"{k}es" if k.endswith("s") else f"{k}s" for k in kind.split(" or "))
    return ConfigError(f"one of the {kinds} {', '.join(map(repr, names)) or '(none)'}", f"{kind} {name!r}", do)
