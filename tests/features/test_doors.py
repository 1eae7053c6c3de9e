"""One picture is one picture, by whatever door it comes; several in a cell are several tokens."""

from __future__ import annotations

import base64
import io
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet
from sklearn.linear_model import LogisticRegression

import xmodal
from xmodal.features import Counts, FeatureColumn, Store, build, build_row
from xmodal.features import worker as pools
from xmodal.features.extractors.descriptor import Descriptor
from xmodal.features.extractors.pixels import Pixels
from xmodal.job import Input, Job, State
from xmodal.media import Media
from xmodal.modality import inputs, readings
from xmodal.table import Reading, read_table

PICTURE = {"main.pic": Input("main.pic", "image", ("pic",))}
BOTH = {"main.pic": [Descriptor(), Pixels()]}
SOURCE = str(Path(xmodal.__file__).parents[1])


def built(cells: Any, media: Media, root: Path, options: dict[str, Any] | None = None) -> tuple[FeatureColumn, Counts]:
    table = read_table(cells if isinstance(cells, (Path, pd.DataFrame)) else [{"pic": cell} for cell in cells])
    columns, counts = build(table, {"pic": Reading("pic", "image", options or {})}, PICTURE, BOTH, media, Store(root / "store"))
    return columns["main.pic"], counts


def saved(pixels: np.ndarray, kind: str = "PNG", **settings: Any) -> bytes:
    Image.fromarray(pixels).save(file := io.BytesIO(), kind, **settings)
    return file.getvalue()


@pytest.mark.parametrize("depth", ["colour", "alpha", "deep"])
def test_one_picture_by_every_door_has_the_same_features(tmp_path: Path, depth: str) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 65536, (20, 30)).astype(np.uint16)
    if depth != "deep":
        pixels = rng.integers(0, 256, (20, 30, 3 if depth == "colour" else 4)).astype(np.uint8)
    content = saved(pixels)
    text = base64.b64encode(content).decode()
    (tmp_path / "p.png").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "pics.zip", "w") as archive:
        archive.writestr("in/p.png", content)
    parquet.write_table(pa.table({"pic": [content]}), tmp_path / "t.parquet")
    floats = pixels / (65535 if depth == "deep" else 255)
    doors = ["p.png", tmp_path / "p.png", content, text, f"data:image/png;base64,{text}", Image.open(io.BytesIO(content)), pixels, floats,
             Image.fromarray(pixels), {"bytes": content, "path": None}, {"bytes": None, "path": "p.png"}, "pics.zip/in/p.png"]  # fmt: skip
    media, image = Media((tmp_path,)), Reading("pic", "image")
    want, _ = built(["p.png"], media, tmp_path)
    tables: list[Any] = [*([door] for door in doors), tmp_path / "t.parquet", pd.DataFrame({"pic": [pixels, None]}), doors]
    for i, cells in enumerate(tables):
        got, counts = built(cells, media, tmp_path / str(i))  # an empty store, so that each is decoded
        assert not counts.broken, cells
        for name, array in want.dense.items():
            assert all(np.array_equal(array[0], one) for one in got.dense[name]), (name, cells)
    inside, _ = built(["in/p.png"], Media((tmp_path / "pics.zip",)), tmp_path / "zip")
    assert np.array_equal(inside.dense["hog"], want.dense["hog"])
    for door in doors:
        row = build_row({"pic": door}, {"pic": image}, PICTURE, BOTH, media)["main.pic"]
        assert all(np.array_equal(row.dense[name], array) for name, array in want.dense.items()), door


@pytest.mark.parametrize("tag", [1, 2, 3, 4, 5, 6, 7, 8])
def test_every_door_stands_a_photo_upright(tmp_path: Path, tag: int) -> None:
    upright = np.zeros((16, 32, 3), np.uint8)
    upright[:8, :16], upright[8:, 16:] = (255, 0, 0), (0, 0, 255)
    undo = {1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: lambda a: a.swapaxes(0, 1),
            6: np.rot90, 7: lambda a: np.rot90(a, 2).swapaxes(0, 1), 8: lambda a: np.rot90(a, -1)}  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = tag
    photo = saved(np.ascontiguousarray(undo[tag](upright)), "PNG", exif=exif)
    (tmp_path / "p.png").write_bytes(photo)
    loaded = Image.open(io.BytesIO(photo))
    loaded.load()
    column, _ = built(["p.png", photo, Image.open(io.BytesIO(photo)), loaded, upright], Media((tmp_path,)), tmp_path)
    assert np.unique(column.dense["hog"], axis=0).shape[0] == np.unique(column.dense["colour"], axis=0).shape[0] == 1


@pytest.mark.parametrize("few", [True, False])
def test_several_files_in_a_cell(tmp_path: Path, few: bool, draw: Callable[[int], list[str]]) -> None:
    names = draw(5 if few else 50)
    pics = tmp_path / "pics"
    (pics / "shelf").mkdir()
    for i in (2, 0, 1):
        (pics / "shelf" / f"{i}.png").write_bytes((pics / names[i]).read_bytes())
    (pics / "bad.png").write_bytes(b"no picture")
    (pics / "x;y.png").write_bytes((pics / names[3]).read_bytes())
    a, b, c = names[:3]
    cells = [
        f"{b};{a}",
        f"{a};bad.png; {c}",
        "",
        ";",
        f'["{c}", "{a}"]',
        "shelf",
        "x;y.png",
        "bad.png;none.png",
        a,
        *(names if not few else []),
    ]
    want = [[1, 0], [0, None, 2], [], [], [2, 0], [0, 1, 2], [3], [], [0]]
    column, counts = built(cells, Media((pics,)), tmp_path, {"separator": ";"})
    alone, _ = built(names, Media((pics,)), tmp_path)
    at = [int(np.flatnonzero((column.dense["pixels"] == alone.dense["pixels"][alone.row_BK[i, 0]]).all((1, 2, 3)))[0]) for i in range(4)]
    for row, files in enumerate(want):
        assert column.row_BK[row, : len(files)].tolist() == [-1 if i is None else at[i] for i in files], cells[row]
        assert (column.row_BK[row, len(files) :] == -1).all()
    assert column.state_B[:9].tolist() == [0, 0, State.MISSING, State.MISSING, 0, 0, 0, State.BROKEN, 0]
    assert sorted((e.where.split(":")[0], e.reason.split(":")[0]) for e in counts.broken) == [
        ("column 'pic', row 2", "not a picture of kind JPEG, PNG, GIF, BMP, TIFF, WEBP, AVIF"), ("column 'pic', row 8", "no such file")
    ]  # fmt: skip
    for row, cell in enumerate(cells[:9]):
        one = build_row({"pic": cell}, {"pic": Reading("pic", "image", {"separator": ";"})}, PICTURE, BOTH, Media((pics,)))["main.pic"]
        assert one.state_B[0] == column.state_B[row]
        assert (one.row_BK[0] >= 0).sum() == (column.row_BK[row] >= 0).sum()
        np.testing.assert_array_equal(one.pooled("hog"), column.rows(np.array([row])).pooled("hog"))


def test_the_separator_is_read_once_from_the_whole_column(tmp_path: Path, draw: Callable[[int], list[str]]) -> None:
    names = draw(40)
    rows = [{"pic": "|".join(names[i : i + 1 + (i == 7)]), "y": str(i % 2)} for i in range(39)]
    for job in (Job(target=("y",)), Job(target=("y",), modality={"pic": "image"})):
        found, _ = readings(read_table(rows), job, Media((tmp_path / "pics",)))
        assert found["pic"].options == {"separator": "|"}
        assert "'|' separates several files in 1 cells" in found["pic"].reason
        assert inputs(found, job)["main.pic"].modality == "image"


def test_other_spellings_are_counted(tmp_path: Path, draw: Callable[[int], list[str]]) -> None:
    draw(3)
    _, counts = built(["pics\\0000.png", ".\\pics/0001.png", "PICS/0002", "pics/0002.png", "pics\\0000.PNG"], Media((tmp_path,)), tmp_path)
    assert sorted(counts.notes) == [
        "column 'pic': Windows separators in 3 of 5 names", "column 'pic': another case or no extension in 2 of 5 names"
    ]  # fmt: skip


def test_a_worker_that_needs_too_much_memory_costs_its_cell_alone(
    tmp_path: Path, draw: Callable[[int], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = draw(40)
    Image.new("RGB", (8900, 8900)).save(tmp_path / "pics" / "large.png", compress_level=1)
    monkeypatch.setattr(pools, "MEMORY", 300 * 2**20)
    column, counts = built([*names, "large.png"], Media((tmp_path / "pics",)), tmp_path)
    assert [(e.reason, e.where) for e in counts.broken] == [("needs too much memory", "column 'pic', row 41: file 'large.png'")]
    assert column.cells == 40


def learnt(column: FeatureColumn, y_B: np.ndarray) -> float:
    """Accuracy of a linear model on the second half of the rows."""
    x_BD, half = column.pooled("colour"), len(y_B) // 2
    return float(LogisticRegression(C=100, max_iter=1000).fit(x_BD[:half], y_B[:half]).score(x_BD[half:], y_B[half:]))


def sides(y_B: np.ndarray, top: float, kind: type) -> list[np.ndarray]:
    """Ramps that are bright on the left or the right."""
    ramp = np.broadcast_to(np.linspace(0, top, 16), (16, 16)).astype(kind)
    return [np.ascontiguousarray(ramp[:, ::-1] if y else ramp) for y in y_B]


@pytest.mark.parametrize(("top", "kind"), [(65535, np.uint16), (4095, np.uint16), (1, np.float32)])
def test_the_bright_side_of_deep_grey_is_learnt(tmp_path: Path, top: float, kind: type) -> None:
    y_B = np.random.default_rng(0).integers(0, 2, 40)
    column, counts = built(sides(y_B, top, kind), Media(()), tmp_path)
    assert not counts.broken
    assert learnt(column, y_B) >= 0.95


def test_what_only_the_second_picture_of_a_cell_tells_is_learnt(tmp_path: Path, draw: Callable[[int], list[str]]) -> None:
    names, y_B = draw(40), np.random.default_rng(1).integers(0, 2, 40)
    for i, pixels in enumerate(sides(y_B, 255, np.uint8)):
        Image.fromarray(pixels).save(tmp_path / "pics" / f"second{i}.png")
    cells = [f"{name};second{i}.png" for i, name in enumerate(names)]
    column, _ = built(cells, Media((tmp_path / "pics",)), tmp_path, {"separator": ";"})
    assert learnt(column, y_B) >= 0.95


OPEN = """
import io, os, resource, sys
from pathlib import Path
from PIL import Image
from sklearn.linear_model import LogisticRegression
import numpy as np
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
from xmodal.features import Store, build
from xmodal.features.extractors.pixels import Pixels
from xmodal.job import Input
from xmodal.media import Media
from xmodal.table import Reading, read_table
root = Path(sys.argv[1])
(root / "pics").mkdir()
cells = []
for i in range(2000):
    Image.fromarray(np.array([[[i % 256, i // 256, 0]]], np.uint8)).save(root / "pics" / f"{i}.png")
    cells.append(Image.open(io.BytesIO((root / "pics" / f"{i}.png").read_bytes())) if i % 2 else root / "pics" / f"{i}.png")
media = Media((root / "pics",))
table, inputs = read_table([{"pic": c} for c in cells]), {"main.pic": Input("main.pic", "image", ("pic",))}
most = [0]
def count(*_): most[0] = max(most[0], len(os.listdir("/proc/self/fd")))
columns, counts = build(table, {"pic": Reading("pic", "image")}, inputs, {"main.pic": [Pixels()]}, media, Store(root / "s"), count)
print(columns["main.pic"].cells, len(counts.broken), most[0])
"""


def test_open_files_never_pile_up(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OPEN, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={"PYTHONPATH": SOURCE, "PATH": "/usr/bin"})
    cells, broken, most = map(int, done.stdout.split())
    assert (cells, broken) == (2000, 0)
    assert most < 64
