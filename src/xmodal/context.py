"""Rows meet here and nowhere else: graph layers, dialogue, histories."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import nn

from xmodal.batch import Links
from xmodal.job import TableName
from xmodal.tokens import Joint


class Context(nn.Module, ABC):
    """Joints of every table -> joints that have seen the rows they are linked with."""

    @abstractmethod
    def forward(self, joints: Mapping[TableName, Joint], links: Links) -> dict[TableName, Joint]: ...


class Identity(Context):
    def forward(self, joints: Mapping[TableName, Joint], links: Links) -> dict[TableName, Joint]:
        return dict(joints)
