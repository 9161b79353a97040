"""The hash chain over events: canonical JSON, each hash covering the one before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field

from upkeep.audit.tables import EventRow

GENESIS = hashlib.sha256(b"upkeep history v1").hexdigest()
ARCHIVED, RESTORED = "history.archived", "history.restored"
GONE = ("", "(archived)", "archived", "(archived)")
"""What stands for moment, run, action and host of an event whose text lies in an archive."""
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_DOMAIN = b"upkeep.event.v1\0"


@dataclass(frozen=True)
class ChainState:
    """Whether the chain is whole; `bad_seq` is the first event that is not right."""

    ok: bool
    reason: str
    bad_seq: int | None = None


def canonical(value: object) -> str:
    """JSON with sorted keys and no spaces, after RFC 8785 for the values used here (texts, integers, finite floats, booleans, null)."""
    return _ENCODER.encode(value)


def chained(seq: int, body: str, prev_hash: str) -> str:
    """SHA-256, in hex, over domain, sequence, previous hash and the event's canonical JSON."""
    return hashlib.sha256(_DOMAIN + f"{seq}\0{prev_hash}\0{body}".encode()).hexdigest()


def verify_chain(rows: Iterable[EventRow]) -> ChainState:
    """Walk the events in order; names the first that was edited, removed, put in or moved.

    Where an event of the chain says that texts were archived, they may be gone; their numbers and hashes are still there.
    """
    expected_seq, prev, archived = 1, GENESIS, _Archived()
    for row in rows:
        if row.seq != expected_seq:
            return ChainState(ok=False, reason=f"event {expected_seq} is missing", bad_seq=expected_seq)
        if row.prev_hash != prev:
            return ChainState(ok=False, reason=f"event {row.seq} does not follow the one before it", bad_seq=row.seq)
        if not _as_written(row, prev):
            return ChainState(ok=False, reason=f"event {row.seq} was changed after it was written", bad_seq=row.seq)
        archived.saw(row)
        expected_seq, prev = expected_seq + 1, row.hash
    if lost := archived.lost():
        reason = f"the text of event {lost} is gone and no archive of this history holds it"
        return ChainState(ok=False, reason=reason, bad_seq=lost)
    return ChainState(ok=True, reason=f"{expected_seq - 1} events, the chain is whole")


@dataclass
class _Archived:
    """Stretches of events without text, and the stretches that events say are archived."""

    gone: list[list[int]] = field(default_factory=list)
    told: dict[int, int] = field(default_factory=dict)

    def saw(self, row: EventRow) -> None:
        if not row.body:
            if self.gone and self.gone[-1][1] == row.seq - 1:
                self.gone[-1][1] = row.seq
            else:
                self.gone.append([row.seq, row.seq])
        elif row.action in {ARCHIVED, RESTORED}:
            said = json.loads(row.body)["body"]
            self.told.pop(said["first_seq"], None)
            if row.action == ARCHIVED:
                self.told[said["first_seq"]] = said["upto_seq"]

    def lost(self) -> int | None:
        """The first event whose text no archive holds."""
        for first, last in self.gone:
            seq = first
            while seq <= last:
                holds = next((upto for begin, upto in self.told.items() if begin <= seq <= upto), None)
                if holds is None:
                    return seq
                seq = holds + 1
        return None


def _as_written(row: EventRow, prev: str) -> bool:
    columns = (row.at, row.run, row.action, row.host)
    if not row.body:
        return columns == GONE
    body = json.loads(row.body) if chained(row.seq, row.body, prev) == row.hash else None
    return body is not None and columns == (body["at"], body["run"], body["action"], body["host"])
