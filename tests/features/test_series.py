"""Statistics of sequences, against plain loops."""

from __future__ import annotations

import io
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xmodal.encoders.sequence import Recurrent
from xmodal.experts.deep import left_out, say_unread
from xmodal.features import Store, build
from xmodal.features.extractors import CLASSIC, EXTRACTORS
from xmodal.features.extractors.series import Steps, Summary, summary_size
from xmodal.job import Input
from xmodal.media import Media
from xmodal.modality.sequence import Series
from xmodal.table import Reading, read_table

RANDOM = np.random.default_rng(0)


def npy(x: np.ndarray) -> bytes:
    np.save(file := io.BytesIO(), x)
    return file.getvalue()


def of(extractor: Steps | Summary, x: np.ndarray) -> dict[str, np.ndarray]:
    found = extractor.one(Series(npy(x), "x"))
    assert found.keys() == extractor.empty.keys()
    assert all(a.dtype == extractor.empty[n].dtype for n, a in found.items())
    return found


def summed(x: np.ndarray) -> list[float]:
    """A value at a time."""
    rows = x.tolist()
    names: list[list[float]] = [[] for _ in range(11)]
    bounds = [0] * 4
    for k in range(4):  # numpy's array_split: the first parts are the longer ones
        bounds[k] = len(rows) // 4 + (k < len(rows) % 4)
    for d in range(x.shape[1]):
        values = [row[d] for row in rows]
        told = [v for v in values if not math.isnan(v)]
        mean = sum(told) / len(told) if told else math.nan
        deviation = math.sqrt(sum((v - mean) ** 2 for v in told) / len(told)) if told else math.nan
        moves = [b - a for a, b in pairwise(values) if not math.isnan(a) and not math.isnan(b)]
        middle = sum(moves) / len(moves) if moves else math.nan
        change = math.sqrt(sum((m - middle) ** 2 for m in moves) / len(moves)) if moves else (0.0 if len(rows) == 1 else math.nan)
        ends = (told[0], told[-1]) if told else (math.nan, math.nan)
        parts, at = [], 0
        for size in bounds if len(rows) >= 4 else [len(rows)] * 4:
            part = [v for v in values[at : at + size] if not math.isnan(v)]
            parts.append(sum(part) / len(part) if part else math.nan)
            at += size if len(rows) >= 4 else 0
        low, high = (min(told), max(told)) if told else (math.nan, math.nan)
        for k, v in enumerate([mean, deviation, low, high, *ends, change, *parts]):
            names[k].append(v)
    return [v for one in names for v in one] + [math.log(1 + len(rows))]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 11, 40])
@pytest.mark.parametrize("gaps", [0.0, 0.4])
def test_the_summary_is_a_plain_loop(count: int, gaps: float) -> None:
    x = RANDOM.normal(3, 2, (count, 3)).astype(np.float32)
    x[RANDOM.random(x.shape) < gaps] = np.nan
    x[0, 0], x[:, 2] = 1.5, np.nan if gaps else x[:, 2]
    found = of(Summary(), x)
    np.testing.assert_allclose(found["summary"], summed(x.astype(float)), rtol=1e-5, atol=1e-6)
    assert len(found["summary"]) == summary_size(3)
    assert (found["width"], found["gaps"], found["length"]) == (3, np.isnan(x).sum(), count)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 50), st.integers(1, 50), st.integers(1, 3))
def test_of_long_sequences_the_first_and_the_last_steps_are_kept(count: int, most: int, width: int) -> None:
    x = np.arange(count * width, dtype=np.float32).reshape(count, width)
    found = of(Steps(most=most), x)
    got, half = found["steps"].reshape(-1, width), most // 2
    want = x if count <= most else np.concatenate([x[:half], x[count - (most - half) :]])
    np.testing.assert_array_equal(got, want)
    assert found["length"] == count


def test_a_hundred_thousand_steps_are_cut_and_that_is_said(tmp_path: Path) -> None:
    cells = [npy(RANDOM.normal(size=(n, 2)).astype(np.float32)) for n in (100_000, 50, 4096)]
    item = {"main.x": Input("main.x", "sequence", ("x",))}
    readers = {"main.x": (EXTRACTORS["steps"](), CLASSIC["sequence"])}
    reading = {"x": Reading("x", "sequence", {"width": 2})}
    column = build(read_table({"x": cells}), reading, item, readers, Media(()), Store(tmp_path))[0]["main.x"]
    assert sorted(np.diff(column.ragged["steps"][1])) == [50, 4096, 4096]
    assert sorted(column.dense["length"]) == [50, 4096, 100_000]
    prepared = Recurrent.transform(Recurrent.fit(column, {}, 0), column)
    (said,) = say_unread({"x": left_out(prepared, np.arange(3))})
    assert "1 of 3" in said
    assert "'x'" in said
