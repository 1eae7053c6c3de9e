"""Peak memory of inspect, fit and predict at 60,000 and 600,000 rows of pictures, sentences and plain columns."""

import csv
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from bench.common import Row, at_most, fresh_cache
from xmodal.demo import picture, sentence

FEW, MANY = 60_000, 600_000
PICTURES = 2_000  # drawn; many rows share one
PEAK = (
    "import resource, sys; from xmodal.cli import main\n"
    "try: main()\n"
    "finally: print('peak', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
)


def table(folder: Path, rows: int) -> Path:
    """`label` is told by the sentence, and by the picture."""
    random, path = np.random.default_rng(0), folder / f"{rows}.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("picture", "sentence", "price", "shop", "label"))
        for row in range(rows):
            hot = bool(random.integers(2))
            cells = f"{2 * int(random.integers(PICTURES // 2)) + hot}.png", f"{sentence(hot, random)} Entry {row}."
            writer.writerow((*cells, f"{random.gamma(4, 5):.2f}", "ABCDE"[row % 5], "hot" if hot != (row % 10 == 0) else "cold"))
    return path


def peak(*words: str, env: dict[str, str]) -> float:
    """Megabytes; printed at once, since the whole takes half an hour."""
    done = subprocess.run([sys.executable, "-c", PEAK, *words], env=env, capture_output=True, text=True, check=True)
    found = int(done.stderr.rsplit("peak ", 1)[1].split()[0]) / 1024
    print(f"{words[0]} of {Path(words[-1] if words[0] == 'predict' else words[1]).stem}: {found:.0f} MB", file=sys.stderr, flush=True)
    return found


def run() -> list[Row]:
    env, found = fresh_cache(), {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(PICTURES):
            picture(bool(number % 2), np.random.default_rng(number)).save(folder / f"{number}.png")
        for rows in (FEW, MANY):
            path, model = str(table(folder, rows)), str(folder / f"model-{rows}")
            roles = ("--target", "label", "--modality", "sentence=text")
            found["inspect", rows] = peak("inspect", path, *roles, env=env)
            found["fit", rows] = peak("fit", path, *roles, "--set", "training.epochs=1", "--out", model, env=env)
            found["predict", rows] = peak("predict", model, path, "--out", f"{path}.parquet", env=env)
    most = 50 + (MANY - FEW) / 1000
    protocol = f"peak resident memory at {MANY:,} rows less that at {FEW:,}, in MB: at most 50 MB + 1 KB a row"
    commands = ("inspect", "fit", "predict")
    return [
        at_most(f"memory of {c}, MB", found[c, MANY] - found[c, FEW], most, protocol, [found[c, FEW], found[c, MANY]]) for c in commands
    ]
