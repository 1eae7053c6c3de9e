"""A whole `fit`, all experts, verdict and subsets included, against the bare script of the raw fusion alone."""

import csv
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.common import HERE, Row, at_most, cpu, fresh_cache
from xmodal.demo import draw

EPOCHS, LAPS = 20, 2
FIT = """
import sys
from xmodal import Learner
epochs = int(sys.argv[2])
training = {"epochs": epochs, "minimum": epochs, "patience": epochs}
Learner(target="label", split="split", use=["picture", "sentence"], training=training).fit(sys.argv[1])
"""


def cut(table: Path) -> Path:
    """2,000 training rows, 400 to choose by, 400 that the verdict is said on."""
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))[:2800]
    for row in rows[2000:2400]:
        row["split"] = "val"
    path = table.with_name("whole.csv")
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def run() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        table = cut(draw(Path(folder), 2000, 0))

        def measured(*command: str) -> float:
            whole = [sys.executable, *command, str(table), str(EPOCHS)]
            return cpu(lambda: subprocess.run(whole, check=True, env=fresh_cache(), stdout=subprocess.DEVNULL))

        pairs = [(measured("-c", FIT), measured(str(HERE / "bare_fusion.py"))) for _ in range(LAPS)]
    ours, bare = (min(side) for side in zip(*pairs, strict=True))
    protocol = f"picture and sentence, 2,000 + 400 + 400 rows, {EPOCHS} epochs, empty store, one thread, quickest of {LAPS}"
    return [
        at_most(
            "a whole fit over the bare raw fusion, CPU", ours / bare, 3.5, protocol, {"fit_s": round(ours, 1), "bare_s": round(bare, 1)}
        )
    ]
