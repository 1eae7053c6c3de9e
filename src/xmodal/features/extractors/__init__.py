"""Extractors, by name."""

from __future__ import annotations

from xmodal.features.extractors.audio import LogMel, Mfcc
from xmodal.features.extractors.base import Extractor, Frozen
from xmodal.features.extractors.curves import Curves
from xmodal.features.extractors.descriptor import Descriptor
from xmodal.features.extractors.frames import Frames
from xmodal.features.extractors.motion import Motion
from xmodal.features.extractors.pen import Pen
from xmodal.features.extractors.pixels import Pixels
from xmodal.features.extractors.scaled import Scaled, ScaledFrames, Waveform
from xmodal.features.extractors.series import Steps, Summary

EXTRACTORS: dict[str, type[Extractor]] = {
    "descriptor": Descriptor, "pixels": Pixels, "scaled": Scaled, "motion": Motion, "frames": Frames, "logmel": LogMel, "mfcc": Mfcc,
    "scaled-frames": ScaledFrames, "waveform": Waveform, "curves": Curves, "pen": Pen, "steps": Steps, "summary": Summary,
}  # fmt: skip
# What classic experts and the descriptor encoder read of each modality: dense features, each a block of its own.
CLASSIC: dict[str, Extractor] = {"image": Descriptor(), "video": Motion(), "audio": Mfcc(), "strokes": Curves(), "sequence": Summary()}

__all__ = ["CLASSIC", "EXTRACTORS", "Extractor", "Frozen"]
