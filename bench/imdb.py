"""imdb_genre: four texts and six numbers -> drama or not; its six splits."""

from bench.common import Row, at_least, data, error_of, look, mean
from xmodal import Learner


def run() -> list[Row]:
    figures, errors = [], []
    for number in range(6):
        learner = Learner(target="Genre_is_Drama", split=f"split_{number}", metric="roc_auc").fit(data("imdb_genre"))
        test = learner.report["answer"]["test"]  # type: ignore[index,call-overload]
        figures.append(test["metrics"]["roc_auc"])
        errors.append(error_of(test["ci95"]["roc_auc"]))
        look("imdb_genre", number, figures[-1])
    return [at_least("imdb_genre, AUC", mean(figures), 0.83, "mean of the six given splits, 533 / 267", mean(errors) / 6**0.5, figures)]
