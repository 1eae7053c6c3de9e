"""Extractors, by name."""

from __future__ import annotations

from xmodal.features.extractors.base import Extractor
from xmodal.features.extractors.descriptor import Descriptor
from xmodal.features.extractors.pixels import Pixels
from xmodal.features.extractors.series import Steps, Summary

EXTRACTORS: dict[str, type[Extractor]] = {"descriptor": Descriptor, "pixels": Pixels, "steps": Steps, "summary": Summary}
# What classic experts and the descriptor encoder read of each modality: dense features, each a block of its own.
CLASSIC: dict[str, Extractor] = {"image": Descriptor(), "sequence": Summary()}

__all__ = ["CLASSIC", "EXTRACTORS", "Extractor"]
