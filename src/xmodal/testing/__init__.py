"""What every part must hold, for plugins too: each check raises AssertionError."""

from __future__ import annotations

from xmodal.testing.experts import check_expert
from xmodal.testing.modality import check_modality
from xmodal.testing.network import check_encoder, check_fusion, check_head

__all__ = ["check_encoder", "check_expert", "check_fusion", "check_head", "check_modality"]
