"""Heads, by the kind of task they answer."""

from __future__ import annotations

from xmodal.heads.base import Head
from xmodal.heads.classify import ClassifyHead
from xmodal.heads.multilabel import MultiLabelHead
from xmodal.heads.regress import RegressHead

HEADS: dict[str, type[Head]] = {"classify": ClassifyHead, "regress": RegressHead, "multilabel": MultiLabelHead}
