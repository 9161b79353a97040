"""Who can reach what `upkeep up` starts (issue 5: 1)."""

from __future__ import annotations

from pathlib import Path

import pytest

from upkeep.commands.serving import is_loopback, prefect_access
from upkeep.errors import AuditError
from upkeep.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.from_environment({"UPKEEP_HOME": str(tmp_path)})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_on_loopback_the_server_asks_for_nothing(settings: Settings, host: str) -> None:
    assert prefect_access(settings, host, {}) == {}


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.5", "upkeep.example", "localhost.example"])  # noqa: S104
def test_beyond_loopback_it_asks_for_a_password_that_stays_the_same_and_others_cannot_read(
    settings: Settings, host: str
) -> None:
    assert not is_loopback(host)
    access = prefect_access(settings, host, {})
    assert access["PREFECT_SERVER_API_AUTH_STRING"] == access["PREFECT_API_AUTH_STRING"]
    assert len(access["PREFECT_API_AUTH_STRING"]) > len("upkeep:") + 40
    assert prefect_access(settings, host, {}) == access
    path = settings.home / "prefect-password"
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    with pytest.raises(AuditError, match="chmod 600"):
        prefect_access(settings, host, {})


def test_a_password_the_site_has_chosen_is_taken_also_on_loopback(settings: Settings) -> None:
    given = {"PREFECT_SERVER_API_AUTH_STRING": "me:mine"}
    assert prefect_access(settings, "127.0.0.1", given)["PREFECT_API_AUTH_STRING"] == "me:mine"
    assert not (settings.home / "prefect-password").exists()
