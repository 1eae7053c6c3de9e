"""What is prepared in parts is what is prepared at once."""

import re
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.contracts.test_networks import COLUMNS
from tests.doubles import INPUTS, table

from xmodal.encoders import ENCODERS
from xmodal.experts import data
from xmodal.experts.descriptors import DESCRIPTORS
from xmodal.features import FeatureColumn, Fitted
from xmodal.splits import thin

READERS = [*ENCODERS.values(), *DESCRIPTORS.values()]


@pytest.mark.parametrize("reader", READERS, ids=lambda r: r.__name__)
def test_a_long_column_is_prepared_in_parts(monkeypatch, reader):
    found, pixels = [], np.random.default_rng(0).integers(0, 256, (79, 8, 8, 3), np.uint8)
    columns = dict(table("classify")[1].columns)
    columns["main.pic"] = replace(columns["main.pic"], dense={**columns["main.pic"].dense, "pixels": pixels})
    columns["main.none"] = replace(columns["main.table"], dense={**columns["main.table"].dense, "date": np.zeros((80, 0))})
    for key, column in ((k, columns[k]) for k in (*INPUTS, "main.none")):
        reads = getattr(reader, "modality", {m for m, d in DESCRIPTORS.items() if d is reader})
        if INPUTS.get(key, INPUTS["main.table"]).modality in reads:
            found.append(column)
    others = [column for name, some in COLUMNS.items() if ENCODERS[name] is reader for column in some]
    for column, part in [(column, 7) for column in found] or [(column, 2) for column in others]:
        fitted = reader.fit(column.compact(), {}, 0)
        whole = reader.transform(fitted, column)
        monkeypatch.setattr(data, "PART", part)
        parts = data.in_parts(reader, fitted, column)
        assert (
            parts.cells == whole.cells >= 2 * part
            and parts.dense.keys() == whole.dense.keys()
            and parts.ragged.keys() == whole.ragged.keys()
        )
        taken, again = (c.take(np.arange(c.cells)) for c in (whole, parts))
        for name, array in taken.items():
            np.testing.assert_allclose(again[name], array, rtol=1e-5, atol=1e-6)
        assert parts.row_BK is column.row_BK and parts.state_B is column.state_B
    assert found or others


@pytest.mark.parametrize("reader", DESCRIPTORS.values(), ids=lambda r: r.__name__)
def test_of_a_long_column_only_the_rows_asked_for_are_prepared(monkeypatch, reader):
    key = next(k for k, one in INPUTS.items() if DESCRIPTORS.get(one.modality) is reader)
    whole, some = (replace(table("classify")[1], cache={}, some={}) for _ in range(2))
    fitted, rows = whole.fit_part(key, reader, {}, np.arange(40)), np.array([5, 3, 70, 5])
    expected = whole.transformed(key, reader, fitted, rows)
    monkeypatch.setattr(data, "MOST", 10)
    found = some.transformed(key, reader, fitted, rows)
    assert found.cells < expected.cells and found is some.transformed(key, reader, fitted, rows.copy())
    assert len(some.transformed(key, reader, fitted, rows[:2])) == 2
    for row in range(len(rows)):
        (a, b) = (c.take(c.row_BK[row][c.row_BK[row] >= 0]) for c in (found, expected))
        assert a.keys() == b.keys()
        for name, array in b.items():
            np.testing.assert_allclose(a[name], array, rtol=1e-5, atol=1e-6)


def test_rows_are_thinned_in_order_and_by_the_seed_alone():
    rows = np.arange(100, 1100)
    some = thin(rows, 50, 3)
    assert len(some) == 50 and (np.diff(some) > 0).all() and np.isin(some, rows).all()
    assert np.array_equal(some, thin(rows, 50, 3)) and not np.array_equal(some, thin(rows, 50, 4)) and thin(rows, 1000, 0) is rows


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells what is resident")
def test_what_is_mapped_gives_its_memory_back():
    def resident():
        return int(re.search(r"RssFile:\s+(\d+)", Path("/proc/self/status").read_text())[1]) * 1024

    with tempfile.TemporaryFile() as file:
        numbers = np.arange(8 << 20, dtype=np.float32)
        file.write(numbers.data)
        column = FeatureColumn(
            {"x": data.mapped(file, np.dtype(np.float32), (), len(numbers))}, {}, np.zeros((1, 1), int), np.zeros(1, int)
        )
    kept = data.TableData({}, {}, cache={("x",): (Fitted(), column)})
    assert np.array_equal(column.dense["x"], numbers)
    before = resident()
    kept.rest()
    assert before - resident() > 0.9 * numbers.nbytes
    assert np.array_equal(column.dense["x"], numbers)
