"""Experts: trained answers of every family."""

from __future__ import annotations

from xmodal.experts.agreement import Agreement
from xmodal.experts.base import Expert
from xmodal.experts.boosted import Boosted
from xmodal.experts.correction import Correction
from xmodal.experts.deep import Deep
from xmodal.experts.forest import Forest
from xmodal.experts.linear import Linear

EXPERTS: dict[str, type[Expert]] = {
    "linear": Linear, "boosted": Boosted, "forest": Forest, "agreement": Agreement, "deep": Deep, "correction": Correction
}  # fmt: skip
