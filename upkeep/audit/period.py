"""Events of a period for other systems: JSON Lines in CloudEvents 1.0 envelopes, or CSV for spreadsheets."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from typing import Any

from upkeep.audit.chain import canonical
from upkeep.audit.tables import EventRow

COLUMNS = (
    "seq",
    "at",
    "run",
    "action",
    "happening",
    "host",
    "stage",
    "step",
    "actor",
    "actor_kind",
    "on_behalf_of",
    "reason",
    "body",
    "prev_hash",
    "hash",
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def cloud_events(rows: Iterable[EventRow]) -> Iterator[str]:
    """One envelope a line; `data` is the event as it was written, `hash` its place in the chain."""
    for row in rows:
        envelope = {
            "specversion": "1.0",
            "id": row.hash,
            "source": f"/upkeep/runs/{row.run}" if row.run else "/upkeep/history",
            "type": f"upkeep.{row.action}",
            "time": row.at,
            "datacontenttype": "application/json",
            "sequence": f"{row.seq:020d}",
            "hash": row.hash,
            "prevhash": row.prev_hash,
            "data": json.loads(row.body),
        }
        yield canonical(envelope | ({"subject": row.host} if row.host else {})) + "\n"


def comma_separated(rows: Iterable[EventRow]) -> Iterator[str]:
    """A header, then one line an event; no cell is taken for a formula."""
    yield _line(COLUMNS)
    for row in rows:
        event: dict[str, Any] = json.loads(row.body)
        actor = event["actor"]
        told = {"actor": actor["name"], "actor_kind": actor["kind"], "on_behalf_of": actor["on_behalf_of"]}
        told |= {"body": canonical(event["body"]), "prev_hash": row.prev_hash, "hash": row.hash}
        yield _line(_cell((event | told)[column]) for column in COLUMNS)


def _line(cells: Iterable[str]) -> str:
    text = io.StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue()


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
