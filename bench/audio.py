"""av_digits: spoken digits and their pictures, on the given split; and voices of which nothing was heard in training. About 22 CPU minutes:
10 for the six voices, some 4 for each of three seeds of the split, whose networks take fewer epochs than usual."""

import numpy as np
import pyarrow.csv

from bench.common import SEEDS, Row, at_least, data, error_of, look, mean, subset
from bench.tables import expert, opened
from xmodal import Learner
from xmodal.job import Budget

EPOCHS = {"voices": 25, "split": 16}  # the rates of a schedule end with its epochs
VOICES = {"kind": "raw", "training": {"batch": 32, "epochs": 25}}  # chosen on voices held out inside the training rows of the first fold


def run() -> list[Row]:
    return [*voices(), *split()]


def voices() -> list[Row]:
    """The acoustic network alone, trained on five voices, asked about the sixth."""
    table = opened(data("av_digits"), "label", ["audio"], VOICES)
    voice = np.array(pyarrow.csv.read_csv(data("av_digits"))["speaker"].to_pylist())
    y = table.data.examples[table.task.name].y.numpy()
    figures = {}
    for name in sorted(set(voice.tolist())):
        one, rows = expert(table, VOICES), np.flatnonzero(voice == name)
        one.fit(table.data, np.flatnonzero(voice != name), None, Budget(epochs=EPOCHS["voices"]), 0)
        said = one.predict(table.data, rows)[table.task.name].score.argmax(1)
        figures[name] = float((said == y[rows]).mean())
        look(f"av_digits sound raw, without {name}", 0, figures[name])
    protocol = f"trained on 5 speakers for {EPOCHS['voices']} epochs, accuracy on the sixth, mean of 6, seed 0"
    figure = mean([*figures.values()])
    error = (figure * (1 - figure) / len(y)) ** 0.5
    return [at_least("av_digits: sound -> digit, a voice never heard, raw expert alone", figure, 0.86, protocol, error, figures)]


def split() -> list[Row]:
    """The answer, of sound alone and of both."""
    found = []
    for seed in SEEDS:
        roles = {"use": ["audio", "image"], "split": "split", "metric": "accuracy", "seed": seed}
        report = Learner(target="label", **roles, training={"raw": {"epochs": EPOCHS["split"]}}).fit(data("av_digits")).report
        found.append((subset(report, "audio"), subset(report)))
        for name, one in zip(("sound", "both"), found[-1], strict=True):
            look(f"av_digits {name}", seed, one["metrics"]["accuracy"])
    rows = []
    for name, wanted, ones in zip(("sound", "sound and picture"), (0.99, 0.995), zip(*found, strict=True), strict=True):
        figures = [one["metrics"]["accuracy"] for one in ones]
        protocol, error = f"given split, mean of {len(SEEDS)} seeds", error_of(ones[0]["ci95"]["accuracy"])
        rows.append(at_least(f"av_digits: {name} -> digit, accuracy", mean(figures), wanted, protocol, error, figures))
    return rows
