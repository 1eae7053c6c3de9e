"""scikit-learn's contract over a `Learner`: in pipelines, searches and cross-validation, over frames with media and plain arrays."""

from __future__ import annotations

import contextlib
import io
import tempfile
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import Tags, check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_consistent_length, check_is_fitted, column_or_1d, validate_data

from xmodal.errors import UserError
from xmodal.learner import Learner
from xmodal.notebook import silent
from xmodal.table import read_table, text_of


class CrossModal(BaseEstimator):  # type: ignore[misc]
    """What both estimators share. Rows are matched by position; a column that was there at `fit` must be there at `predict`.
    Of a pickle, the model's part is the files of its folder."""

    def __init__(  # noqa: PLR0913 - scikit-learn reads the parameters from this signature
        self, *, modality: Any = None, encoder: Any = None, fusion: Any = None, head: Any = None, metric: Any = None,
        positive: Any = None, cost: Any = None, media_root: Any = None, device: Any = "auto", training: Any = None, random_state: Any = 0,
    ) -> None:  # fmt: skip
        """As the fields of `xmodal.Job`; `random_state`: a number, a RandomState or None."""
        self.modality, self.encoder, self.fusion, self.head, self.metric = modality, encoder, fusion, head, metric
        self.positive, self.cost, self.media_root, self.device = positive, cost, media_root, device
        self.training, self.random_state = training, random_state

    def _learn(self, X: Any, y: Any, sample_weight: Any, kind: str, names: Mapping[Any, str]) -> CrossModal:
        """Learn from all rows: none is held out, and no cell is kept. `names`: what classes are called in the table."""
        table = self._table(X, reset=True)
        check_consistent_length(np.empty(table.num_rows), y)
        if table.num_rows < 2:
            raise ValueError(f"{type(self).__name__} needs at least two rows; X holds one sample")
        given = {n: v for n, v in self.get_params(deep=False).items() if v is not None and n != "random_state"}
        if self.positive is not None:
            given["positive"] = names.get(self.positive, str(self.positive))
        if isinstance(self.cost, Mapping):
            given["cost"] = {names.get(t, t): {names.get(s, s): c for s, c in said.items()} for t, said in self.cost.items()}
        if not hasattr(self, "feature_names_in_"):
            given["use"] = [n for n in table.column_names if table[n].null_count < len(table)]
        roles = {"target": pa.array(y), "split": pa.array(["train"] * table.num_rows)}
        if sample_weight is not None:
            weight = _check_sample_weight(sample_weight, np.empty(table.num_rows), dtype=np.float64, ensure_non_negative=True)
            roles["weight"] = pa.array(weight)
        for role, values in roles.items():
            given[role] = next(n for n in (role, f"{role} of the estimator", f"{role} of this estimator") if n not in table.column_names)
            table = table.append_column(given[role], values)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        with told():
            self.learner_ = Learner(kind=kind, seed=seed, examples=False, **given).fit(table, progress=silent)
        return self

    def _table(self, X: Any, reset: bool) -> pa.Table:
        """Frames as they are; arrays of numbers as scikit-learn reads them; other arrays as columns of cells."""
        words = isinstance(X, (list, np.ndarray)) and any(isinstance(v, str) for v in np.asarray(X, object).ravel()[:1000])
        if words or hasattr(X, "iloc") or hasattr(X, "column_names") or hasattr(X, "get_columns"):
            X = np.asarray(X, object) if words else X
            validate_data(self, X, reset=reset, skip_check_array=True)
            with told():
                return read_table([{f"x{i}": cell for i, cell in enumerate(row)} for row in X] if words else X).data
        X = validate_data(self, X, reset=reset, dtype="numeric", ensure_all_finite="allow-nan")
        return pa.table({f"x{i}": np.asarray(x_B, float) for i, x_B in enumerate(X.T)})

    def _said(self, X: Any) -> np.ndarray:
        """Scores, in row order."""
        check_is_fitted(self, "learner_")
        table = self._table(X, reset=False)
        with told():
            return np.asarray(self.learner_.predictions(table)[0].score)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.string = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if "learner_" in state:
            with tempfile.TemporaryDirectory() as folder, io.BytesIO() as file:
                state["learner_"].save(Path(folder) / "model")
                with zipfile.ZipFile(file, "w") as archive:
                    for path in sorted(p for p in Path(folder).rglob("*") if p.is_file()):
                        archive.write(path, path.relative_to(folder))
                state["learner_"] = file.getvalue()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "learner_" in state:
            with tempfile.TemporaryDirectory() as folder:
                with zipfile.ZipFile(io.BytesIO(state["learner_"])) as archive:
                    archive.extractall(folder)
                learner = Learner.load(Path(folder) / "model")
            roots = state["media_root"]  # which a model doesn't keep
            learner.job = Learner(learner.job, **{"media_root": roots} if roots else {}).job
            state = {**state, "learner_": learner}
        super().__setstate__(state)


def warn_of_order(X: Any, y: Any) -> None:
    """Frames are matched by position; where their indices differ, that is said."""
    if hasattr(X, "iloc") and hasattr(y, "iloc") and len(X) == len(y) and not X.index.equals(y.index):
        warnings.warn("X and y have different indices; rows are matched by position", UserWarning, stacklevel=3)


class CrossModalClassifier(ClassifierMixin, CrossModal):  # type: ignore[misc]
    """Classes from frames whose columns hold pictures, text and plain values, or from arrays.

    >>> import numpy as np
    >>> x = np.arange(40.0).reshape(-1, 1)
    >>> CrossModalClassifier().fit(x, x[:, 0] > 19).predict([[3.0], [35.0]]).tolist()
    [False, True]
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> CrossModal:
        """X: frame or [B, F]; y, sample_weight: [B]. Raises ValueError for what cannot be learnt."""
        warn_of_order(X, y)
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        self.classes_, code = np.unique(y, return_inverse=True)
        names = [str(text_of(c.item() if hasattr(c, "item") else c)) for c in self.classes_]
        if len(names) < 2:
            raise ValueError(f"{type(self).__name__} needs at least two classes; y holds {names or None}: one class at most")
        self.names_ = names if len({n.strip() for n in names}) == len(names) else [str(i) for i in range(len(names))]
        called = dict(zip(self.classes_.tolist(), self.names_, strict=True))
        return self._learn(X, np.array(self.names_, object)[code], sample_weight, "classify", called)

    def predict_proba(self, X: Any) -> np.ndarray:
        """[B, C], in the order of `classes_`."""
        return self._said(X)[:, [(self.learner_.classes or []).index(name) for name in self.names_]]

    def predict(self, X: Any) -> np.ndarray:
        """The class that is said of each row, [B]: the likeliest, or by the threshold that the metric asks for."""
        check_is_fitted(self, "learner_")
        at = {name: i for i, name in enumerate(self.names_)}
        return np.asarray(self.classes_[[at[name] for name in self.learner_.decide(self._said(X))]])


class CrossModalRegressor(RegressorMixin, CrossModal):  # type: ignore[misc]
    """Values, likewise."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> CrossModal:
        """X: frame or [B, F]; y, sample_weight: [B]. Raises ValueError for what cannot be learnt."""
        warn_of_order(X, y)
        return self._learn(X, np.asarray(column_or_1d(y, warn=True, dtype=np.float64)), sample_weight, "regress", {})

    def predict(self, X: Any) -> np.ndarray:
        """[B]."""
        return self._said(X)


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Users' errors as the ValueError that scikit-learn's callers expect."""
    try:
        yield
    except UserError as e:
        raise ValueError(str(e)) from e
