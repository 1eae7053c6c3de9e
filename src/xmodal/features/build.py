"""From a table, or from one row, to the features of every input."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from xmodal.errors import MediaError
from xmodal.features.column import FeatureColumn
from xmodal.features.corrupt import Corruption, corrupted
from xmodal.features.counts import Counts
from xmodal.features.extract import for_workers, media_columns, row_column, run_networks, text_features, together
from xmodal.features.extractors import Extractor, Frozen
from xmodal.features.store import Store
from xmodal.features.typed import gaps_in, plain, shaped, text, vectors, width_of
from xmodal.features.worker import Extraction, Kept, media_modality
from xmodal.job import Input, Json, Key, Progress, State
from xmodal.media import Cell, Media, attempt
from xmodal.table import Reading, Table

Readings = Mapping[str, Reading]
Inputs = Mapping[Key, Input]
Extractors = Mapping[Key, Sequence[Extractor]]
Columns = dict[Key, FeatureColumn]


def build(
    table: Table, readings: Readings, inputs: Inputs, extractors: Extractors, media: Media, store: Store | None = None,
    progress: Progress = lambda *_: None, corruption: Corruption | None = None,
) -> tuple[Columns, Counts]:  # fmt: skip
    """Features of every input for every row. A column that the table lacks is all missing. `store`: None is the default one; what is
    corrupted should have one of its own."""
    counts, columns = Counts(first=table.first), {}
    none = pa.chunked_array([pa.nulls(table.data.num_rows)])
    for key, item in inputs.items():
        start = time.perf_counter()
        held = {name: table.column(name) if name in table.data.column_names else none for name in item.columns}
        parsed = [readings[name].parse(column) for name, column in zip(item.reads, held.values(), strict=True)]
        if item.modality == "table":
            columns[key] = plain(item, [v for v, _ in parsed], np.stack([s for _, s in parsed], 1))
            columns[key] = corrupted(columns[key], corruption) if corruption else columns[key]
            for name, (value_B, _) in zip(held, parsed, strict=True):
                low, high = readings[name].range
                far = ((x := np.asarray(value_B)) < low).sum() + (x > high).sum() if np.isfinite(low) else 0
                if far:
                    counts.notes.append(f"column {name!r}: {far} cells lie outside {low} to {high}, where the fit has seen values")
        elif item.modality == "text":
            columns[key] = text(*parsed[0])
            columns[key] = corrupted(columns[key], corruption) if corruption else columns[key]
            for e in extractors.get(key, ()):
                assert isinstance(e, Frozen)
                columns[key] = text_features(columns[key], e, store or Store(), counts, partial(progress, f"features of {item.name}"))
        elif item.modality == "vector":
            columns[key] = vectors(pc.list_flatten(parsed[0][0]).to_numpy(), parsed[0][1], width_of(readings[item.reads[0]]))
            columns[key] = corrupted(columns[key], corruption) if corruption else columns[key]
        elif key not in columns:
            items = together_read(item, inputs)
            extraction = Extraction({i.modality: tuple(extractors[i.key]) for i in items}, media, corruption)
            split = partial(media_modality(item.modality).files, media=media, options=readings[item.reads[0]].options)
            columns |= media_columns(items, extraction, split, store or Store(), counts, progress, *parsed[0])
        if item.modality == "sequence":
            columns[key] = shaped(columns[key], width_of(readings[item.reads[0]]), counts, item.name)
        if gaps := gaps_in(columns[key]):
            counts.notes.append(f"column {item.name!r}: {gaps} numbers are missing within its cells: the mean of training stands for them")
        for (name, column), (_, state_B) in zip(held.items(), parsed, strict=True):
            counts.loses(name, lost := np.flatnonzero(state_B == State.BROKEN))
            for row in lost.tolist():
                cell = column[row].as_py()
                cell = f"{cell[:60]}…" if isinstance(cell, str) and len(cell) > 60 else cell
                got = "a nested object" if isinstance(cell, dict) else repr(cell)
                kind = readings[name].modality if item.modality == "table" else item.modality
                wanted = f"{width_of(readings[item.reads[0]])} numbers" if kind == "vector" else f"a {kind}"
                counts.breaks(MediaError(f"not {wanted}", got), name, row)
        states = [s for _, s in parsed] if item.modality == "table" else [columns[key].state_B]
        size = sum(a.nbytes for a in columns[key].dense.values()) + sum(v.nbytes for v, _ in columns[key].ragged.values())
        lack = {n: [int((s == State.MISSING).sum()), int((s == State.BROKEN).sum())] for n, s in zip(item.columns, states, strict=True)}
        counts.inputs[key] = {"seconds": time.perf_counter() - start, "bytes": size, "columns": cast(Json, lack)}
    return columns, counts


def together_read(item: Input, inputs: Inputs) -> list[Input]:
    """The media inputs of one column, which is read once for all of them."""
    return [i for i in inputs.values() if i.columns == item.columns and i.modality not in ("table", "text")]


def build_row(
    cells: Mapping[str, Cell], readings: Readings, inputs: Inputs, extractors: Extractors, media: Media, kept: Kept | None = None
) -> Columns:
    """The same features for one row (U = 1): no Arrow, no store, no hashing of contents. `kept`: the processes that earlier rows started
    for cells that may take long."""
    columns, kept = Columns(), kept or Kept()
    for key, item in inputs.items():
        whole = [readings[read].among(cells) for read in item.reads]
        values, states = zip(*(readings[read].cell(cell) for read, cell in zip(item.reads, whole, strict=True)), strict=True)
        if item.modality == "table":
            columns[key] = plain(item, [[v] for v in values], np.array([states]))
            continue
        value, state = values[0], states[0]
        if item.modality == "text":
            content = (value or "").encode(errors="replace")
            ragged = {"text": (np.frombuffer(content, np.uint8), np.array([0, len(content)][: 1 + bool(content)]))}
            at = np.array([[0 if state == State.PRESENT else -1]])
            dense: dict[str, np.ndarray] = {}
            for e in extractors.get(key, ()):
                assert isinstance(e, Frozen)
                dense |= together(e, e.many([{"text": ragged["text"][0]}] if content else []))[0]
            columns[key] = FeatureColumn(dense, ragged, at, np.array([state], np.int8))
            continue
        if item.modality == "vector":
            flat = np.zeros(0) if value is None else value
            columns[key] = vectors(flat, np.array([state], np.int8), width_of(readings[item.reads[0]]))
            continue
        if key in columns:
            continue
        items, split = together_read(item, inputs), media_modality(item.modality).files
        files = attempt(split, value, media, readings[item.reads[0]].options) if state == State.PRESENT else []
        extraction = Extraction({i.modality: for_workers(extractors[i.key]) for i in items}, media)
        made = [files] if isinstance(files, MediaError) else [kept.ask(item.columns[0], extraction, file) for file in files]
        for i in items:
            mine = [m if isinstance(m, MediaError) else m[i.modality] for m in made]
            run_networks(extractors[i.key], [m for m in mine if not isinstance(m, MediaError)], Counts())
            columns[i.key] = row_column(mine, extractors[i.key], state)
            if i.modality == "sequence":
                columns[i.key] = shaped(columns[i.key], width_of(readings[i.reads[0]]), Counts(), i.name)
    return columns
