"""A few rows of the table as a report shows them: pictures small, texts cut."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any

from PIL import Image

from xmodal.errors import MediaError
from xmodal.features.column import FeatureColumn
from xmodal.features.worker import media_modality
from xmodal.job import Json, Key, State
from xmodal.media import attempt
from xmodal.modality import family
from xmodal.prepare import Opened
from xmodal.report.html import cut
from xmodal.table import Reading

SIDE, LETTERS, CELLS, ROOM = 96, 300, 12, 300_000  # pixels; of a text; of a row; bytes of all pictures


def drawn(opened: Opened, columns: Mapping[Key, FeatureColumn], picked: list[Any]) -> list[Json]:
    """`picked` (row, and what was said of it) with the truth and some cells: [column, kind, content]; kind: text, image (JPEG
    in base64), svg (in base64), or a note on why there is none."""
    found, room = list[Json](), ROOM
    for one in picked:
        row, cells = one["row"], list[Json]()
        for key, name in [(k, n) for k, i in opened.inputs.items() for n in i.reads][:CELLS]:
            reading, state = opened.readings[name], State(columns[key].state_B[row])
            raw = opened.table.data[reading.column][row].as_py() if reading.column in opened.table.data.column_names else None
            if family(reading) == "plain":
                state = reading.cell(raw)[1]
            kind, content = ("note", "missing" if state == State.MISSING else "unreadable") if state else ("text", cut(raw, LETTERS))
            if kind == "text" and family(reading) == "media":
                small = attempt(thumbnail, reading, raw, opened)
                kind, content = ("note", small.reason) if isinstance(small, MediaError) else small
                room -= len(content)
            cells.append([name, kind, content] if room > 0 or kind in ("text", "note") else [name, "note", "not kept, for its size"])
        found.append({**one, "row": row + 1, "truth": opened.labels[row].as_py(), "cells": cells})
    return found


def thumbnail(reading: Reading, raw: Any, opened: Opened) -> tuple[str, str]:
    """How the first file of a cell is shown, and that: a JPEG or SVG, in base64. Raises MediaError."""
    media = media_modality(reading.modality)
    files = media.files(raw, opened.media, reading.options)
    if not files:
        raise MediaError("missing", reading.column)
    drawing = media.draw(media.open(files[0], opened.media))
    if isinstance(drawing, str):
        return "svg", base64.b64encode(drawing.encode()).decode()
    image, file = Image.fromarray(drawing), io.BytesIO()
    image.thumbnail((SIDE, SIDE))
    image.save(file, "JPEG", quality=80)
    return "image", base64.b64encode(file.getvalue()).decode()
