"""Cells -> Tokens -> Joint -> Output, in four public steps, each of which can be fed from a cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import torch
from torch import nn

from xmodal.batch import Batch, Cells, Examples, Links, View
from xmodal.context import Context
from xmodal.encoders.base import Encoder
from xmodal.fusion.base import Fusion
from xmodal.heads.base import Head, Output
from xmodal.job import Key, State, TableName, TaskName
from xmodal.tokens import Joint, Tokens


class Model(nn.Module):
    """`uses`: which encoder reads each input (several inputs may share one). Sub-modules are named by index: a user's
    names ("type", dots, "") would break them."""

    def __init__(
        self, encoders: Sequence[Encoder], uses: Mapping[Key, int], fusions: Mapping[TableName, Fusion], context: Context,
        heads: Mapping[TaskName, Head],
    ) -> None:  # fmt: skip
        super().__init__()
        self.encoders, self.uses = nn.ModuleList(encoders), dict(sorted(uses.items()))
        self.reads, self.fusions = {table: fusion.inputs for table, fusion in fusions.items()}, nn.ModuleList(fusions.values())
        self.context = context
        self.tasks, self.heads = {name: head.task for name, head in heads.items()}, nn.ModuleList(heads.values())

    def encode(self, batch: Batch) -> dict[Key, Tokens]:
        """Every input's tokens of every row."""
        return {key: spread(self.encoders[i](batch.cells[key].x), batch.cells[key]) for key, i in self.uses.items()}

    def fuse(self, tokens: Mapping[Key, Tokens], inputs: frozenset[Key]) -> dict[TableName, Joint]:
        """One Joint a row of every table, as if only these inputs were there."""
        joints = {}
        for (table, keys), fusion in zip(self.reads.items(), self.fusions, strict=True):
            joints[table] = fusion({k: tokens[k] if k in inputs else conceal(tokens[k]) for k in keys})
        return joints

    def connect(self, joints: Mapping[TableName, Joint], links: Links) -> dict[TableName, Joint]:
        """Rows meet."""
        met: dict[TableName, Joint] = self.context(joints, links)
        return met

    def read(self, joints: Mapping[View, Joint], examples: Mapping[TaskName, Examples]) -> dict[TaskName, Output]:
        """What each asked task's head says of its examples."""
        outputs = {}
        for (name, task), head in zip(self.tasks.items(), self.heads, strict=True):
            if name in examples:
                pairs = zip(task.views, examples[name].rows, strict=True)
                outputs[name] = head(tuple(joints[v] if r is None else joints[v].take(r) for v, r in pairs), examples[name])
        return outputs

    def answer(
        self, tokens: Mapping[Key, Tokens], links: Links, examples: Mapping[TaskName, Examples], hide: frozenset[Key] = frozenset()
    ) -> dict[TaskName, Output]:
        """From tokens on: a view may read its inputs of its own table and all of every other. Views that may read the
        same are fused once."""
        fused = cache(lambda seen: self.connect(self.fuse(tokens, seen), links))
        joints = {}
        for view in dict.fromkeys(view for name in examples for view in self.tasks[name].views):
            others = frozenset(self.reads[view.table]) - view.inputs
            joints[view] = fused(frozenset(self.uses) - hide - others)[view.table]
        return self.read(joints, examples)

    def forward(self, batch: Batch) -> dict[TaskName, Output]:
        """All four steps."""
        return self.answer(self.encode(batch), batch.links, batch.examples)


def spread(tokens: Tokens, cells: Cells) -> Tokens:
    """U cells' tokens -> B rows' tokens; several files of a cell stand side by side."""
    if cells.row_BK is None:
        return tokens
    parts = []
    for row_B in cells.row_BK.unbind(1):
        absent_B = torch.where(cells.state_B == State.PRESENT, int(State.MISSING), cells.state_B)
        parts.append(tokens.take(row_B, torch.where(row_B >= 0, int(State.PRESENT), absent_B)))
    return Tokens.beside(parts)


def conceal(tokens: Tokens) -> Tokens:
    """The tokens of rows that have no such cell."""
    return tokens.hide(torch.ones_like(tokens.state_B, dtype=torch.bool))
