"""Cross-modal learning on tables: pictures, text and numbers in, a trusted answer out."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xmodal.errors import (
        ArtefactError,
        ConfigError,
        MediaError,
        MissingExtra,
        TableError,
        TargetError,
        UserError,
        WorkerError,
        XmodalError,
    )
    from xmodal.estimators import CrossModalClassifier, CrossModalRegressor
    from xmodal.job import Job
    from xmodal.learner import Learner, Predictor

__version__ = "0.1.0"
__all__ = [
    "ArtefactError", "ConfigError", "CrossModalClassifier", "CrossModalRegressor", "Job", "Learner", "MediaError", "MissingExtra",
    "Predictor", "TableError", "TargetError", "UserError", "WorkerError", "XmodalError",
]  # fmt: skip
HOME = {
    "Learner": "xmodal.learner",
    "Predictor": "xmodal.learner",
    "Job": "xmodal.job",
    "CrossModalClassifier": "xmodal.estimators",
    "CrossModalRegressor": "xmodal.estimators",
}  # the rest: xmodal.errors


def __getattr__(name: str) -> object:
    """Import on first use: torch alone takes longer than `xmodal --help` may."""
    if name not in __all__:
        raise AttributeError(f"module 'xmodal' has no attribute {name!r}")
    return getattr(import_module(HOME.get(name, "xmodal.errors")), name)
