"""`upkeep backups`: what was saved of hosts, opened again, and the keys it is sealed with."""

from __future__ import annotations

import getpass
import json
import os
import sys
from pathlib import Path

from rich.table import Table

from upkeep.console.screen import screen
from upkeep.domain.record import Actor
from upkeep.errors import BadInput
from upkeep.wiring import site


def show(run_id: str, *, as_json: bool) -> None:
    """Print a run's backups on this controller."""
    here = site()
    run = here.history.run(run_id).id
    kept = here.history.backups(run)
    if as_json:
        sys.stdout.write(json.dumps([backup.model_dump(mode="json") for backup in kept], indent=2) + "\n")
        return
    table = Table("host", "taken at", "files", "bytes", "SHA-256", "file", title=f"backups of run {run}")
    for backup in kept:
        there = backup.path if Path(backup.path).exists() else f"{backup.path} (gone)"
        taken = f"{backup.taken_at:%Y-%m-%d %H:%M}"
        table.add_row(backup.host, taken, str(backup.files), str(backup.size_bytes), backup.sha256[:16], there)
    screen().print(table)


def write_opened(run_id: str, host: str, out: Path | None) -> None:
    """Write one host's backup as the archive it is (tar.gz), for its owner alone.

    Raises:
        BadInput: the run has no backup of the host, or the file is there already.
        BackupError: the backup cannot be opened.
    """
    here = site()
    run = here.history.run(run_id).id
    kept = [backup for backup in here.history.backups(run) if backup.host == host and Path(backup.path).exists()]
    if not kept:
        hosts = ", ".join(sorted({backup.host for backup in here.history.backups(run)})) or "none"
        raise BadInput(f"run {run} has no backup of this host here", found=host, allowed=hosts)
    target = out or Path(f"{host}-{run}.tar.gz")
    try:
        opened = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise BadInput(
            f"{target} cannot be written: {error.strerror}", remedy="name another file with --out"
        ) from error
    with os.fdopen(opened, "wb") as file:
        sealed = here.backup_keys.opened(Path(kept[-1].path), f"{run}/{host}")
        for piece in here.kept_binaries.put_together(sealed):
            file.write(piece)
    screen().print(
        f"{target}: {kept[-1].files} files of {host}, as they were at {kept[-1].taken_at:%Y-%m-%d %H:%M} UTC"
    )


def rotate_key(reason: str) -> None:
    """Seal with a new key from here on."""
    here = site()
    before, now = here.backup_keys.current(), here.backup_keys.rotate()
    _note("backup_key.rotated", reason, {"from": before, "to": now})
    screen().print(f"backups are sealed with key {now} from here on; key {before} still opens what it sealed")
    screen().print(f"→ keep a safe copy of {here.settings.backup_keys}: without its key no backup can be opened")


def retire_key(key: str, reason: str) -> None:
    """Put a key away."""
    away = site().backup_keys.retire(key)
    _note("backup_key.retired", reason, {"key": key})
    screen().print(f"key {key} lies in {away}; what it sealed cannot be opened until it is put back")


def _note(action: str, reason: str, body: dict[str, str]) -> None:
    site().history.record("", action, actor=Actor(name=getpass.getuser()), reason=reason, body=body)
