"""The hash chain over events: canonical JSON, each hash covering the one before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

from upkeep.audit.tables import EventRow

GENESIS = hashlib.sha256(b"upkeep history v1").hexdigest()
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
    """Walk the events in order; names the first that was edited, removed, put in or moved."""
    expected_seq, prev = 1, GENESIS
    for row in rows:
        if row.seq != expected_seq:
            return ChainState(ok=False, reason=f"event {expected_seq} is missing", bad_seq=expected_seq)
        if row.prev_hash != prev:
            return ChainState(ok=False, reason=f"event {row.seq} does not follow the one before it", bad_seq=row.seq)
        if chained(row.seq, row.body, prev) != row.hash or not _columns_agree(row):
            return ChainState(ok=False, reason=f"event {row.seq} was changed after it was written", bad_seq=row.seq)
        expected_seq, prev = expected_seq + 1, row.hash
    return ChainState(ok=True, reason=f"{expected_seq - 1} events, the chain is whole")


def _columns_agree(row: EventRow) -> bool:
    body = json.loads(row.body)
    return (row.at, row.run, row.action, row.host) == (body["at"], body["run"], body["action"], body["host"])
