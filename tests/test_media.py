from __future__ import annotations

import base64
import contextlib
import io
import os
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from xmodal.errors import MediaError
from xmodal.formats import encoded
from xmodal.media import Caps, Media
from xmodal.modality import MODALITIES


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with files in it, a secret beside it, and links that lead out."""
    root = tmp_path / "root"
    (root / "a" / "b").mkdir(parents=True)
    (root / "one.bin").write_bytes(b"one")
    (root / "a" / "b" / "two.bin").write_bytes(b"two")
    (root / "a\\literal.bin").write_bytes(b"literal")
    (root / "a" / "literal.bin").write_bytes(b"separated")
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "root-beside").mkdir()
    (tmp_path / "root-beside" / "secret").write_bytes(b"secret")
    (root / "link").symlink_to(tmp_path / "secret")
    (root / "folder").symlink_to(tmp_path)
    (root / "inner").symlink_to(root / "one.bin")
    (root / "loop").symlink_to(root / "loop")
    os.mkfifo(root / "pipe")
    return root


def test_what_may_be_read(root: Path) -> None:
    media = Media((root,))
    wanted = {
        "one.bin": b"one", "./a/../one.bin": b"one", "a/b/two.bin": b"two", "a\\b\\two.bin": b"two", ".\\a/b\\two.bin": b"two",
        str(root / "one.bin"): b"one", "inner": b"one", "a\\literal.bin": b"literal",
    }  # fmt: skip
    for name, content in wanted.items():
        assert media.open(name).read() == content, name
    assert media.open(root / "one.bin").read() == b"one"
    assert media.open(b"bytes").read() == b"bytes"


@pytest.mark.parametrize(
    "name", ["../secret", "..\\secret", "a/../../secret", "link", "folder/secret", "folder\\secret", "../root-beside/secret",
             "/etc/passwd", "C:\\data\\04.png",
             "C:/data/04.png", "\\\\host\\share\\x.png", "../nothing", "loop", "pipe", "a", "", ".", "none.bin", "one.bin\0", "x" * 5000]
)  # fmt: skip
def test_what_may_not(root: Path, name: str) -> None:
    with pytest.raises(MediaError, match=r"outside|no such file|regular|directory|links|long"):
        Media((root,)).open(name)


def test_several_roots_and_none(root: Path, tmp_path: Path) -> None:
    two = Media((root, tmp_path / "root-beside"))
    assert two.open("secret").read() == b"secret"
    assert two.open(str(tmp_path / "root-beside" / "secret")).read() == b"secret"
    with pytest.raises(MediaError, match="no media root"):
        Media(()).open("one.bin")
    with pytest.raises(MediaError, match="neither a path nor bytes"):
        Media((root,)).open(3.5)


def test_a_root_may_be_a_link(root: Path, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(root)
    assert Media((tmp_path / "alias",)).open(str(tmp_path / "alias" / "one.bin")).read() == b"one"


def test_sizes_and_stand_ins(root: Path) -> None:
    cases = {
        b"": "empty",
        b"x" * 11: "11 bytes, more than 10",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0": "Git LFS",
        b"\n <!DOCTYPE html><title>403": "web page",
        b"<HTML>": "web page",
    }
    for content, reason in cases.items():
        (root / "x.jpg").write_bytes(content)
        for cell in ("x.jpg", content):
            with pytest.raises(MediaError, match=reason):
                Media((root,), Caps(bytes=10 if b"xx" in content else 1000)).open(cell)


@given(st.text(max_size=40) | st.lists(st.sampled_from(["..", "a", "/", "\\", "folder", "link", "secret", "."])).map("".join))
def test_no_name_leads_out(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    base = tmp_path_factory.getbasetemp() / "fuzz"
    if not base.exists():
        (base / "root" / "a").mkdir(parents=True)
        (base / "secret").write_bytes(b"secret")
        (base / "root" / "folder").symlink_to(base)
        (base / "root" / "link").symlink_to(base / "secret")
    content = b""  # a cell that holds its file itself, in base64, may be opened
    with contextlib.suppress(MediaError):
        content = Media((base / "root",)).open(name).read()
    assert content != b"secret"


def test_other_spellings_only_where_one_file_fits(root: Path) -> None:
    for name in ("p1.png", "q.png", "q.jpg", "22.05.png", "R.png", "r.png", "caf\u00e9.png"):
        (root / name).write_bytes(name.encode())
    (root / "a" / "Deep").mkdir()
    (root / "a" / "Deep" / "p2.jpg").write_bytes(b"deep")
    media = Media((root,))
    wanted = {"p1": "p1.png", "P1.PNG": "p1.png", "22.05": "22.05.png", "r.png": "r.png", "cafe\u0301.png": "caf\u00e9.png", "P1": "p1.png"}
    for name, content in wanted.items():
        assert media.open(name).read() == content.encode(), name
    assert media.open("A\\deep\\P2").read() == b"deep"
    assert media.said == {"another case or no extension": len(wanted), "Windows separators": 1}  # r.png stands as it is
    for name, hint in {
        "q": r"did you mean 'q\.\w+' or 'q\.\w+'\?",
        "p1.jpg": r"did you mean 'p1\.png'\?",
        "r": "did you mean",
        "zzz": "check",
    }.items():
        with pytest.raises(MediaError, match=rf"no such file.*{hint}"):
            media.open(name)
    (root / "FOLDER2").symlink_to(root.parent)
    with pytest.raises(MediaError):
        media.open("folder2/secret")


def test_windows_separators_are_counted(root: Path) -> None:
    media = Media((root,))
    for name in ("a\\b\\two.bin", ".\\a/b\\two.bin", "a\\literal.bin", "one.bin"):
        media.open(name)
    assert media.said == {"Windows separators": 2}


def packed(root: Path, kind: str) -> Path:
    """An archive with harmless and harmful members."""
    path, held = (
        root / f"pics.{kind}",
        {"01.png": b"one", "train.v1/22.05.png": b"dots", "../secret": b"evil", "/etc/x": b"evil", "big": bytes(5000)},
    )
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in {**held, "w\\03.png": b"windows"}.items():
                archive.writestr(name, content)
    else:
        with tarfile.open(path, "w") as tar:
            for name, content in {**held, "w/03.png": b"windows"}.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
            member = tarfile.TarInfo("link")
            member.type, member.linkname = tarfile.SYMTYPE, "../secret"
            tar.addfile(member)
    return path


@pytest.mark.parametrize(("name", "encoding"), [("照片/图一.png", "utf-8"), ("照片/图一.png", "gb18030"), ("Zürich/Köln é.png", "cp437")])
def test_names_in_a_zip_that_says_nothing_of_their_encoding(tmp_path: Path, name: str, encoding: str) -> None:
    plain = "".join(c if c.isascii() else "~" * len(c.encode(encoding)) for c in name)
    with zipfile.ZipFile(tmp_path / "m.zip", "w") as archive:
        archive.writestr(plain, b"content")
    content = (tmp_path / "m.zip").read_bytes().replace(plain.encode(), name.encode(encoding))
    (tmp_path / "m.zip").write_bytes(content)
    with Media((tmp_path / "m.zip",)).open(name) as file:
        assert file.read() == b"content"


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_archives_are_roots_and_folders(root: Path, kind: str) -> None:
    path = packed(root, kind)
    for media, start in ((Media((path,)), ""), (Media((root,)), f"pics.{kind}/"), (Media((root,)), str(path) + "/")):
        wanted = {
            "01.png": b"one",
            "train.v1/22.05.png": b"dots",
            "w\\03.png": b"windows",
            "TRAIN.v1/22.05": b"dots",
            "w/03.PNG": b"windows",
        }
        for name, content in wanted.items():
            assert media.open(start + name).read() == content, name
        assert media.files(start + "train.v1") == [start + "train.v1/22.05.png"]
        for name in ("../secret", "etc/x", "/etc/x", "none.png", "link", "train.v1", "01.png/x"):
            with pytest.raises(MediaError, match=r"outside|no such file|damaged|not a regular|directory"):
                media.open(start + name)
        with pytest.raises(MediaError, match="5,000 bytes, more than 4,000"):
            Media(media.roots, Caps(bytes=4000)).open(start + "big")
    assert sorted(p.name for p in root.parent.iterdir()) == ["root", "root-beside", "secret"]  # nothing is unpacked


def test_damaged_locked_and_whole_compressed_archives(root: Path) -> None:
    path = packed(root, "zip")
    content = bytearray(path.read_bytes())
    content[35:40] = b"xxxxx"  # within the first member
    path.write_bytes(content)
    with pytest.raises(MediaError, match="damaged or locked"):
        Media((path,)).open("01.png")
    with tarfile.open(root / "pics.tgz", "w:gz") as tar:
        tar.add(root / "one.bin", "one.bin")
    with pytest.raises(MediaError, match=r"compressed as a whole.*unpack it, or make it a zip"):
        Media((root,)).open("pics.tgz/one.bin")
    for _ in range(2):  # an archive that is replaced is read anew
        path = packed(root, "zip")
        assert Media((path,)).open("01.png").read() == b"one"
        path.write_bytes(b"no archive any more")
        with pytest.raises(MediaError):
            Media((path,)).open("01.png")


def png(pixels: np.ndarray) -> bytes:
    Image.fromarray(pixels).save(file := io.BytesIO(), "PNG")
    return file.getvalue()


def test_text_that_holds_a_picture() -> None:
    content = png(np.zeros((2, 2, 3), np.uint8))
    text = base64.b64encode(content).decode()
    for cell in (text, f"data:image/png;base64,{text}", f"DATA:;base64,{text}", base64.encodebytes(content).decode(),
                 base64.urlsafe_b64encode(content).decode(), "data:image/png," + "".join(f"%{b:02x}" for b in content)):  # fmt: skip
        assert Media(()).open(cell).read() == content
    with pytest.raises(MediaError, match="damaged data: URI"):
        Media(()).open("data:image/png;base64,@@@@")
    with pytest.raises(MediaError, match="a path, but no media root"):
        Media(()).open("the/path/of/a/thing/that/is/longer/than/forty/signs")
    with pytest.raises(MediaError) as e:
        Media(()).open("data:image/png;base64,@" + 10**6 * "A")
    assert len(str(e.value)) < 300


def test_the_files_of_a_cell(root: Path) -> None:
    (root / "x;y.bin").write_bytes(b"literal")
    media = Media((root,), Caps(files=3))
    cases: list[tuple[Any, list[Any]]] = [
        ("one.bin;two.bin", ["one.bin", "two.bin"]), (" one.bin ; ;none.bin;", ["one.bin", "none.bin"]), ("x;y.bin", ["x;y.bin"]),
        ("one.bin", ["one.bin"]), ('["b.bin", "a.bin"]', ["b.bin", "a.bin"]), ("[not json", ["[not json"]), ("[" * 9999, ["[" * 9999]),
        ({"path": ["one.bin"]}, ["one.bin"]), ("a/b", ["a/b/two.bin"]),
        (["one.bin", None, b"x", {"path": "p"}], ["one.bin", b"x", "p"]), (np.array(["one.bin"]), ["one.bin"]),
        ({"bytes": None, "path": None}, []),
        ("", []), (None, []), ([], []), (root / "one.bin", [str(root / "one.bin")]),
        ("data:image/png;base64,AA==", ["data:image/png;base64,AA=="]),
    ]  # fmt: skip
    for cell, files in cases:
        assert media.files(cell, ";") == files, cell
    assert media.files("one.bin;two.bin") == ["one.bin;two.bin"]  # not asked for
    with pytest.raises(MediaError, match="4 files in a cell, more than 3"):
        media.files("a;b;c;d", ";")
    (root / "void").mkdir()
    (root / "void" / ".hidden").write_bytes(b"x")
    with pytest.raises(MediaError, match="an empty folder"):
        media.files("void")


def test_pictures_in_memory_become_bytes_without_loss(tmp_path: Path) -> None:
    def read(cell: object) -> np.ndarray:
        return np.asarray(Image.open(io.BytesIO(encoded(cell))))

    rng = np.random.default_rng(0)
    for shape in ((5, 7), (5, 7, 3), (5, 7, 4)):
        pixels = rng.integers(0, 256, shape).astype(np.uint8)
        assert np.array_equal(read(pixels), pixels)
        assert np.array_equal(read(Image.fromarray(pixels)), pixels)
        deep = pixels.astype(np.uint16) * 257
        assert np.array_equal(read(deep), deep if len(shape) == 2 else pixels)
        for kind in (np.float16, np.float32, np.float64):
            floats = (pixels / 255).astype(kind)
            flat = MODALITIES["image"].open(encoded(floats), Media(())).load()[..., 0] if len(shape) == 2 else read(floats)
            assert np.array_equal(flat, pixels) or kind == np.float16
    assert np.array_equal(read(np.eye(3) > 0), np.eye(3) * 255)
    for mode in ("1", "L", "LA", "P", "CMYK", "YCbCr", "I", "F", "I;16"):
        image = Image.fromarray(rng.integers(0, 256, (4, 4)).astype(np.uint8)).convert(mode)
        assert np.array_equal(read(image), np.asarray(image)), mode
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels[..., :3]).save(tmp_path / "x.jpg", exif=exif)
    opened = Image.open(tmp_path / "x.jpg")
    assert encoded(opened) == (tmp_path / "x.jpg").read_bytes()  # the very file, while nothing is done to it
    opened.load()
    assert read(opened).shape == (7, 5, 3)  # upright
    assert encoded(["a", 3.5, None]) == ["a", 3.5, None]
    bad = {(2, 2, 5): "no shape", (0, 4): "no shape"}
    for size, reason in bad.items():
        with pytest.raises(MediaError, match=reason):
            encoded(np.zeros(size, np.uint8))
    for array, reason in (
        (np.full((2, 2), 1.5), "from 0 to 1"),
        (np.full((2, 2), np.nan), "from 0 to 1"),
        (np.zeros((2, 2), int), "uint8"),
    ):
        with pytest.raises(MediaError, match=reason):  # series may hold them, pictures may not
            MODALITIES["image"].open(encoded(array), Media(())).load()


@pytest.mark.parametrize("name", ["a/" * 2000, "x" * 300, "\ud800.png", "a\0b"])
def test_what_can_be_no_name_is_no_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(MediaError, match="no such file"):
        Media((tmp_path,)).open(name)
    assert Media((tmp_path,)).files(name) == [name]


def test_an_object_that_is_no_file_is_an_error_and_none_is_no_file(tmp_path: Path) -> None:
    media = Media((tmp_path,))
    assert media.files({"bytes": None, "path": None}) == media.files({"path": ""}) == []
    with pytest.raises(MediaError, match="neither a path nor bytes but dict"):
        media.files({"x": [1]})
    with pytest.raises(MediaError, match=f"no such file.*--media-root, which is {tmp_path}"):
        media.open("none.png")
    with pytest.raises(MediaError, match=r"a link, and nothing is fetched.*download"):
        media.open("https://example.org/none.png")
