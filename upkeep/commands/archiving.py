"""`upkeep history archive`, `archived` and `restore`: old runs in files that prove themselves, and back."""

from __future__ import annotations

import getpass
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from rich.table import Table

from upkeep.audit.archive_file import opened, read_archive
from upkeep.audit.archiving import Planned, archive, finish, plan, restore
from upkeep.audit.history import History
from upkeep.audit.queries import as_written
from upkeep.audit.retention import kept_since, old_enough
from upkeep.audit.tables import ArchivedRunRow, ArchiveRow
from upkeep.console.screen import screen
from upkeep.domain.record import Actor
from upkeep.errors import AuditError, BadInput
from upkeep.wiring import Site, site


def archive_history(before: str, to: Path | None, reason: str, *, dry_run: bool, as_json: bool) -> None:
    """Archive all that ended before a date, one file after the other, and say what went where."""
    here, limit = site(), _limit(before)
    folder = to or (Path(here.settings.archives).expanduser() if here.settings.archives else None)
    if folder is None and not dry_run:
        raise BadInput("there is no place for archives", remedy="name one with --to DIR, or set UPKEEP_ARCHIVES")
    if not dry_run:
        finish(here.history)
    planned = plan(here.history, limit)
    made = []
    for stretch in planned.stretches:
        facts: dict[str, object] = {"first": stretch.first_seq, "last": stretch.upto_seq, "runs": len(stretch.runs)}
        if folder and not dry_run:
            actor = Actor(name=getpass.getuser())
            done = archive(here.history, here.checkpoints, stretch, folder, actor=actor, reason=reason)
            facts |= {"file": str(done.path), "sha256": done.sha256, "size_bytes": done.size_bytes}
        made.append(facts)
    if as_json:
        sys.stdout.write(
            json.dumps({"archived": [] if dry_run else made, "planned": made, "why": planned.why}, indent=2) + "\n"
        )
        return
    for facts in made:
        where = f" → {facts['file']} (SHA-256 {facts['sha256']})" if "file" in facts else " would be archived"
        screen().print(
            f"events {facts['first']} to {facts['last']}, {facts['runs']} runs{where}", markup=False, soft_wrap=True
        )
    _say_the_rest(planned, bool(made), limit)


def show_archives(file: Path | None, *, as_json: bool) -> int:
    """Print archives and their runs; of one file, whether it is what was signed: 1 when it is not."""
    here = site()
    if file is None:
        listed = [(row, here.history.archived_runs(row.first_seq)) for row in here.history.archives()]
        return _show(listed, as_json=as_json)
    try:
        found = read_archive(file, here.checkpoints.keys.publics())
    except AuditError as error:
        if as_json:
            sys.stdout.write(json.dumps({"ok": False, "reason": str(error)}, indent=2) + "\n")
        else:
            screen().print(str(error), markup=False, soft_wrap=True)
        return 1
    said = f"good: events {found.first_seq} to {found.upto_seq}, {len(found.runs)} runs, SHA-256 {found.sha256}"
    if as_json:
        facts = {"ok": True, "reason": said, "first": found.first_seq, "last": found.upto_seq, "sha256": found.sha256}
        sys.stdout.write(json.dumps(facts | {"runs": list(found.runs)}, indent=2) + "\n")
        return 0
    screen().print(said, markup=False, soft_wrap=True)
    _print_runs([ArchivedRunRow(**run, archive=found.first_seq) for run in found.runs])
    return 0


def restore_archive(file: Path, reason: str) -> None:
    """Put an archive back and say so."""
    here = site()
    found = read_archive(file, here.checkpoints.keys.publics())
    restore(here.history, found, Actor(name=getpass.getuser()), reason)
    here.checkpoints.make()
    screen().print(
        f"{len(found.runs)} runs are in the database again: events {found.first_seq} to {found.upto_seq}", markup=False
    )


@contextmanager
def reading(here: Site, file: Path | None) -> Iterator[History]:
    """A controller's history, or an archive of it as one.

    Raises:
        AuditError: the archive is not what was signed.
    """
    if file is None:
        yield here.history
        return
    with opened(read_archive(file, here.checkpoints.keys.publics())) as history:
        yield history


def archived_within(history: History, since: datetime | None, until: datetime | None) -> list[ArchiveRow]:
    """Archives with events of a period."""
    begin, end = as_written(since) if since else "", as_written(until) if until else "9999"
    return [row for row in history.archives() if row.last_at >= begin and row.first_at < end]


def moment(option: str, text: str) -> datetime | None:
    """A time as people write it; None for none.

    Raises:
        BadInput: it is none.
    """
    try:
        found = datetime.fromisoformat(text) if text else None
    except ValueError as error:
        allowed = "a date or a time, e.g. 2026-11-01 or 2026-11-01T22:00:00+01:00; without a zone it is UTC"
        raise BadInput(f"{option} is not a time", found=text, allowed=allowed) from error
    return found if found is None or found.tzinfo else found.replace(tzinfo=UTC)


def _limit(before: str) -> datetime:
    now, days = datetime.now(UTC), site().settings.keep_history
    if limit := moment("--before", before):
        return old_enough(limit, now)
    if days:
        return kept_since(days, now)
    remedy = "give --before DATE, or set UPKEEP_KEEP_HISTORY to a number of days"
    raise BadInput("nothing says what is old", remedy=remedy)


def _say_the_rest(planned: Planned, some: bool, limit: datetime) -> None:  # noqa: FBT001 - whether anything was found
    if planned.why:
        text = "nothing more can be" if some else "nothing can be"
        screen().print(f"{text} archived of what was before {limit:%Y-%m-%d %H:%M} UTC: {planned.why}", markup=False)
    if some:
        screen().print(
            "→ keep the files where nobody of the site can change them; `upkeep history archived` names them"
        )


def _show(listed: list[tuple[ArchiveRow, list[ArchivedRunRow]]], *, as_json: bool) -> int:
    if as_json:
        told = [row.model_dump() | {"runs": [run.model_dump() for run in runs]} for row, runs in listed]
        sys.stdout.write(json.dumps(told, indent=2) + "\n")
        return 0
    for row, runs in listed:
        there = "" if Path(row.file).is_file() else " (not there now)"
        text = f"events {row.first_seq} to {row.upto_seq}, by {row.by} on {row.at[:10]}: {row.file}{there}"
        screen().print(f"{text}{', ' + row.reason if row.reason else ''}", markup=False, soft_wrap=True)
        _print_runs(runs)
    if not listed:
        screen().print("nothing is archived")
    return 0


def _print_runs(runs: list[ArchivedRunRow]) -> None:
    table = Table("run", "runbook", "plan", "started", "outcome", "hosts", "by", "ticket")
    for run in runs:
        started = run.started_at[:19].replace("T", " ")
        table.add_row(run.id, run.runbook, run.plan, started, run.outcome, str(run.hosts), run.actor, run.ticket)
    screen().print(table)
