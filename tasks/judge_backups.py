"""What the controller's own store says of a host's backups: how old, how large, and whether they are still there."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

from upkeep.audit.history import History
from upkeep.audit.reading import BackupDetail
from upkeep.domain.check import CONTROLLER, NOTHING, Check, Line, judge
from upkeep.domain.finding import Finding

_LEAST_BEFORE = 2
"""So many earlier backups say what is usual."""


def backup_findings(history: History, host: str, checks: Iterable[Check], now: datetime) -> list[Finding]:
    """The findings of the checks that the controller answers."""
    asked = [check for check in checks if check.look == CONTROLLER]
    if not asked:
        return []
    lines = _lines(history.backups_of_host(host), now)
    return [finding for check in asked for finding in judge(check, lines.get(check.reads, ()))]


def _lines(backups: Sequence[BackupDetail], now: datetime) -> dict[str, list[Line]]:
    if not backups:
        none = Line(NOTHING, "", "Upkeep took no backup of this host yet")
        return {key: [none] for key in ("backup.age", "backup.size", "backup.stored")}
    newest = backups[-1]
    days = (now - newest.taken_at).total_seconds() / 86400
    return {
        "backup.age": [Line(f"{max(0.0, days):.1f}", "", f"(taken {newest.taken_at:%Y-%m-%d %H:%M} UTC)")],
        "backup.size": [_size(newest, backups[:-1])],
        "backup.stored": [_stored(newest)],
    }


def _size(newest: BackupDetail, before: Sequence[BackupDetail]) -> Line:
    usual = statistics.median(one.size_bytes for one in before) if len(before) >= _LEAST_BEFORE else 0
    if not usual:
        return Line(NOTHING, "", "there are too few backups to say what is usual")
    return Line(f"{100 * newest.size_bytes / usual:.0f}", "", f"({newest.size_bytes} bytes, usually {usual:.0f})")


def _stored(newest: BackupDetail) -> Line:
    try:
        size = Path(newest.path).stat().st_size
    except OSError as error:
        return Line("missing", "", f"{newest.path}: {error.strerror}")
    if size < newest.size_bytes:
        return Line("cut", "", f"{newest.path} has {size} bytes, the archive in it {newest.size_bytes}")
    return Line("there", "", f"{newest.path}, {size} bytes")
