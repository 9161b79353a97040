"""Appending events: many threads hand in, one thread commits together what came in meanwhile."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session, col, select

from upkeep.audit.chain import GENESIS, canonical, chained
from upkeep.audit.database import trouble, writing
from upkeep.audit.models import Plain, ReadModels
from upkeep.audit.plain_sql import PlainSql
from upkeep.audit.redaction import Redaction
from upkeep.audit.tables import EventRow
from upkeep.domain.record import Event
from upkeep.errors import AuditError

MOST_TOGETHER = 256
MOVED_AWAY = "history.moved_away"
"""A history that ends with this event goes on in another database; nothing is written after it."""

_HEAD = "SELECT seq, hash, action, body FROM event ORDER BY seq DESC LIMIT 1"
_EVENTS = PlainSql.insert("event", "seq", "at", "run", "action", "host", "body", "prev_hash", "hash")

Link = tuple[int, str]
"""Number and hash of the event before."""
Beside = Callable[[Session], None]


@dataclass
class Entry:
    """One event to append, and what it changes beside the read models; `done` is set after the commit."""

    event: Event
    apply: Beside | None = None
    done: Future[Event] = field(default_factory=Future)


class Writer:
    """The only writer of this process. A commit is durable before anybody who waits for it goes on."""

    def __init__(self, engine: Engine, url: str, redaction: Redaction) -> None:
        self._engine, self._url, self._redaction = engine, url, redaction
        self._queue: SimpleQueue[Entry | None] = SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="history", daemon=True)
        self._thread.start()

    def append(self, event: Event, apply: Beside | None = None) -> Event:
        """Append one event and wait until it is durable.

        Raises:
            AuditError: it could not be written.
        """
        if self._closed:
            raise AuditError("the history is closed")
        entry = Entry(event, apply)
        self._queue.put(entry)
        return entry.done.result()

    def append_all(self, events: Iterable[Event]) -> list[Event]:
        """Append events one after the other and wait once, until all of them are durable.

        Raises:
            AuditError: one of them could not be written; the others are.
        """
        if self._closed:
            raise AuditError("the history is closed")
        entries = [Entry(event) for event in events]
        for entry in entries:
            self._queue.put(entry)
        wait([entry.done for entry in entries])
        return [entry.done.result() for entry in entries]

    def close(self) -> None:
        """Write what was handed in, then end."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
            self._thread.join()

    def _work(self) -> None:
        while (first := self._queue.get()) is not None:
            batch, last = [first], False
            with contextlib.suppress(Empty):
                while len(batch) < MOST_TOGETHER:
                    entry = self._queue.get_nowait()
                    if entry is None:
                        last = True
                        break
                    batch.append(entry)
            self._commit(batch)
            if last:
                return

    def _commit(self, batch: Sequence[Entry]) -> None:
        try:
            with writing(self._engine) as connection:
                models, rows, told = ReadModels(connection), [], []
                link = _head(connection)
                for entry in batch:
                    row, event, written = next_row(entry.event, link, self._redaction)
                    link = row["seq"], row["hash"]
                    rows.append(row)
                    told.append(written)
                    models.take(event)
                    if entry.apply is not None:
                        models.flush()
                        entry.apply(models.session)
                models.end()
                _EVENTS.many(connection, rows)
        except SQLAlchemyError as error:
            self._fail(batch, trouble(self._url, error))
        except AuditError as error:
            self._fail(batch, error)
        except Exception as error:  # noqa: BLE001 - a writer that ends lets everybody wait for ever
            self._fail(batch, AuditError(f"the event cannot be kept ({type(error).__name__}: {error})"))
        else:
            for entry, written in zip(batch, told, strict=True):
                entry.done.set_result(written)

    def _fail(self, batch: Sequence[Entry], error: AuditError) -> None:
        """One entry's trouble must not take the others along: each is tried alone."""
        if len(batch) == 1:
            batch[0].done.set_exception(error)
            return
        for entry in batch:
            self._commit([entry])


def newest(session: Session) -> EventRow | None:
    """The last event there is."""
    return session.exec(select(EventRow).order_by(col(EventRow.seq).desc()).limit(1)).first()


def link_of(head: EventRow | None) -> Link:
    """What the event after `head` continues."""
    return (head.seq, head.hash) if head else (0, GENESIS)


def next_row(event: Event, link: Link, redaction: Redaction) -> tuple[dict[str, Any], Plain, Event]:
    """The row that follows `link` in the chain, and the event as it is in it, masked: as JSON, and as who listens hears it."""
    seq, prev = link[0] + 1, link[1]
    given = event.model_dump(mode="json") | {"seq": seq}
    plain, body = given, canonical(given)
    if redaction.may_change(body):
        plain = redaction.data(given)  # type: ignore[assignment]
        body = canonical(plain)
    written = event.model_copy(update={"seq": seq}) if plain == given else Event.model_validate(plain)
    told = {name: plain[name] for name in ("at", "run", "action", "host")}
    return {"seq": seq, **told, "body": body, "prev_hash": prev, "hash": chained(seq, body, prev)}, plain, written


def _head(connection: Connection) -> Link:
    """What the next event continues; asked for in each transaction, because other processes write, too."""
    head = connection.exec_driver_sql(_HEAD).first()
    if head is None:
        return 0, GENESIS
    if head.action == MOVED_AWAY:
        to = json.loads(head.body)["body"]["to"]
        raise AuditError(
            f"the history was moved to {to}; do: set UPKEEP_DATABASE_URL to it and start this process anew"
        )
    return head.seq, head.hash
