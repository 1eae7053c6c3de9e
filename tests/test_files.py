from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from xmodal.cli import told
from xmodal.errors import ArtefactError, ConfigError
from xmodal.files import check_manifest, naming, read_json, swap_folder, write_beside, write_json, write_manifest


def test_write_beside_is_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with write_beside(path) as new:
        new.write_text("first")
    with pytest.raises(KeyboardInterrupt), write_beside(path) as new:  # noqa: PT012
        new.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_swap_folder_is_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "model"
    for content in ("one", "two"):
        with swap_folder(path) as new:
            (new / "sub").mkdir()
            (new / "sub" / "file").write_text(content)
    with pytest.raises(KeyboardInterrupt), swap_folder(path) as new:  # noqa: PT012
        (new / "file").write_text("half")
        raise KeyboardInterrupt
    assert (path / "sub" / "file").read_text() == "two"
    assert list(path.parent.iterdir()) == [path]


def test_swap_folder_puts_the_old_one_back_if_the_new_one_cannot_move(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    path, real, calls = tmp_path / "model", os.replace, []
    path.mkdir()
    (path / "old").touch()

    def failing(a: Path, b: Path) -> None:
        calls.append(a)
        if len(calls) == 2:
            raise OSError("disk gone")
        real(a, b)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(OSError, match="disk gone"), swap_folder(path) as new:
        (new / "new").touch()
    assert [p.name for p in path.iterdir()] == ["old"]


def test_json_knows_no_nan(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"a": [math.nan, math.inf, np.float32(1.5)], 2: np.int64(3), "b": (True, None, "ü")})

    def refuse(name: str) -> None:
        raise AssertionError(name)

    got = json.loads((tmp_path / "a.json").read_text("utf-8"), parse_constant=refuse)
    assert got == {"a": [None, None, 1.5], "2": 3, "b": [True, None, "ü"]} == read_json(tmp_path / "a.json")
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(ArtefactError):
        read_json(tmp_path / "a.json")
    with pytest.raises(ArtefactError):
        read_json(tmp_path / "none.json")


@pytest.mark.parametrize("harm", ["flip", "lose", "manifest"])
def test_manifest_sees_every_harm(tmp_path: Path, harm: str) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "weights").write_bytes(bytes(1000))
    (tmp_path / "config.json").write_text("{}")
    write_manifest(tmp_path)
    check_manifest(tmp_path)
    if harm == "flip":
        (tmp_path / "sub" / "weights").write_bytes(bytes(999) + b"\1")
    else:
        (tmp_path / ("manifest.json" if harm == "manifest" else "sub/weights")).unlink()
    with pytest.raises(ArtefactError, match="manifest" if harm == "manifest" else "sub/weights"):
        check_manifest(tmp_path)


def test_manifest_lists_all_but_hidden_files(tmp_path: Path) -> None:
    (tmp_path / "weights").touch()
    write_manifest(tmp_path)
    (tmp_path / ".DS_Store").touch()
    check_manifest(tmp_path)
    (tmp_path / "more").touch()
    with pytest.raises(ArtefactError, match="not saved"):
        check_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text("[]")
    with pytest.raises(ArtefactError, match="hashes"):
        check_manifest(tmp_path)


def test_the_working_folder_is_not_swapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here" / "in").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    for name in (".", "..", "../here", "in/.."):
        with pytest.raises(ConfigError, match="working folder"), swap_folder(Path(name)):
            pass
    with swap_folder(Path("in/../model")) as new:
        (new / "file").touch()
    assert sorted(p.name for p in Path().iterdir()) == ["in", "model"]


@pytest.mark.parametrize("refused", [OSError(28, "No space left on device"), OSError("240 requested and 0 written")])
def test_what_a_disk_refuses_names_the_path(tmp_path: Path, refused: OSError) -> None:
    with pytest.raises(OSError, match=r"No space|0 written") as error, write_beside(tmp_path / "a.txt"):
        raise refused
    assert error.value.filename == str(tmp_path / "a.txt")
    code, said = told(error.value)
    assert code == 1 and str(tmp_path / "a.txt") in said and "the free space" in said
    for other in (FileNotFoundError("gone"), OSError(13, "Permission denied", "elsewhere")):
        with pytest.raises(OSError, match=r"^gone|elsewhere") as error, naming(tmp_path):
            raise other
        assert error.value is other
