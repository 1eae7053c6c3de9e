"""What every part must hold, for plugins too: each check raises AssertionError."""

from __future__ import annotations

from xmodal.testing.experts import check_expert
from xmodal.testing.modality import check_modality

__all__ = ["check_expert", "check_modality"]
