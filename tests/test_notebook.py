"""Progress in a notebook, by a kernel that only records what it is told to show."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from xmodal import Learner, notebook


class Kernel:
    """As much of IPython as is used. `html`: what stood in the one display, update by update."""

    def __init__(self, shell: Any) -> None:
        self.html, self.displays = list[str](), 0
        self.get_ipython = lambda: shell
        self.display = SimpleNamespace(HTML=str, display=self.open)

    def open(self, html: str, display_id: bool) -> Any:
        self.displays += 1
        return SimpleNamespace(update=self.html.append)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel(SimpleNamespace(kernel=object()))
    monkeypatch.setitem(sys.modules, "IPython", made)  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "IPython.display", made.display)  # type: ignore[arg-type]
    return made


def rows() -> dict[str, list[Any]]:
    return {"size": [1, 2, 3, 4] * 10, "<b>": ["quiet word", "lively word"] * 20, "label": ["x", "y"] * 20}


def quick(**more: Any) -> Learner:
    return Learner(target="label", training={"epochs": 2, "minimum": 1, "folds": 2}, modality={"<b>": "text"}, **more)


def test_a_fit_shows_one_bar_and_a_table_that_grows(kernel: Kernel, capsys: pytest.CaptureFixture[str]) -> None:
    import pyarrow as pa

    quick().fit(pa.table(rows()))
    assert kernel.displays == 1 and capsys.readouterr() == ("", "")
    lines = [page.count("<tr>") for page in kernel.html]
    assert lines == sorted(lines) and lines[-1] > lines[0] + 3 and all(page.count("<progress") == 1 for page in kernel.html)
    assert "linear, &lt;b&gt;" in kernel.html[-1] and not any("<b>" in page for page in kernel.html)
    kernel.html.clear()
    told = list[str]()
    quick().fit(pa.table(rows()), progress=lambda stage, done, total: told.append(stage))
    assert told and not kernel.html


@pytest.mark.parametrize("shell", [None, SimpleNamespace(name="a terminal")])
def test_outside_of_a_notebook_nothing_is_shown(monkeypatch: pytest.MonkeyPatch, shell: Any) -> None:
    elsewhere = Kernel(shell)
    monkeypatch.setitem(sys.modules, "IPython", elsewhere)  # type: ignore[arg-type]
    assert notebook.progress_in_notebook() is notebook.silent and not elsewhere.displays


def test_what_changes_seldom_is_drawn_seldom(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(1000))
    monkeypatch.setattr(notebook.time, "monotonic", lambda: next(now) / 100)
    say = notebook.progress_in_notebook()
    for done in range(100):
        say("features of image", done, 100)
    assert 1 <= len(kernel.html) <= 7
    say("features of image", 100, 100)
    assert 'value="100"' in kernel.html[-1]
