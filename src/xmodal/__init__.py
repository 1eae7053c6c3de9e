"""Cross-modal learning on tables: pictures, text and numbers in, a trusted answer out."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from xmodal.errors import (
    Absent,
    ArtefactError,
    ConfigError,
    MediaError,
    MissingExtra,
    TableError,
    TargetError,
    Unfound,
    UserError,
    WorkerError,
    XmodalError,
)  # fmt: skip

if TYPE_CHECKING:
    from xmodal.estimators import CrossModalClassifier, CrossModalRegressor
    from xmodal.job import Job
    from xmodal.learner import Learner, Predictor

__version__ = "0.1.0"
__all__ = [
    "Absent", "ArtefactError", "ConfigError", "CrossModalClassifier", "CrossModalRegressor", "Job", "Learner", "MediaError",
    "MissingExtra", "Predictor", "TableError", "TargetError", "Unfound", "UserError", "WorkerError", "XmodalError",
]  # fmt: skip
HOMES = {"CrossModalClassifier": "estimators", "CrossModalRegressor": "estimators", "Job": "job"}  # the rest: learner


def __getattr__(name: str) -> object:
    """Import on first use: torch alone takes longer than `xmodal --help` may."""
    if name not in __all__:
        raise AttributeError(f"module 'xmodal' has no attribute {name!r}")
    return getattr(import_module("xmodal." + HOMES.get(name, "learner")), name)
