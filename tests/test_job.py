from __future__ import annotations

import pytest

from xmodal.errors import ConfigError, unknown
from xmodal.job import registered


@pytest.mark.parametrize(("group", "says"), [("modalities", "modalities 'x'; got modality 'y'"), ("heads", "heads 'x'; got head 'y'")])
def test_singular_and_plural(group: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        registered(group, {"x": 1}, "y")
    assert "one of the inputs or modalities 'a';" in str(unknown("input or modality", "b", ["a"]))
