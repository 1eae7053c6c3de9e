from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmodal.errors import MediaError
from xmodal.media import Caps, Media


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
             "/etc/passwd", "C:\\data\\04.png", "../nothing", "loop", "pipe", "a", "", ".", "none.bin", "one.bin\0", "x" * 5000]
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
    try:
        content = Media((base / "root",)).open(name).read()
    except MediaError:
        return
    raise AssertionError(f"{name!r} gave {content!r}")
