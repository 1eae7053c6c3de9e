"""What every bench shares: rows of figures, CPU time, the log of looks at test rows."""

from __future__ import annotations

import datetime
import json
import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
LOOKS = HERE / "looks.jsonl"
SEEDS = (0, 1, 2)


class Row(NamedTuple):
    """One figure. `met`: at least (`most`: at most) the target, within one standard error where there is one."""

    name: str
    figure: float
    target: str
    met: bool
    protocol: str
    detail: Any = None


def at_least(name: str, figure: float, target: float, protocol: str, error: float = 0.0, detail: Any = None) -> Row:
    """Met within one standard error."""
    return Row(name, round(figure, 4), f">= {target:g}", figure + error >= target, protocol, detail)


def at_most(name: str, figure: float, target: float, protocol: str, detail: Any = None) -> Row:
    """Met as measured."""
    return Row(name, round(figure, 4), f"<= {target:g}", figure <= target, protocol, detail)


def commit() -> str:
    """Of the source that is measured; a star: with changes to it."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=HERE.parent, capture_output=True, text=True, check=True).stdout.strip()

    return git("rev-parse", "--short", "HEAD") + ("*" if git("status", "--porcelain", "--", "src", "bench/*.py", "constraints.txt") else "")


def look(table: str, seed: int, figure: float) -> None:
    """Every scoring of test rows is written down."""
    entry = {"date": datetime.datetime.now(datetime.UTC).date().isoformat(), "commit": commit(), "seed": seed, "table": table}
    with LOOKS.open("a", encoding="utf-8") as file:
        file.write(json.dumps({**entry, "figure": round(figure, 5)}) + "\n")


def data(name: str) -> Path:
    """One of the real tables."""
    folder = os.environ.get("XMODAL_DATA")
    if not folder:
        raise SystemExit("XMODAL_DATA must name the folder of real tables")
    return Path(folder) / name / "data.csv"


def cpu(action: Callable[[], object]) -> float:
    """CPU seconds of this process and of those it started and waited for."""

    def spent() -> float:
        child = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.process_time() + child.ru_utime + child.ru_stime

    before = spent()
    action()
    return spent() - before


def fresh_cache() -> dict[str, str]:
    """An environment whose store is empty; one thread for each library."""
    return {**os.environ, "XMODAL_CACHE": tempfile.mkdtemp(prefix="xmodal-bench-"), "OMP_NUM_THREADS": "1"}


def target_of(found: Mapping[str, Any]) -> Mapping[str, Any]:
    """The one target in the JSON of `evaluate` or `crossval`."""
    return next(iter(found["targets"].values()))  # type: ignore[no-any-return]


def subset(found: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    """The line of just these inputs; of all of them without names."""
    lines = found["subsets"]
    if not names:
        return max(lines, key=lambda line: len(line["inputs"]))  # type: ignore[no-any-return]
    return next(line for line in lines if set(line["inputs"]) == set(names))


def error_of(ci95: Sequence[float]) -> float:
    """The standard error that an interval spans."""
    return (ci95[1] - ci95[0]) / 3.92


def mean(values: Sequence[float]) -> float:
    """Of the seeds."""
    return sum(values) / len(values)
