"""What every modality must hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import pyarrow as pa

from xmodal.errors import MediaError
from xmodal.job import State
from xmodal.media import Cell, Media, attempt
from xmodal.modality import MediaModality, Modality
from xmodal.table import Reading


def check_modality(modality: Modality, good: Sequence[Cell], bad: Sequence[Cell], media: Media) -> None:
    """A column of good cells is recognised; each reads alone as in the column; bad cells are BROKEN or MISSING, and
    nothing but MediaError comes out of them. Raises AssertionError."""
    column = pa.chunked_array([pa.array(good)])
    assert modality.recognise(column[:0], media) is None, "recognised where there is no cell"
    guess = modality.recognise(column, media)
    assert guess is not None and 0 < guess.score <= 1 and guess.reading.reason, f"{good!r} is not recognised"
    reading = guess.reading
    assert Reading(**vars(reading)) == reading
    values, state_B = reading.parse(column)
    for cell, value, state in zip(good, values.to_pylist(), state_B, strict=True):
        alone, own = reading.cell(cell)
        same = np.array_equal(value, alone, equal_nan=True) if isinstance(alone, np.ndarray) else value == alone
        assert same and own == state == State.PRESENT, f"{cell!r} alone reads otherwise"
    if modality.family != "media":
        assert all(reading.cell(cell)[1] in (State.MISSING, State.BROKEN) for cell in bad), f"one of {bad!r} is PRESENT"
        return
    opens = cast(MediaModality, modality).open
    for cell in good:
        one, two = opens(cell, media), opens(cell, media)
        assert one.digest == two.digest and np.array_equal(one.load(), two.load(), equal_nan=True), f"{cell!r} opens differently twice"
    for cell in bad:
        error = attempt(lambda c: opens(c, media).load(), cell)
        assert isinstance(error, MediaError), f"{cell!r} opens, though it is bad"
        assert error.reason and error.where, "a MediaError says what and where"
