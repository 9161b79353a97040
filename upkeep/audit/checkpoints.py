"""Making checkpoints: at the end of every run, every hour while a process runs, and at a change of keys; copied away each time."""

from __future__ import annotations

import base64
import logging
import threading
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, update
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session, col, select

from upkeep.audit.chain import GENESIS
from upkeep.audit.checkpoint import Checkpoint, digest_of
from upkeep.audit.copies import Copies
from upkeep.audit.database import trouble, writing
from upkeep.audit.rotation import ROTATED, Rotation, rotation_in
from upkeep.audit.signing import KeyFolder
from upkeep.audit.tables import CheckpointRow, EventRow
from upkeep.audit.writer import MOVED_AWAY, newest
from upkeep.domain.record import Event
from upkeep.errors import AuditError

log = logging.getLogger(__name__)

EVERY = timedelta(hours=1)
COPIED_WITHIN = timedelta(seconds=10)
_SOONEST = timedelta(minutes=1)  # commands that only look are over before they would sign anything
_AT_ONCE = 500


class Checkpoints:
    """Signs what the history holds; safe for many threads and processes."""

    def __init__(self, engine: Engine, url: str, keys: KeyFolder, copies: Copies) -> None:
        self.keys, self.copies = keys, copies
        self._engine, self._url = engine, url
        self._copying = threading.Lock()
        self._over = threading.Event()

    def make(self, *, if_older_than: timedelta = timedelta()) -> Checkpoint | None:
        """Sign the newest event, and copy what has no copy yet; None when the newest checkpoint is young enough.

        Raises:
            AuditError: the database or the key cannot be used.
        """
        try:
            with writing(self._engine) as connection:
                made = self._signed(Session(bind=connection, join_transaction_mode="control_fully"), if_older_than)
        except SQLAlchemyError as error:
            raise trouble(self._url, error) from error
        self._copy_within(COPIED_WITHIN)
        return made

    def heard(self, event: Event) -> None:
        """A listener of the history: a run that ends is sealed. Never raises: the run is over and right."""
        if event.action == "run.closed":
            self._make_or_say(timedelta())

    def every(self, interval: timedelta = EVERY) -> None:
        """From here on, until `close` or the end of the process, make one whenever the newest is `interval` old."""
        threading.Thread(target=self._keep_making, args=(interval,), name="checkpoints", daemon=True).start()

    def close(self) -> None:
        """Make no more by the clock."""
        self._over.set()

    def rotation(self) -> Rotation:
        """The change from the current key to a new one, signed by both; the event that holds it makes it valid."""
        old, new = self.keys.current(), self.keys.coming()
        publics = [base64.b64encode(key.public.raw).decode() for key in (old, new)]
        unsigned = Rotation(old_public=publics[0], new_public=publics[1], at=datetime.now(UTC).isoformat())
        return unsigned.signed(old, new)

    def copy_missing(self) -> None:
        """Copy every checkpoint that has no copy yet, oldest first.

        Raises:
            AuditError: one could not be copied; the next call begins with it.
        """
        if not self._copying.acquire(timeout=COPIED_WITHIN.total_seconds()):
            raise AuditError(f"the copies before are still on their way to {self.copies.where}")
        try:
            while rows := self._not_copied():
                for row in rows:
                    checkpoint = Checkpoint.of(row)
                    self.copies.write(checkpoint.file_name, checkpoint.text().encode())
                    self._note_copied(row.id)
        finally:
            self._copying.release()

    def _signed(self, session: Session, if_older_than: timedelta) -> Checkpoint | None:
        now = datetime.now(UTC)
        before = session.exec(select(CheckpointRow).order_by(col(CheckpointRow.id).desc()).limit(1)).first()
        if before and now - datetime.fromisoformat(before.at) < if_older_than:
            return None
        head = newest(session)
        if head and head.action == MOVED_AWAY:
            return None  # it goes on elsewhere, and so do its checkpoints
        covered = before.upto_seq if before else 0
        newer = select(EventRow.seq, EventRow.hash).where(EventRow.seq > covered).order_by(col(EventRow.seq))
        events = session.exec(newer).all()
        key = self.keys.signing(_announced(session))
        made = Checkpoint(
            id=before.id + 1 if before else 1,
            upto_seq=events[-1][0] if events else covered,
            head_hash=events[-1][1] if events else (before.head_hash if before else GENESIS),
            n=len(events),
            hashes_sha256=digest_of(text for _, text in events),
            at=now.isoformat(),
            key_id=key.id,
            prev_sig=before.sig if before else "",
        ).signed(key)
        session.add(CheckpointRow(**made.model_dump()))
        session.flush()
        return made

    def _keep_making(self, interval: timedelta) -> None:
        soonest = min(_SOONEST, interval)
        while not self._over.wait(soonest.total_seconds()):
            self._make_or_say(interval)

    def _make_or_say(self, if_older_than: timedelta) -> None:
        try:
            self.make(if_older_than=if_older_than)
        except AuditError as error:
            log.warning("no checkpoint was made (%s); the next one covers what this one would have", error)

    def _copy_within(self, limit: timedelta) -> None:
        """A store that hangs is left alone; what it did not take is tried again with the next checkpoint."""
        thread = threading.Thread(target=self._copy_or_say, name="checkpoint copies", daemon=True)
        thread.start()
        thread.join(limit.total_seconds())

    def _copy_or_say(self) -> None:
        try:
            self.copy_missing()
        except AuditError as error:
            log.warning("%s; it is tried again with the next checkpoint", error)

    def _not_copied(self) -> list[CheckpointRow]:
        wanted = select(CheckpointRow).where(CheckpointRow.exported_to == "").order_by(col(CheckpointRow.id))
        try:
            with Session(self._engine) as session:
                return list(session.exec(wanted.limit(_AT_ONCE)))
        except SQLAlchemyError as error:
            raise trouble(self._url, error) from error

    def _note_copied(self, number: int) -> None:
        changed = update(CheckpointRow).where(col(CheckpointRow.id) == number).values(exported_to=self.copies.where)
        try:
            with writing(self._engine) as connection:
                connection.execute(changed)
        except SQLAlchemyError as error:
            raise trouble(self._url, error) from error


def _announced(session: Session) -> str:
    """The id of the key that the newest rotation named; empty without one."""
    rotations = select(EventRow).where(EventRow.run == "", EventRow.action == ROTATED)
    changes = map(rotation_in, session.exec(rotations.order_by(col(EventRow.seq).desc())))
    return next((change.new.id for change in changes if change), "")
