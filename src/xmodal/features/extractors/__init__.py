"""Extractors, by name."""

from __future__ import annotations

from xmodal.features.extractors.audio import LogMel, Mfcc
from xmodal.features.extractors.base import Extractor
from xmodal.features.extractors.descriptor import Descriptor
from xmodal.features.extractors.pixels import Pixels

EXTRACTORS: dict[str, type[Extractor]] = {"descriptor": Descriptor, "logmel": LogMel, "mfcc": Mfcc, "pixels": Pixels}
# What classic experts and the descriptor encoder read of each modality: dense features, each a block of its own.
CLASSIC: dict[str, Extractor] = {"image": Descriptor(), "audio": Mfcc()}

__all__ = ["CLASSIC", "EXTRACTORS", "Extractor"]
