"""docs/configuration.md is what the model says."""

from __future__ import annotations

from pathlib import Path

from rwsplit.config.reference import describe, reference
from rwsplit.config.settings import all_settings

ROOT = Path(__file__).parents[3]


def test_the_reference_in_the_repository_is_up_to_date():
    written = (ROOT / "docs" / "configuration.md").read_text()
    assert written == reference(), "run `make docs`"


def test_every_setting_is_described():
    text = reference()
    for setting in all_settings():
        assert f"`{setting.path}`" in text
        assert describe(setting).endswith("."), setting.path


def test_choices_units_and_defaults_are_shown():
    text = reference()
    assert "| `consistency.max_lag` | duration | `10s` | " in text
    assert "| `consistency.level` | `eventual`, `session`, `cluster` | `session` | " in text
    assert "| `nodes.NAME.host` | text | required | " in text
