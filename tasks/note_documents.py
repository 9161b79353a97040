"""What a run was opened with, compared with the last time: plans, inventories and settings that changed are events."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from upkeep.audit.chain import canonical
from upkeep.audit.database import shown_address
from upkeep.audit.documents_seen import Seen, note
from upkeep.domain.record import RunRecord
from upkeep.wiring import Site


def note_documents(site: Site, record: RunRecord) -> None:
    """Write down what differs; nothing where all is as it was.

    Raises:
        AuditError: the history cannot be written.
    """
    for seen in (*_files(record), _settings(site)):
        note(site.history, seen, record.actor, record.id)


def _files(record: RunRecord) -> Iterator[Seen]:
    named = {"plan": record.asked.plan, "inventory": record.asked.inventory} if record.asked else {}
    for kind, name in named.items():
        with suppress(OSError, UnicodeError):  # what was used of it is frozen in the run's record
            if name:
                yield Seen(kind, name, Path(name).read_text("utf-8"))


def _settings(site: Site) -> Seen:
    told = site.settings.model_dump(mode="json")
    return Seen("settings", "controller", canonical(told | {"database_url": shown_address(site.settings.database_url)}))
