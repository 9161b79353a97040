"""Jira Service Management: change issues over the REST API, version 2 (plain text notes), Cloud and Data Center."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from upkeep.domain.ticket import Ticket, TicketRef
from upkeep.domain.ticket_source import Fields
from upkeep.errors import ServiceError, ServiceRefused
from upkeep.services.tickets.http import JsonApi, text_of

_PAGE = 50
_MOST_PAGES = 200
_API = "/rest/api/2"


class Jira:
    """Asks one Jira site."""

    def __init__(self, source: str, api: JsonApi, fields: Fields) -> None:
        self._source, self._api = source, api
        self._names = {
            "plan": fields.plan or "Upkeep plan",
            "cis": fields.cis or "Affected hosts",
            "start": fields.planned_start or "Planned start",
            "end": fields.planned_end or "Planned end",
        }

    def ticket(self, number: str) -> Ticket | None:
        """The issue with this key and its approvals."""
        fields = self._fields
        wanted = ",".join(["summary", "status", "reporter", *fields.values()])
        answer = self._api.get(f"{_API}/issue/{quote(number, safe='')}", {"fields": wanted})
        if answer is None:
            return None
        held = _mapping(_mapping(answer.data, "the issue").get("fields"), "fields")
        state = text_of(_mapping(held.get("status"), "status").get("name"))
        reporter = held.get("reporter") or {}
        decisions = self._decisions(number)
        return Ticket(
            ref=TicketRef(source=self._source, id=number),
            key=text_of(answer.data.get("id")),
            title=text_of(held.get("summary")),
            state=state,
            approved=all(one == "approved" for one in decisions) if decisions else None,
            approval=", ".join(decisions) or "no approval was asked for",
            planned_start=_time(held.get(fields["start"])),
            planned_end=_time(held.get(fields["end"])),
            cis=tuple(dict.fromkeys(_names(held.get(fields["cis"])))),
            plan=next(_names(held.get(fields["plan"])), ""),
            requester=text_of(reporter.get("displayName") if isinstance(reporter, dict) else reporter),
            url=f"{self._api.url}/browse/{quote(number, safe='')}",
        )

    def has_note(self, number: str, marker: str) -> bool:
        """Whether a comment holds `marker`."""
        where = f"{_API}/issue/{quote(number, safe='')}/comment"
        seen = 0
        for _ in range(_MOST_PAGES):
            params = {"startAt": str(seen), "maxResults": str(_PAGE), "orderBy": "-created"}
            data = _mapping(self._read(where, params), "the comments")
            comments = data.get("comments") or []
            if any(marker in text_of(comment.get("body")) for comment in comments):
                return True
            seen += len(comments)
            if not comments or seen >= int(data.get("total") or 0):
                return False
        raise ServiceError(f"{self._api.url}{where}: more than {_PAGE * _MOST_PAGES} comments")

    def add_note(self, number: str, text: str) -> None:
        """Add an internal comment."""
        internal = [{"key": "sd.public.comment", "value": {"internal": True}}]
        self._api.send("POST", f"{_API}/issue/{quote(number, safe='')}/comment", {"body": text, "properties": internal})

    def move(self, number: str, state: str, note: str) -> None:  # noqa: ARG002 - comments say it already
        """Take the transition of this name, or the one that leads to the state of this name."""
        where = f"{_API}/issue/{quote(number, safe='')}/transitions"
        status = self._api.get(f"{_API}/issue/{quote(number, safe='')}", {"fields": "status"})
        if status is None:
            raise ServiceRefused(f"{self._api.url}: has no issue {number} any more")
        now = text_of(_mapping(_mapping(status.data, "issue").get("fields"), "fields").get("status", {}).get("name"))
        if now.casefold() == state.casefold():
            return
        offered = _mapping(self._read(where, {}), "transitions").get("transitions") or []
        names = {text_of(one.get("name")).casefold(): one for one in offered}
        names |= {text_of((one.get("to") or {}).get("name")).casefold(): one for one in offered}
        if state.casefold() not in names:
            shown = ", ".join(text_of(one.get("name")) for one in offered) or "none"
            raise ServiceRefused(f"{number} offers no transition '{state}' from '{now}'; it offers: {shown}")
        self._api.send("POST", where, {"transition": {"id": text_of(names[state.casefold()].get("id"))}})

    @functools.cached_property
    def _fields(self) -> dict[str, str]:
        """Our names for fields to the site's: custom fields have another id on every site."""
        listed = self._read(f"{_API}/field", {})
        if not isinstance(listed, list):
            raise ServiceError(f"{self._api.url}{_API}/field: not as agreed: no list of fields")
        known: dict[str, list[str]] = {}
        for one in listed:
            known.setdefault(text_of(one.get("name")).casefold(), []).append(text_of(one.get("id")))
        found = {}
        for ours, name in self._names.items():
            ids = known.get(name.casefold(), [name] if re.fullmatch(r"customfield_\d+|labels|components", name) else [])
            if len(ids) > 1:
                raise ServiceRefused(
                    f"{self._api.url}: several fields are called '{name}' ({', '.join(ids)}); do: name one by its id in tickets.yaml"
                )
            found[ours] = ids[0] if ids else f"(no field '{name}')"
        return found

    def _decisions(self, number: str) -> list[str]:
        where = f"/rest/servicedeskapi/request/{quote(number, safe='')}/approval"
        decisions: list[str] = []
        for _ in range(_MOST_PAGES):
            answer = self._api.get(where, {"start": str(len(decisions)), "limit": str(_PAGE)})
            if answer is None:
                return []
            data = _mapping(answer.data, "the approvals")
            values = data.get("values") or []
            decisions += [text_of(one.get("finalDecision")) for one in values]
            if data.get("isLastPage", True) or not values:
                return decisions
        raise ServiceError(f"{self._api.url}{where}: more than {_PAGE * _MOST_PAGES} approvals")

    def _read(self, path: str, params: Mapping[str, str]) -> Any:  # noqa: ANN401 - JSON
        answer = self._api.get(path, params)
        if answer is None:
            raise ServiceRefused(f"{self._api.url}{path}: there is nothing at this address (404)")
        return answer.data


def _mapping(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ServiceError(f"Jira's answer is not as agreed: {what} is not an object")
    return value


def _names(value: object) -> Iterator[str]:
    """Names in a field of any kind: text (by line or comma), labels, options, Assets objects that carry their name."""
    if isinstance(value, str):
        yield from (part.strip() for part in re.split(r"[,\n\r]+", value) if part.strip())
    elif isinstance(value, list):
        for one in value:
            yield from _names(one)
    elif isinstance(value, dict):
        named = next((value[key] for key in ("value", "name", "label") if isinstance(value.get(key), str)), None)
        if named is None:
            raise ServiceError(
                f"a field of the issue holds objects without a name ({', '.join(sorted(map(str, value)))[:80]}); "
                "do: use a field of labels, text or options"
            )
        yield named.strip()


def _time(value: object) -> datetime | None:
    """`2026-11-21T22:00:00.000+0100`."""
    text = text_of(value)
    if not text:
        return None
    try:
        at = datetime.fromisoformat(re.sub(r"([+-]\d\d)(\d\d)$", r"\1:\2", text))
    except ValueError as error:
        raise ServiceError(f"a planned time cannot be read: '{text[:40]}'; agreed: ISO 8601") from error
    if at.tzinfo is None:
        raise ServiceError(f"the planned time '{text[:40]}' has no zone; do: use a date-time field for it")
    return at
