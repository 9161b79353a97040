"""How long a site keeps its history in the database, and what follows from it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from upkeep.audit.archive_file import Archive
from upkeep.audit.archiving import archive, finish, plan
from upkeep.audit.checkpoints import Checkpoints
from upkeep.audit.history import UPKEEP, History
from upkeep.errors import BadInput

YOUNGEST = timedelta(days=8)
"""A rollback stays possible for seven days, and needs the run in the database."""


def kept_since(days: str, now: datetime) -> datetime:
    """What ended before then is old, where `days` of history are kept.

    Raises:
        BadInput: that is no number of days, or too few.
    """
    if not (days.isascii() and days.isdigit() and len(days) < 6):  # noqa: PLR2004 - 273 years
        raise BadInput("UPKEEP_KEEP_HISTORY is not a number of days", found=days, allowed="e.g. 400")
    return old_enough(now - timedelta(days=int(days)), now)


def old_enough(limit: datetime, now: datetime) -> datetime:
    """The moment itself, where all before it may go.

    Raises:
        BadInput: runs since then may still be rolled back or taken up.
    """
    if limit > now - YOUNGEST:
        allowed = f"up to {now - YOUNGEST:%Y-%m-%d %H:%M} UTC: younger runs may still be rolled back or taken up"
        raise BadInput("that is too young to be archived", found=f"{limit:%Y-%m-%d %H:%M} UTC", allowed=allowed)
    return limit


def keep_policy(
    history: History, checkpoints: Checkpoints, days: str, folder: Path, now: datetime
) -> Iterator[Archive]:
    """Archive what is older than the site keeps, as Upkeep itself, and end what was broken off before.

    Raises:
        BadInput: the site says no number of days.
        AuditError: the history cannot be read, or a file not be written.
    """
    limit = kept_since(days, now)
    finish(history)
    for stretch in plan(history, limit).stretches:
        reason = f"this site keeps {days} days of history"
        yield archive(history, checkpoints, stretch, folder, actor=UPKEEP, reason=reason)
