"""A few rows of the table as a report shows them: pictures small, texts cut."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from xmodal.errors import MediaError
from xmodal.features.column import FeatureColumn
from xmodal.job import Json, Key, State, registered
from xmodal.media import attempt
from xmodal.modality import MODALITIES, MediaModality, family
from xmodal.prepare import Opened
from xmodal.report.html import cut

SIDE, LETTERS, CELLS, ROOM = 96, 300, 12, 300_000  # pixels; of a text; of a row; bytes of all pictures


def drawn(opened: Opened, columns: Mapping[Key, FeatureColumn], picked: list[Any]) -> list[Json]:
    """`picked` (row, and what was said of it) with the truth and some cells: [column, kind, content]; kind: text, image (JPEG
    in base64), or a note on why there is neither."""
    found, room = list[Json](), ROOM
    for one in picked:
        row, cells = one["row"], list[Json]()
        for key, name in [(k, c) for k, i in opened.inputs.items() for c in i.columns][:CELLS]:
            raw = opened.table.data[name][row].as_py() if name in opened.table.data.column_names else None
            reading, state = opened.readings[name], State(columns[key].state_B[row])
            if family(reading) == "plain":
                state = reading.cell(raw)[1]
            kind, content = ("note", "missing" if state == State.MISSING else "unreadable") if state else ("text", cut(raw, LETTERS))
            if kind == "text" and family(reading) == "media":
                small = attempt(thumbnail, reading.modality, raw, opened)
                kind, content = ("note", small.reason) if isinstance(small, MediaError) else ("image", small)
                room -= len(content)
            cells.append([name, kind, content] if room > 0 or kind != "image" else [name, "note", "not kept, for its size"])
        found.append({**one, "row": row + 1, "truth": opened.labels[row].as_py(), "cells": cells})
    return found


def thumbnail(modality: str, raw: Any, opened: Opened) -> str:
    """JPEG in base64. Raises MediaError, for media that are no pictures too."""
    media: MediaModality = registered("modalities", MODALITIES, modality)  # type: ignore[assignment]
    pixels = media.open(raw, opened.media).load()
    if pixels.dtype != np.uint8 or pixels.ndim != 3:
        raise MediaError(f"{modality}, which is not drawn", "no picture")
    image, file = Image.fromarray(pixels), io.BytesIO()
    image.thumbnail((SIDE, SIDE))
    image.save(file, "JPEG", quality=80)
    return base64.b64encode(file.getvalue()).decode()
