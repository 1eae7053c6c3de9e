from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from xmodal.errors import ConfigError
from xmodal.features.column import Fitted
from xmodal.journal import Journal

PART = Fitted({"best": math.inf, "names": ["ü", None]}, {"a/b": np.arange(6.0).reshape(2, 3).T, "zero": np.float32(3)}, {"c.json": b"\0{}"})
OF = {"version": "1", "job": {"seed": 0, "id": ("key",)}, "table": "abc"}


def test_what_is_put_is_got(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "state")
    assert not journal.begin(OF, resume=True) and journal.get("a: b/c") is None
    under = journal.under("a: b/c")
    assert under is not None
    Journal(under).put("epoch", PART)
    journal.put("a: b/c", PART)
    found = Journal(tmp_path / "state").get("a: b/c")
    assert found is not None and found.config == PART.config and found.files == PART.files
    assert found.arrays["zero"].shape == () and np.array_equal(found.arrays["a/b"], PART.arrays["a/b"])
    assert not under.exists(), "the checkpoints of what is finished go"
    assert journal.begin(OF, resume=True) and journal.get("a: b/c")
    assert not journal.begin(OF, resume=False) and journal.get("a: b/c") is None
    journal.end()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", list(OF))
def test_another_fit_is_not_resumed(tmp_path: Path, name: str) -> None:
    journal = Journal(tmp_path / "state")
    journal.begin(OF, resume=False)
    journal.put("a", PART)
    with pytest.raises(ConfigError, match=rf"another {name} than in .*state; .*start anew without --resume"):
        journal.begin({**OF, name: "other"}, resume=True)
    assert journal.get("a"), "nothing is lost by the refusal"


def test_what_is_damaged_is_made_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.put("a", PART)
    (path,) = tmp_path.glob("*.part")
    for content in (path.read_bytes()[:-1], path.read_bytes()[:4], b"", b"\xff" * 100):
        path.write_bytes(content)
        assert journal.get("a") is None


def test_without_a_folder_nothing_is_kept() -> None:
    journal = Journal()
    assert not journal.begin(OF, resume=True)
    journal.put("a", PART)
    journal.end()
    assert journal.get("a") is None and journal.under("a") is None
