from __future__ import annotations

import pytest

from xmodal.errors import ConfigError, unknown
from xmodal.job import Job, registered


@pytest.mark.parametrize(("group", "says"), [("modalities", "modalities 'x'; got modality 'y'"), ("heads", "heads 'x'; got head 'y'")])
def test_singular_and_plural(group: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        registered(group, {"x": 1}, "y")
    assert "one of the inputs or modalities 'a';" in str(unknown("input or modality", "b", ["a"]))


@pytest.mark.parametrize("wrong", [{"epochs": -1}, {"raw": {"batch": 0}}, {"decay": -0.1}])
def test_training_is_never_below_nothing(wrong):
    with pytest.raises(ConfigError, match="above 0"):
        Job.from_json({"training": wrong})
