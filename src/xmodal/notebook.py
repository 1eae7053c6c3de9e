"""What a notebook shows while something is learnt: one bar, and a table that grows by a line a stage, updated in place."""

from __future__ import annotations

import sys
import time
from importlib import import_module
from typing import Any

from xmodal.job import Progress
from xmodal.report.html import Html, table, tag

PAUSE = 0.2  # seconds between two updates of one stage


def silent(stage: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


def progress_in_notebook() -> Progress:
    """Progress as this process can show it: in a notebook's kernel as HTML, else not at all."""
    ipython: Any = sys.modules.get("IPython")
    if ipython is None or not hasattr(ipython.get_ipython(), "kernel"):
        return silent
    page: Any = import_module("IPython.display")
    view = page.display(page.HTML(""), display_id=True)
    seconds: dict[str, float] = {}
    last, began, drawn = "", time.monotonic(), 0.0

    def say(stage: str, done: int, total: int) -> None:
        nonlocal last, began, drawn
        now = time.monotonic()
        if last:
            seconds[last] = seconds.get(last, 0.0) + now - began
        if stage != last or done >= total or now - drawn > PAUSE:
            lines = [(name, f"{spent:.1f}") for name, spent in seconds.items()]
            bar: Html = tag("progress", value=str(done), max=str(max(total, 1)), aria_label=stage)
            view.update(page.HTML(tag("div", bar, f" {stage}") + table("Learning so far", ("stage", "seconds"), lines)))
            drawn = now
        last, began = stage, now

    return say
