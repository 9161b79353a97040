"""`upkeep people`: who may view, start, approve and administer."""

from __future__ import annotations

import getpass
import json
import sys

from rich.table import Table

from upkeep.audit.people import People
from upkeep.console.screen import screen
from upkeep.domain.record import Actor
from upkeep.wiring import site


def add_person(name: str, roles: list[str], logins: list[str], reason: str) -> None:
    """Let a person in; their token goes to standard output, once."""
    token = People(site().history).add(name, roles, Actor(name=getpass.getuser()), logins=logins, reason=reason)
    sys.stderr.write(
        f"{name} may sign in as {', '.join(roles)}. The token is shown this once and kept only as a hash; hand it over safely:\n"
    )
    sys.stdout.write(f"{token}\n")


def list_people(*, as_json: bool) -> None:
    """Everybody, with roles and since when."""
    people = People(site().history).everybody()
    if as_json:
        sys.stdout.write(json.dumps([person.model_dump(mode="json") for person in people], indent=2) + "\n")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("name", "roles", "logins", "since", "revoked"):
        table.add_column(column, overflow="fold")
    for person in people:
        revoked = f"{person.revoked_at:%Y-%m-%d %H:%M}" if person.revoked_at else ""
        since = f"{person.added_at:%Y-%m-%d %H:%M}"
        table.add_row(person.name, ", ".join(person.roles), ", ".join(person.logins), since, revoked)
    screen().print(table if people else "nobody yet; upkeep people add NAME --role approver")


def revoke_person(name: str, reason: str) -> None:
    """Take a person's token away."""
    People(site().history).revoke(name, Actor(name=getpass.getuser()), reason=reason)
    screen().print(f"{name} may not sign in any more")
