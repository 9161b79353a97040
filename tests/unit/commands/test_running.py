"""Runs started at the command line."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from upkeep.commands import running
from upkeep.errors import BadInput


class APISettings(BaseModel):
    """As Prefect's own refuse a value."""

    request_timeout: float


def test_a_prefect_setting_that_cannot_be_read_is_named_with_what_was_found_and_what_to_do(monkeypatch) -> None:
    monkeypatch.setattr(
        running.importlib, "import_module", lambda _: APISettings.model_validate({"request_timeout": "x"})
    )
    with pytest.raises(BadInput, match=r"APISettings\.request_timeout.*number.*found 'x'; do: .*PREFECT_"):
        running._flow("maintenance")
