"""handwriting: a character's picture and its pen strokes -> which of 96 it is; folds that never divide a drawer."""

from bench.common import SEEDS, Row, at_least, data, error_of, look, mean, subset
from xmodal import Learner

# Some 96 classes of 15 rows each need more steps than the usual epochs (of drawers held out inside the training rows the picture's network
# knows .747 after 45, .854 after 120). Validation rows instead of inner folds: a sixth of the cost, some 45 CPU minutes a seed.
TRAINING = {"small": 1000, "raw": {"epochs": 100, "rate": 3e-3}}
WANTED = {("strokes",): 0.88, ("image",): 0.89, ("image", "strokes"): 0.92}


def run() -> list[Row]:
    found = []
    for seed in SEEDS:
        roles = {"group": "drawer", "use": ["image", "strokes"], "encoder": {"image": "fine", "strokes": "stroke"}, "seed": seed}
        found.append(Learner(target="char_class", metric="accuracy", training=TRAINING, **roles).crossval(data("handwriting"), folds=5))
        look("handwriting char_class crossval", seed, subset(found[-1])["metrics"]["accuracy"])
    protocol = f"5-fold crossval --group drawer, all 1,920 rows, seeds {SEEDS}, mean accuracy"
    rows = []
    for names, wanted in WANTED.items():
        figures = [subset(one, *names)["metrics"]["accuracy"] for one in found]
        error = error_of(subset(found[0], *names)["ci95"]["accuracy"])
        rows.append(at_least(f"handwriting: {' + '.join(names)}", mean(figures), wanted, protocol, error, figures))
    gains = [subset(one)["gain_ci95"][0] for one in found]
    rows.append(
        at_least("handwriting: both over the best single input, lower end of the 95 % interval", min(gains), 0, protocol, detail=gains)
    )
    return rows
