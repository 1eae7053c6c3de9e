"""Extractors, by name."""

from __future__ import annotations

from xmodal.features.extractors.audio import LogMel, Mfcc
from xmodal.features.extractors.base import Extractor
from xmodal.features.extractors.descriptor import Descriptor
from xmodal.features.extractors.frames import Frames
from xmodal.features.extractors.motion import Motion
from xmodal.features.extractors.pixels import Pixels

EXTRACTORS: dict[str, type[Extractor]] = {
    "descriptor": Descriptor, "pixels": Pixels, "motion": Motion, "frames": Frames, "logmel": LogMel, "mfcc": Mfcc
}  # fmt: skip
# What classic experts and the descriptor encoder read of each modality: dense features, each a block of its own.
CLASSIC: dict[str, Extractor] = {"image": Descriptor(), "video": Motion(), "audio": Mfcc()}

__all__ = ["CLASSIC", "EXTRACTORS", "Extractor"]
