from __future__ import annotations

import shutil
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import xmodal
from xmodal.errors import MediaError, WorkerError
from xmodal.features import Broken, FeatureColumn, Store, build, build_row
from xmodal.features import worker as pools
from xmodal.features.extractors.descriptor import Descriptor
from xmodal.features.extractors.pixels import Pixels
from xmodal.job import Input, State
from xmodal.media import Media
from xmodal.table import Reading, Table

Draw = Callable[[int], list[str]]
PICTURE = {"main.pic": Input("main.pic", "image", ("pic",))}
READ = {"pic": Reading("pic", "image")}
BOTH = {"main.pic": [Descriptor(), Pixels()]}
SOURCE = str(Path(xmodal.__file__).parents[1])


def pictures(cells: list[str | bytes | None], root: Path, extractors: dict[str, list[Descriptor | Pixels]] = BOTH):  # type: ignore[no-untyped-def]
    data = Table(pa.table({"pic": pa.array(cells)}), "test")
    columns, counts = build(data, READ, PICTURE, extractors, Media((root / "pics",)), Store(root / "store"))
    return columns["main.pic"], counts


def same(row: FeatureColumn, column: FeatureColumn, at: int) -> None:
    """A row's features alone are those in the table, bit for bit."""
    assert row.state_B[0] == column.state_B[at]
    assert (row.row_BK[0] >= 0).tolist() == (column.row_BK[at] >= 0).tolist()
    assert set(row.dense) == set(column.dense)
    assert {n: (a.shape[1:], a.dtype) for n, a in row.dense.items()} == {n: (a.shape[1:], a.dtype) for n, a in column.dense.items()}
    if row.state_B[0] == State.PRESENT:
        one, other = (c.take(c.row_BK[i]) for c, i in ((row, 0), (column, at)))
        for name, array in one.items():
            np.testing.assert_array_equal(array, other[name])


@pytest.mark.parametrize("count", [20, 60])
def test_second_build_decodes_nothing(tmp_path: Path, draw: Draw, count: int) -> None:
    names = draw(count)
    shutil.copy(tmp_path / "pics" / names[0], tmp_path / "pics" / "twin.png")
    cells = [*names, None, "", "twin.png", names[3]]
    first, counts = pictures(cells, tmp_path)
    assert (counts.decoded, counts.extracted, counts.reused, counts.broken) == (count, 2 * count, 0, [])
    assert first.cells == count
    assert first.row_BK[-1] == first.row_BK[3]
    assert first.row_BK[-2] == first.row_BK[0]
    assert first.state_B.tolist() == [0] * count + [1, 1, 0, 0]
    assert [spec.name for spec in first.specs] == ["descriptor", "pixels"]
    second, counts = pictures(cells, tmp_path)
    assert (counts.decoded, counts.extracted, counts.reused) == (0, 0, count)
    for name, array in first.dense.items():
        assert isinstance(second.dense[name], np.memmap)
        np.testing.assert_array_equal(second.dense[name], array)
    _, counts = pictures(cells, tmp_path, {"main.pic": [Descriptor(), Pixels(size=32)]})
    assert (counts.decoded, counts.extracted) == (count, count)  # only the new extractor runs
    as_bytes, counts = pictures([(tmp_path / "pics" / n).read_bytes() for n in names], tmp_path)
    assert counts.reused == count
    assert np.array_equal(as_bytes.row_BK, first.row_BK[:count])


def test_other_bytes_under_the_same_name_are_another_cell(tmp_path: Path, draw: Draw) -> None:
    import os

    a, b = (tmp_path / "pics" / n for n in draw(2))
    b.unlink()
    size = (4, 4)
    from PIL import Image

    for shade in (10, 20):
        Image.new("RGB", size, (shade, 0, 0)).save(a, "BMP")
        os.utime(a, (0, 0))
        column, counts = pictures([a.name], tmp_path)
        assert counts.decoded == 1
        assert column.dense["pixels"][column.row_BK[0, 0], 0, 0].tolist() == [shade, 0, 0]


def header(width: int, height: int) -> bytes:
    chunk = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\0\0\0"
    return b"\x89PNG\r\n\x1a\n\0\0\0\x0d" + chunk + zlib.crc32(chunk).to_bytes(4, "big") + b"\0\0\0\0IDAT"


@pytest.mark.parametrize("count", [20, 100])
def test_broken_pictures_are_counted_and_masked(tmp_path: Path, draw: Draw, count: int) -> None:
    names = draw(count)
    harm: dict[int, tuple[bytes | str, str]] = {
        1: ((tmp_path / "pics" / names[1]).read_bytes()[:-200], "damaged"),
        3: (b"", "empty"),
        5: (b"just text", "not a picture"),
        7: (header(50_000, 50_000), "pixels"),
        9: ("../secret.png", "outside"),
        11: ("none.png", "no such file"),
        13: (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
    }
    shutil.copy(tmp_path / "pics" / names[0], tmp_path / "secret.png")
    for row, (what, _) in harm.items():
        if isinstance(what, str):
            names[row] = what
        else:
            (tmp_path / "pics" / names[row]).write_bytes(what)
    column, counts = pictures(names, tmp_path)
    broken = [State.BROKEN if i in harm else State.PRESENT for i in range(count)]
    assert column.state_B.tolist() == broken
    assert ((column.row_BK[:, 0] < 0) == (column.state_B == State.BROKEN)).all()
    assert counts.decoded == column.cells == count - len(harm)
    assert len(counts.broken) == len(harm)
    for row, (_, reason) in harm.items():
        assert any(reason in e.reason and e.where == f"column 'pic', row {row + 1}: file {names[row]!r}" for e in counts.broken), reason
    for row in range(14):
        same(build_row({"pic": names[row]}, READ, PICTURE, BOTH, Media((tmp_path / "pics",)))["main.pic"], column, row)


def test_nothing_present_at_all(tmp_path: Path, draw: Draw) -> None:
    draw(1)
    column, counts = pictures([None, "no.png"], tmp_path)
    assert (column.cells, column.state_B.tolist(), len(counts.broken)) == (0, [1, 2], 1)
    assert {n: a.shape for n, a in column.dense.items()} == {"hog": (0, 1764), "colour": (0, 256), "pixels": (0, 64, 64, 3)}


def test_a_row_alone_equals_the_row_in_its_table(tmp_path: Path, draw: Draw) -> None:
    names = draw(4)
    rows = [
        {"pic": names[0], "words": "Ein Satz, größer", "n": "1.5", "c": "1.0", "d": "2024-01-02", "m": "NA"},
        {"pic": None, "words": " ", "n": "oops", "c": "", "d": None, "m": "-"},
        {"pic": names[1], "words": "", "n": "inf", "c": "x", "d": "2024-01-02T03:04:05Z", "m": "3"},
        {"pic": names[2], "words": None, "n": "", "c": None, "d": "", "m": ""},
        {"pic": "none.png", "words": "Ein Satz, größer", "n": "7", "c": "x", "d": "never", "m": "007"},
    ]
    kinds = {"pic": "image", "words": "text", "n": "number", "c": "category", "d": "date", "m": "number"}
    readings = {name: Reading(name, kind) for name, kind in kinds.items()}
    inputs = {
        **PICTURE,
        "main.words": Input("main.words", "text", ("words",)),
        "main.table": Input("main.table", "table", ("n", "c", "d", "m"), ("number", "category", "date", "number")),
    }
    media = Media((tmp_path / "pics",))
    columns, counts = build(Table(pa.Table.from_pylist(rows), "t"), readings, inputs, BOTH, media, Store(tmp_path / "store"))
    for i, row in enumerate(rows):
        for key, column in build_row(row, readings, inputs, BOTH, media).items():
            if key == "main.table":  # a row's cell is the row itself
                assert column.state_B[0] == columns[key].state_B[i]
                for name, array in column.dense.items():
                    np.testing.assert_array_equal(array[0], columns[key].dense[name][i])
            else:
                same(column, columns[key], i)
    plain = columns["main.table"]
    assert plain.state_B.tolist() == [0, 2, 0, 1, 0]
    assert plain.row_BK[:, 0].tolist() == [0, -1, 2, -1, 4]
    np.testing.assert_array_equal(plain.dense["number"], [[1.5, np.nan], [np.nan] * 2, [np.nan, 3], [np.nan] * 2, [7, 7]])
    assert plain.dense["category"].dtype == np.uint64
    assert ((plain.dense["category"][:, 0] == 0) == [False, True, False, True, False]).all()
    assert plain.dense["category"][2] == plain.dense["category"][4]
    text, offsets = columns["main.words"].ragged["text"]
    assert bytes(text) == "Ein Satz, größer".encode()
    assert offsets.tolist() == [0, len(text)]
    assert columns["main.words"].row_BK[:, 0].tolist() == [0, -1, -1, -1, 0]
    assert sorted(e.where for e in counts.broken) == [
        "column 'd', row 5: 'never'", "column 'n', row 2: 'oops'", "column 'n', row 3: 'inf'", "column 'pic', row 5: file 'none.png'"
    ]  # fmt: skip


def test_a_column_that_is_gone_is_all_missing(tmp_path: Path) -> None:
    plain = Input("main.table", "table", ("n", "c"), ("number", "category"))
    inputs = {**PICTURE, "main.words": Input("main.words", "text", ("w",)), "main.table": plain}
    readings = {n: Reading(n, k) for n, k in {"pic": "image", "w": "text", "n": "number", "c": "category"}.items()}
    made, counts = build(Table(pa.table({"other": [1, 2]}), "t"), readings, inputs, BOTH, Media(()), Store(tmp_path))
    assert not counts.broken
    alone = build_row({}, readings, inputs, BOTH, Media(()))
    for key, column in made.items():
        assert column.state_B.tolist() == [1, 1]
        assert (column.row_BK == -1).all()
        same(alone[key], column, 0)


PLUGIN = """
import os, time
from dataclasses import dataclass
from typing import ClassVar
import numpy as np
from xmodal.features.extractors import Extractor

@dataclass(frozen=True)
class Fragile(Extractor):
    name: ClassVar[str] = "fragile"
    version: ClassVar[int] = 1

    @property
    def empty(self):
        return {"first": np.zeros((0,), np.uint8)}

    def one(self, raw):
        first = raw.load()[0, 0, 0]
        print("noise on standard output")
        if first == 255:
            os._exit(9)
        if first == 254:
            time.sleep(100)
        return {"first": np.asarray(first)}
"""


@pytest.fixture
def fragile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """An installed plugin whose extractor dies of one shade and hangs on another."""
    plugin = tmp_path / "plugin"
    (plugin / "fragile-1.dist-info").mkdir(parents=True)
    (plugin / "fragile_plugin.py").write_text(PLUGIN)
    (plugin / "fragile-1.dist-info" / "METADATA").write_text("Name: fragile\nVersion: 1\n")
    (plugin / "fragile-1.dist-info" / "entry_points.txt").write_text("[xmodal.extractors]\nfragile = fragile_plugin:Fragile\n")
    monkeypatch.syspath_prepend(str(plugin))
    monkeypatch.setenv("PYTHONPATH", str(plugin))
    import fragile_plugin

    return fragile_plugin.Fragile()


def test_cells_are_asked_for_what_they_lack_alone_and_twins_are_told_each(tmp_path: Path, draw: Draw) -> None:
    names = draw(6)
    for name in ("bad.png", "worse.png"):
        (tmp_path / "pics" / name).write_bytes((tmp_path / "pics" / names[0]).read_bytes()[:60])
    cells: list[str | bytes | None] = [*names, "bad.png", "worse.png"]
    pictures(cells, tmp_path, {"main.pic": [Descriptor()]})
    column, counts = pictures(cells, tmp_path)
    assert (counts.decoded, counts.extracted, column.state_B.tolist()) == (6, 6, [0] * 6 + [2] * 2)
    assert [(e.row, "worse" in e.cell) for e in counts.broken] == [(7, False), (8, True)]
    assert counts.lost["pic"].tolist() == [6, 7]


def test_a_worker_that_dies_or_hangs_costs_its_cell_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fragile) -> None:  # type: ignore[no-untyped-def]
    from PIL import Image

    monkeypatch.setattr(pools, "TIMEOUT", 2.0)
    (tmp_path / "pics").mkdir()
    shades = [255 if i in (4, 5, 30) else 254 if i == 17 else i for i in range(60)]
    for i, shade in enumerate(shades):
        Image.new("RGB", (2, 2), (shade, i, 0)).save(tmp_path / "pics" / f"{i}.png")
    start = time.monotonic()
    column, counts = pictures([f"{i}.png" for i in range(60)], tmp_path, {"main.pic": [fragile]})
    assert time.monotonic() - start < 30
    assert np.flatnonzero(column.state_B == State.BROKEN).tolist() == [4, 5, 17, 30]
    assert column.dense["first"][column.row_BK[column.state_B == 0, 0]].tolist() == [s for s in shades if s < 254]
    assert sorted(e.reason for e in counts.broken) == ["crashes the decoder"] * 3 + ["takes too long to decode"]


def test_workers_that_cannot_start_are_our_error(tmp_path: Path, draw: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with pytest.raises(WorkerError):
        pictures(draw(40), tmp_path)


RUN = """
import sys
from pathlib import Path
import pyarrow as pa
from xmodal.features import Store
from xmodal.features.extractors.pixels import Pixels
from xmodal.job import Input
from xmodal.media import Media
from xmodal.table import Reading, Table
b, e = (sys.modules[f"xmodal.features.{name}"] for name in ("build", "extract"))
e.SHARD = 20
root, names = Path(sys.argv[1]), [f"{i:04}.png" for i in range(int(sys.argv[2]), int(sys.argv[3]))]
item = {"main.pic": Input("main.pic", "image", ("pic",))}
read = {"pic": Reading("pic", "image")}
media = Media((root / "pics",))
print("start", flush=True)
columns, counts = b.build(Table(pa.table({"pic": names}), "t"), read, item, {"main.pic": [Pixels()]}, media, Store(root / "store"))
print(counts.decoded, counts.reused, columns["main.pic"].cells)
"""


def run(root: Path, start: int, stop: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", RUN, str(root), str(start), str(stop)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": SOURCE, "PATH": "/usr/bin"})


def test_killed_half_way_it_goes_on(tmp_path: Path, draw: Draw) -> None:
    draw(1000)
    process = run(tmp_path, 0, 1000)
    folder = tmp_path / "store" / Pixels().spec.digest
    while len(list(folder.glob("pack-*"))) < 3:
        time.sleep(0.01)
        assert process.poll() is None
    process.kill()
    process.communicate()
    column, counts = pictures([f"{i:04}.png" for i in range(1000)], tmp_path, {"main.pic": [Pixels()]})
    assert counts.reused >= 60
    assert counts.reused + counts.decoded == column.cells == 1000
    for i in range(0, 1000, 97):
        made = build_row({"pic": f"{i:04}.png"}, READ, PICTURE, {"main.pic": [Pixels()]}, Media((tmp_path / "pics",)))
        same(made["main.pic"], column, i)


def test_two_processes_on_one_store(tmp_path: Path, draw: Draw) -> None:
    draw(300)
    running = [run(tmp_path, 0, 200), run(tmp_path, 100, 300)]
    for process in running:
        assert process.communicate(timeout=100)[0].split()[-1] == "200"
        assert process.returncode == 0
    _, counts = pictures([f"{i:04}.png" for i in range(300)], tmp_path, {"main.pic": [Pixels()]})
    assert (counts.decoded, counts.reused) == (0, 300)


def test_an_interrupt_ends_the_workers_and_keeps_what_is_done(tmp_path: Path, draw: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    from xmodal.features.build import build as make

    started: list[subprocess.Popen[bytes]] = []
    real = subprocess.Popen

    def spy(*args: object, **settings: object) -> subprocess.Popen[bytes]:
        started.append(real(*args, **settings))  # type: ignore[call-overload]
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", spy)
    names = draw(200)

    def interrupt(stage: str, done: int, total: int) -> None:
        assert (stage, total) == ("features of pic", 200)
        if done == 50:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(Table(pa.table({"pic": names}), "t"), READ, PICTURE, BOTH, Media((tmp_path / "pics",)), Store(tmp_path / "store"), interrupt)
    assert started
    assert all(process.poll() is not None for process in started)


def test_cores_honour_affinity_and_quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)
    quota = tmp_path / "cpu.max"
    for content, count in {"100000 100000\n": 1, "250000 100000": 2, "50000 100000": 1, "max 100000": 64}.items():
        quota.write_text(content)
        assert pools.cores(quota) == count
    assert pools.cores(tmp_path / "none") == 64
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 5}, raising=False)
    assert pools.cores(tmp_path / "none") == 2


def test_bytes_that_change_between_digest_and_decode_are_not_stored(tmp_path: Path, draw: Draw) -> None:
    from xmodal.features.worker import Extraction

    draw(1)
    with pytest.raises(MediaError, match="changed"):
        Extraction({"image": (Pixels(),)}, Media((tmp_path / "pics",))).one("0000.png", "0" * 32)


def test_rows_with_something_unreadable_are_counted_one_by_one(tmp_path: Path, draw: Draw) -> None:
    """Against the rows by hand: a placeholder that many share counts for each, two in one row once."""
    names = draw(6)
    for name in ("bad.png", "worse.png"):
        (tmp_path / "pics" / name).write_bytes(name.encode())
    good, kinds, random = set(names), [*names, "bad.png", "worse.png", "none.png"], np.random.default_rng(0)
    rows = [[kinds[k] for k in random.integers(0, len(kinds), random.integers(0, 4))] for _ in range(200)]
    rows[0], rows[1] = ["bad.png", "worse.png"], ["0000.png", "none.png"]
    table = Table(pa.table({"pic": [";".join(row) for row in rows]}), "t", first=40)
    reading = {"pic": Reading("pic", "image", {"separator": ";"})}
    columns, counts = build(table, reading, PICTURE, BOTH, Media((tmp_path / "pics",)), Store(tmp_path / "store"))
    wrong = [row for row, files in enumerate(rows) if not good.issuperset(files)]
    assert counts.lost["pic"].tolist() == [40 + row for row in wrong] and len(wrong) > 60 > len(counts.broken) == 3
    all_wrong = [row for row, files in enumerate(rows) if files and not good & set(files)]
    assert np.flatnonzero(columns["main.pic"].state_B == State.BROKEN).tolist() == all_wrong
    broken = Broken()
    broken.add(counts)
    (note,) = broken.notes()
    assert f"got {len(wrong)} unreadable in column 'pic': row 41: " in note and note.count("row ") == 3
    later = Broken({"pic": np.array([500])}, [MediaError("x", "y", "z", "pic", 501)])
    broken.add(later)
    assert f"got {len(wrong) + 1} unreadable" in broken.notes()[0] and "row 501" not in broken.notes()[0]
