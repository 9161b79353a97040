"""`upkeep checks acknowledge` and `known`: issues people know of and need not be woken for."""

from __future__ import annotations

import getpass
import json
import re
import sys
from datetime import UTC, datetime, timedelta

from rich.markup import escape
from rich.table import Table

from upkeep.audit.inspections import acknowledge, known_issues
from upkeep.commands.checking import catalogue_for
from upkeep.console.screen import screen
from upkeep.documents.fields import nearest
from upkeep.domain.inspection import Acknowledgement
from upkeep.domain.record import Actor
from upkeep.errors import BadInput
from upkeep.wiring import site

LONGEST = timedelta(days=366)


def acknowledge_issue(host: str, check: str, until: str, reason: str) -> None:
    """Keep it in the history.

    Raises:
        BadInput: no such check, no reason, or a day that is over or more than a year away.
    """
    now, catalogue = datetime.now(UTC), catalogue_for("")
    if catalogue.find(check.partition(":")[0]) is None and not check.startswith("site."):
        guess = nearest(check, [one.id for one in catalogue.checks])
        remedy = f"did you mean '{guess}'?" if guess else "see upkeep checks list"
        raise BadInput(
            "there is no such check", found=check, allowed="an id of the catalogue, or site.…", remedy=remedy
        )
    if not reason.strip():
        raise BadInput("a known issue needs a reason", remedy="give --reason TEXT, which is kept in the history")
    ends = ending(until, now)
    name = getpass.getuser()
    acknowledge(
        site().history, Acknowledgement(host=host, check=check, until=ends, reason=reason, by=name), Actor(name=name)
    )
    screen().print(f"{check} on {host} is known until {ends:%Y-%m-%d %H:%M} UTC", markup=False)


def ending(text: str, now: datetime) -> datetime:
    """The end of a day, or so many days from now.

    Raises:
        BadInput: not a day, over already, or more than a year away.
    """
    allowed = "a day like 2026-12-31, or a number of days like 14d; at most a year"
    try:
        if match := re.fullmatch(r"(\d{1,3})d", text):
            ends = now + timedelta(days=int(match[1]))
        else:
            ends = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC) + timedelta(days=1)
    except ValueError as error:
        raise BadInput("--until is no day", found=text, allowed=allowed) from error
    if not now < ends <= now + LONGEST:
        raise BadInput("--until is over already, or too far away", found=text, allowed=allowed)
    return ends


def list_known(*, as_json: bool) -> None:
    """Print every acknowledgement."""
    issues = known_issues(site().history)
    if as_json:
        sys.stdout.write(json.dumps([one.model_dump(mode="json") for one in issues], indent=2) + "\n")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("host", "check", "until", "by", "why"):
        table.add_column(column, overflow="fold")
    now = datetime.now(UTC)
    for one in issues:
        over = " (over)" if one.until <= now else ""
        table.add_row(*map(escape, (one.host, one.check, f"{one.until:%Y-%m-%d}{over}", one.by, one.reason)))
    screen().print(table if issues else "no issue was acknowledged; upkeep checks acknowledge HOST CHECK --until DAY")
