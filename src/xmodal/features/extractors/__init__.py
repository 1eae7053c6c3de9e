"""Extractors, by name."""

from __future__ import annotations

from xmodal.features.extractors.base import Extractor
from xmodal.features.extractors.curves import Curves
from xmodal.features.extractors.descriptor import Descriptor
from xmodal.features.extractors.pen import Pen
from xmodal.features.extractors.pixels import Pixels

EXTRACTORS: dict[str, type[Extractor]] = {"curves": Curves, "descriptor": Descriptor, "pen": Pen, "pixels": Pixels}
# What classic experts and the descriptor encoder read of each modality: dense features, each a block of its own.
CLASSIC: dict[str, Extractor] = {"image": Descriptor(), "strokes": Curves()}

__all__ = ["CLASSIC", "EXTRACTORS", "Extractor"]
