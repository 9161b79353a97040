"""Where Upkeep keeps its state, read from the environment once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Folders and addresses of this controller."""

    model_config = ConfigDict(frozen=True)

    home: Path
    database_url: str
    ssh_config: Path
    checkpoints: str
    plans: tuple[Path, ...] = ()
    inventories: tuple[Path, ...] = ()
    proxy_header: str = ""
    trusted_proxies: str = ""
    relay: str = ""
    tickets: Path = Path("tickets.yaml")
    url: str = ""
    checks: Path = Path("checks.yaml")
    keep_history: str = ""
    archives: str = ""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """`UPKEEP_HOME` (default ~/.local/state/upkeep), `UPKEEP_DATABASE_URL` (default SQLite in that folder), `UPKEEP_CHECKPOINTS`.

        `UPKEEP_PLANS`: folders, separated by colons, whose plans start by themselves, whose templates are watched, and which
        the forms offer; `UPKEEP_INVENTORIES`: folders whose inventories the forms offer. Who signed in at the site's own proxy
        comes in the header `UPKEEP_PROXY_HEADER` from the addresses `UPKEEP_TRUSTED_PROXIES`, and from no others.

        `UPKEEP_RELAY` is the ADDRESS[:PORT] of this controller from which hosts may pull archives. `UPKEEP_URL` is the address of
        the web pages as people reach it; without it messages hold no links. `UPKEEP_TICKETS`
        is the file that names ticket systems; default: tickets.yaml in UPKEEP_HOME. `UPKEEP_CHECKS` holds the site's own
        checks; default: checks.yaml in UPKEEP_HOME. `UPKEEP_KEEP_HISTORY` is how many days of history the database keeps
        when `upkeep history archive` names no date, `UPKEEP_ARCHIVES` the folder where the rest goes.
        """
        home = Path(environ.get("UPKEEP_HOME") or Path.home() / ".local" / "state" / "upkeep").expanduser().absolute()
        return cls(
            home=home,
            database_url=environ.get("UPKEEP_DATABASE_URL") or f"sqlite:///{home / 'history.db'}",
            ssh_config=Path(environ.get("UPKEEP_SSH_CONFIG") or Path.home() / ".ssh" / "config"),
            checkpoints=environ.get("UPKEEP_CHECKPOINTS") or str(home / "checkpoints"),
            plans=_folders(environ.get("UPKEEP_PLANS") or str(home / "plans")),
            inventories=_folders(environ.get("UPKEEP_INVENTORIES") or str(home / "inventories")),
            proxy_header=environ.get("UPKEEP_PROXY_HEADER", ""),
            trusted_proxies=environ.get("UPKEEP_TRUSTED_PROXIES", ""),
            relay=environ.get("UPKEEP_RELAY", ""),
            tickets=Path(environ.get("UPKEEP_TICKETS") or home / "tickets.yaml").expanduser().absolute(),
            url=environ.get("UPKEEP_URL", "").rstrip("/"),
            checks=Path(environ.get("UPKEEP_CHECKS") or home / "checks.yaml").expanduser().absolute(),
            keep_history=environ.get("UPKEEP_KEEP_HISTORY", ""),
            archives=environ.get("UPKEEP_ARCHIVES", ""),
        )

    @property
    def cache(self) -> Path:
        """Verified artifacts, by SHA-256."""
        return self.home / "artifacts"

    @property
    def backups(self) -> Path:
        """Backups of hosts: one folder per run."""
        return self.home / "backups"

    @property
    def backup_keys(self) -> Path:
        """Keys that seal the backups."""
        return self.home / "backup-keys"

    @property
    def keys(self) -> Path:
        """Keys that sign the history's checkpoints."""
        return self.home / "keys"

    @property
    def reports(self) -> Path:
        """Reports of inspections and diagnoses."""
        return self.home / "reports"

    @property
    def lab(self) -> Path:
        """The lab's hosts."""
        return self.home / "lab"


def _folders(text: str) -> tuple[Path, ...]:
    return tuple(Path(part).expanduser().absolute() for part in text.split(os.pathsep) if part)
