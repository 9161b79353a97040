"""ServiceNow: change requests over the Table API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from upkeep.domain.ticket import Ticket, TicketRef
from upkeep.domain.ticket_source import Fields
from upkeep.errors import ServiceError, ServiceRefused
from upkeep.services.tickets.http import JsonApi, text_of

_PAGE = 100
_MOST_ITEMS = 10_000
_CHANGE = "/api/now/table/change_request"
_REVIEW, _CLOSED = "0", "3"


class ServiceNow:
    """Asks one ServiceNow instance."""

    def __init__(self, source: str, api: JsonApi, fields: Fields) -> None:
        self._source, self._api, self._fields = source, api, fields

    def ticket(self, number: str) -> Ticket | None:
        """The change request with this number, its affected items, else its own configuration item."""
        row = self._row(number)
        if row is None:
            return None
        approval = _value(row, "approval")
        key = _value(row, "sys_id")
        main = _shown(row, "cmdb_ci")
        return Ticket(
            ref=TicketRef(source=self._source, id=number),
            key=key,
            title=_value(row, "short_description"),
            state=_value(row, "state"),
            state_label=_shown(row, "state"),
            approved=None if approval == "" else approval == "approved",
            approval=approval,
            on_hold=_value(row, "on_hold") == "true",
            on_hold_reason=_value(row, "on_hold_reason"),
            planned_start=_time(_value(row, self._fields.planned_start or "start_date")),
            planned_end=_time(_value(row, self._fields.planned_end or "end_date")),
            cis=tuple(dict.fromkeys(self._items(key))) or ((main,) if main else ()),
            plan=_value(row, self._fields.plan or "u_upkeep_plan"),
            requester=_shown(row, "requested_by"),
            url=f"{self._api.url}/nav_to.do?uri=change_request.do?sys_id={quote(key)}",
        )

    def has_note(self, number: str, marker: str) -> bool:
        """Whether a work note holds `marker`."""
        query = f"element_id={self._key(number)}^element=work_notes^valueLIKE{marker}"
        params = {"sysparm_query": query, "sysparm_fields": "value", "sysparm_limit": "1"}
        return bool(self._rows("/api/now/table/sys_journal_field", params)[0])

    def add_note(self, number: str, text: str) -> None:
        """Add a work note."""
        self._api.send("PATCH", f"{_CHANGE}/{self._key(number)}", {"work_notes": text})

    def move(self, number: str, state: str, note: str) -> None:
        """Change the state; through Review on the way to Closed, as the normal change model has it."""
        row = self._existing(number)
        now = _value(row, "state")
        where = f"{_CHANGE}/{_value(row, 'sys_id')}"
        if now == state:
            return
        if state == _CLOSED and now != _REVIEW:
            self._api.send("PATCH", where, {"state": _REVIEW})
        closing = {"close_code": "successful", "close_notes": note} if state == _CLOSED else {}
        self._api.send("PATCH", where, {"state": state, **closing})

    def _row(self, number: str) -> Mapping[str, Any] | None:
        named = (self._fields.plan or "u_upkeep_plan", self._fields.planned_start, self._fields.planned_end)
        fields = {
            *("number", "sys_id", "short_description", "state", "approval", "on_hold", "on_hold_reason", "cmdb_ci"),
            *("start_date", "end_date", "requested_by", *named),
        } - {""}
        params = {
            "sysparm_query": f"number={number}",
            "sysparm_display_value": "all",
            "sysparm_fields": ",".join(sorted(fields)),
            "sysparm_limit": "2",
        }
        rows, _ = self._rows(_CHANGE, params)
        rows = [row for row in rows if _value(row, "number") == number]
        if len(rows) > 1:
            raise ServiceRefused(f"{self._api.url}: has {len(rows)} changes with the number {number}")
        return rows[0] if rows else None

    def _existing(self, number: str) -> Mapping[str, Any]:
        row = self._row(number)
        if row is None:
            raise ServiceRefused(f"{self._api.url}: has no change {number} any more")
        return row

    def _key(self, number: str) -> str:
        return _value(self._existing(number), "sys_id")

    def _items(self, key: str) -> Iterator[str]:
        offset = 0
        while offset < _MOST_ITEMS:
            params = {
                "sysparm_query": f"task={key}^ORDERBYsys_id",
                "sysparm_fields": "ci_item.name",
                "sysparm_limit": str(_PAGE),
                "sysparm_offset": str(offset),
            }
            rows, total = self._rows("/api/now/table/task_ci", params)
            yield from filter(None, (_value(row, "ci_item.name") for row in rows))
            offset += len(rows)
            if not rows or offset >= total:
                return
        raise ServiceError(f"{self._api.url}: more than {_MOST_ITEMS} affected items")

    def _rows(self, path: str, params: Mapping[str, str]) -> tuple[list[Mapping[str, Any]], int]:
        answer = self._api.get(path, params)
        if answer is None:
            raise ServiceError(f"{self._api.url}{path}: there is no such table; do: check url in tickets.yaml")
        rows = answer.data.get("result") if isinstance(answer.data, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise ServiceError(f"{self._api.url}{path}: not as agreed: the answer holds no list 'result'")
        total = answer.headers.get("x-total-count", "")
        return rows, int(total) if total.isdecimal() else _MOST_ITEMS


def _value(row: Mapping[str, Any], name: str) -> str:
    """What the system holds: the `value` of a field that comes with its display value."""
    held = row.get(name)
    return text_of(held.get("value") if isinstance(held, dict) else held)


def _shown(row: Mapping[str, Any], name: str) -> str:
    held = row.get(name)
    return text_of(held.get("display_value") if isinstance(held, dict) else held)


def _time(text: str) -> datetime | None:
    """`YYYY-MM-DD HH:MM:SS`, which is UTC whatever zone people see."""
    if not text:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError as error:
        raise ServiceError(
            f"a planned time cannot be read: '{text[:40]}'; agreed: YYYY-MM-DD HH:MM:SS in UTC"
        ) from error
