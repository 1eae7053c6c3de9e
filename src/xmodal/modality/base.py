"""The contract of a modality: recognise a column; open a cell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, Protocol

import pyarrow as pa

from xmodal.job import Json
from xmodal.media import Media, Raw
from xmodal.table import Guess


class Modality(Protocol):
    """`family`: media cells are opened and extracted; text and plain cells are their own features."""

    family: ClassVar[Literal["media", "text", "plain"]]
    options: ClassVar[Mapping[str, Json]]  # of a reading that is asked for, not recognised

    def recognise(self, column: pa.ChunkedArray, media: Media) -> Guess | None:
        """Whether this column may be of this modality: from every value if plain, else from at most 100 headers."""
        ...


class MediaModality(Modality, Protocol):
    """One whose cells are files or bytes."""

    def open(self, cell: object, media: Media) -> Raw:
        """Header checked, nothing decoded. Raises MediaError."""
        ...
