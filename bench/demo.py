"""The demo table: neither input alone, both together; a second target that one input explains."""

import tempfile
from pathlib import Path

from bench.common import SEEDS, Row, at_least, at_most, look, mean, subset
from xmodal import Learner
from xmodal.demo import draw


def learnt(table: Path, target: str, other: str, seed: int) -> dict:
    roles = {"id": "id", "split": "split", "ignore": other, "metric": "accuracy", "seed": seed}
    report = Learner(target=target, **roles).fit(table).report
    look(f"demo {target}", seed, subset(report)["metrics"]["accuracy"])
    return report


def run() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        tables = {seed: draw(Path(folder) / str(seed), 2000, seed) for seed in SEEDS}
        label = [learnt(tables[seed], "label", "mood", seed) for seed in SEEDS]
        mood = [learnt(tables[seed], "mood", "label", seed) for seed in SEEDS]
    protocol = f"2,000 training and 2,000 test rows, ceiling .90, mean of {len(SEEDS)} seeds (tables and fits)"
    figures = [subset(report)["metrics"]["accuracy"] for report in label]
    rows = [at_least("demo label, accuracy", mean(figures), 0.87, protocol, 0.0075, figures)]
    for name in ("picture", "sentence", "table"):
        alone = [subset(report, name)["metrics"]["accuracy"] for report in label]
        rows.append(at_most(f"demo label, {name} alone, distance from .5", max(abs(a - 0.5) for a in alone), 0.05, protocol, alone))
    pays = [report["verdict"]["outcome"] for report in label]
    rows.append(at_least("demo label, share of verdicts 'pays'", mean([p == "pays" for p in pays]), 1, protocol, detail=pays))
    second = [report["verdict"]["outcome"] for report in mood]
    rows.append(at_most("demo mood, share of verdicts 'pays'", mean([p == "pays" for p in second]), 0, protocol, second))
    with tempfile.TemporaryDirectory() as folder:
        counts = learnt(draw(Path(folder), 2000, SEEDS[-1]), "label", "mood", SEEDS[-1])["counts"]
    rows.append(at_most("second fit, cells decoded or extracted", counts["decoded"] + counts["extracted"], 0, "same pictures elsewhere"))
    return rows
