"""What every test shares. Annotated shapes and types are checked at run time while testing."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jaxtyping
import pytest
from beartype import beartype

CACHE = tempfile.TemporaryDirectory(prefix="xmodal-test-cache-")
os.environ["XMODAL_CACHE"] = CACHE.name  # before the first import: nothing of the user's cache is read or written
os.environ.setdefault("OMP_NUM_THREADS", "1")


def checking(typechecker: Any) -> Callable[[Any], Any]:
    """jaxtyping's decorator where annotations hold shapes; else beartype alone, which costs a third of it."""
    shapes = jaxtyped(typechecker=typechecker)

    def decorate(function: Any) -> Any:
        hints = getattr(function, "__annotations__", {})
        if isinstance(function, type) or any(re.search(r"\b(Float|Int|Bool)\[", str(hint)) for hint in hints.values()):
            return shapes(function)
        found = dict(hints)
        for name, hint in hints.items():
            with contextlib.suppress(NameError):  # of a class that is not there yet: looked up at the call
                found[name] = eval(hint, function.__globals__) if isinstance(hint, str) else hint
        if any("Json" in str(hint) for hint in found.values()):  # it holds itself, by a name that other modules lack
            return shapes(function)
        hints.update(found)
        try:
            return beartype(function)
        except AttributeError:  # its own trouble with types that hold themselves
            return shapes(function)

    return decorate


jaxtyped = jaxtyping.jaxtyped
jaxtyping.jaxtyped = checking
jaxtyping.install_import_hook("xmodal", "beartype.beartype")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """One torch thread: the same sums on every machine."""
    import torch

    torch.set_num_threads(1)
    yield
    CACHE.cleanup()


@pytest.fixture(scope="session")
def xmodal_data() -> Path:
    """The folder of real tables. Skips where there is none."""
    folder = os.environ.get("XMODAL_DATA")
    if not folder:
        pytest.skip("XMODAL_DATA is not set: the real tables are not at hand")
    return Path(folder)
