"""From cells to features: computed once a distinct cell, ever."""

from __future__ import annotations

from xmodal.features.build import build, build_row
from xmodal.features.column import FeatureColumn, Fitted, Spec
from xmodal.features.counts import Broken, Counts
from xmodal.features.store import Store

__all__ = ["Broken", "Counts", "FeatureColumn", "Fitted", "Spec", "Store", "build", "build_row"]
