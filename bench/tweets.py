"""tweets_sentiment: text and photo -> sentiment of the pair."""

from bench.common import SEEDS, Row, at_least, data, error_of, look, mean, subset, target_of
from xmodal import Learner

ROLES = {"target": "label", "use": ["text", "image"], "metric": "accuracy"}


def run() -> list[Row]:
    crossed, given = [], []
    for seed in SEEDS:
        crossed.append(Learner(**ROLES, seed=seed).crossval(data("tweets_sentiment"), folds=5))
        figure, alone = target_of(crossed[-1])["metrics"]["accuracy"], subset(crossed[-1], "text")["metrics"]["accuracy"]
        look("tweets_sentiment crossval", seed, figure)
        look("tweets_sentiment crossval, text alone", seed, alone)
        learner = Learner(**ROLES, split="split", seed=seed).fit(data("tweets_sentiment"))
        given.append(learner.report["answer"]["test"])
        look("tweets_sentiment given split", seed, given[-1]["metrics"]["accuracy"])
    answer = [target_of(one)["metrics"]["accuracy"] for one in crossed]
    text = [subset(one, "text")["metrics"]["accuracy"] for one in crossed]
    split = [one["metrics"]["accuracy"] for one in given]
    protocol = "5-fold crossval of all 4,000 rows, mean of 3 seeds"
    error = error_of(target_of(crossed[0])["ci95"]["accuracy"])
    over, split_error = mean(answer) - mean(text), error_of(given[0]["ci95"]["accuracy"])
    return [
        at_least("tweets_sentiment, accuracy", mean(answer), 0.67, protocol, error, answer),
        at_least("tweets_sentiment, over text alone", over, -0.005, protocol, detail=text),
        at_least("tweets_sentiment, accuracy", mean(split), 0.67, "given split, mean of 3 seeds", split_error, split),
    ]
