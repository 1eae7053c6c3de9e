"""`python -m bench.run [NAME …]`: measures, prints, and writes results/DATE-COMMIT[-NAMES].json. Scores test rows; every look is
logged in looks.jsonl."""

from __future__ import annotations

import datetime
import importlib
import json
import os
import platform
import sys
from importlib.metadata import version

from bench.common import HERE, Row, commit, cpu

BENCHES = (
    "start",
    "gather",
    "step",
    "row",
    "whole",
    "demo",
    "covid",
    "imdb",
    "tweets",
    "fashion",
    "raw",
    "pretrained",
    "video",
    "audio",
    "memory",
    "mutations",
    "conformal",
    "handwriting",
    "kills",
    "report",
    "extract",
    "vectors",
)
PACKAGES = ("torch", "numpy", "scikit-learn", "pyarrow", "tokenizers", "pillow", "soundfile", "soxr", "av")


def main(names: list[str]) -> int:
    unknown = set(names) - set(BENCHES)
    if unknown:
        raise SystemExit(f"no such bench: {', '.join(sorted(unknown))}; there are {', '.join(BENCHES)}")
    result = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {name: version(name) for name in PACKAGES},
        "cpu_seconds": {},
        "rows": [],
    }
    name = "-".join([result["date"][:10], result["commit"].strip("*"), *names])
    path = HERE / "results" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    met = True
    for name in names or BENCHES:
        rows: list[Row] = []
        result["cpu_seconds"][name] = round(
            cpu(lambda name=name, rows=rows: rows.extend(importlib.import_module(f"bench.{name}").run())), 1
        )
        for row in rows:
            met &= row.met
            print(f"{'met   ' if row.met else 'NOT MET'} {row.name}: {row.figure:g} ({row.target}) · {row.protocol}", flush=True)
        result["rows"] += [{"bench": name, **row._asdict()} for row in rows]
        path.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
