"""What every test shares. Annotated shapes and types are checked at run time while testing."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

CACHE = tempfile.TemporaryDirectory(prefix="xmodal-test-cache-")
os.environ["XMODAL_CACHE"] = CACHE.name  # before the first import: nothing of the user's cache is read or written
os.environ.setdefault("OMP_NUM_THREADS", "1")

install_import_hook("xmodal", "beartype.beartype")


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
