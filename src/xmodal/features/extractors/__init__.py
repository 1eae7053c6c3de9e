"""Extractors, by name."""

from __future__ import annotations

from xmodal.features.extractors.base import Extractor
from xmodal.features.extractors.descriptor import Descriptor
from xmodal.features.extractors.pixels import Pixels

EXTRACTORS: dict[str, type[Extractor]] = {"descriptor": Descriptor, "pixels": Pixels}

__all__ = ["EXTRACTORS", "Extractor"]
