"""A ticket desk, a controller that knows it, and a plan for it; nothing of the fleet runs unless a test raises it."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from fastapi import FastAPI
from fastapi.testclient import TestClient

from upkeep.domain.ticket_source import Kind, Scheme
from upkeep.lab.layout import LabPaths
from upkeep.lab.tickets.desk import IMPLEMENT
from upkeep.lab.tickets.server import Desk
from upkeep.lab.tickets.store import DeskTicket
from upkeep.settings import Settings
from upkeep.webhook.deliveries import router
from upkeep.wiring import Site

KINDS: tuple[Kind, ...] = ("servicenow", "jira", "generic")
PASSWORD = "desk-password-1"
SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
SCHEMES: dict[Kind, Scheme] = {"servicenow": "standard", "jira": "hub", "generic": "standard"}
CLOSED: dict[Kind, str] = {"servicenow": "3", "jira": "Completed", "generic": "closed"}
MOVES: dict[Kind, str] = {"servicenow": "3", "jira": "Complete", "generic": "closed"}
ENVIRON = {"DESK_PASSWORD": PASSWORD, "DESK_SECRET": SECRET}


def tickets_yaml(desk: Desk, plan: Path, inventory: Path, **changes: Any) -> dict[str, Any]:
    """The document that leads to the desk, under the source's name of its kind."""
    source = {
        "kind": desk.kind,
        "url": desk.url,
        "sign_in": {"user": desk.user, "password": {"env": "DESK_PASSWORD"}},
        "webhook": {"secrets": [{"env": "DESK_SECRET"}]},
        "rules": {"implement": ["-1", "Implementing", "implement"]},
        "changes": {"agent": {"plan": str(plan), "inventory": str(inventory)}},
        "closing": {"succeeded": MOVES[desk.kind]},
    }
    return {"sources": {desk.kind: source | changes}}


@dataclass
class Office:
    """A desk and the controller that works for it."""

    desk: Desk
    home: Path
    environ: dict[str, str]

    @property
    def settings(self) -> Settings:
        return Settings.from_environment(self.environ)

    def site(self) -> Site:
        """This controller, as a fresh process sees it."""
        return Site(self.settings, self.environ)

    def ticket(self, hosts: list[str], **facts: Any) -> DeskTicket:
        """A ticket that may be started now, unless `facts` say otherwise."""
        now = datetime.now(UTC)
        good = {
            "title": "agent to 1.5.0",
            "state": IMPLEMENT[self.desk.kind],
            "approval": "approved",
            "planned_start": now - timedelta(hours=1),
            "planned_end": now + timedelta(hours=3),
            "items": hosts,
            "plan": "agent",
        }
        return self.desk.store.add(**good | facts)


@contextmanager
def office(folder: Path, kind: Kind, plan: Path, inventory: Path, **changes: Any) -> Iterator[Office]:
    """A desk that serves, and a home whose tickets.yaml leads to it."""
    home = folder / "home"
    home.mkdir(parents=True, exist_ok=True)
    with Desk(folder / "desk", kind, password=PASSWORD).open() as desk:
        (home / "tickets.yaml").write_text(yaml.safe_dump(tickets_yaml(desk, plan, inventory, **changes)))
        yield Office(desk, home, {"UPKEEP_HOME": str(home), "UPKEEP_SSH_CONFIG": "/dev/null", **ENVIRON})


def laid_out(folder: Path, hosts: int = 4) -> LabPaths:
    """The documents, keys and releases of a lab that does not run."""
    from upkeep.lab.groundwork import lay_out
    from upkeep.lab.spec import new_spec

    paths = LabPaths(folder)
    lay_out(paths, new_spec(hosts, "1.4.2", "1.5.0"))
    return paths


@contextmanager
def receiving(folder: Path, sources: dict[str, Any], **secrets: str) -> Iterator[Site]:
    """A controller that knows these sources of tickets, without a desk behind them."""
    (folder / "tickets.yaml").write_text(yaml.safe_dump({"sources": sources}))
    environ = {"UPKEEP_HOME": str(folder), "DESK_SECRET": SECRET, **secrets}
    made = Site(Settings.from_environment(environ), environ)
    yield made
    made.history.close()


def receiver(site: Site) -> TestClient:
    """Where its ticket systems post to."""
    app = FastAPI()
    app.include_router(router(site))
    return TestClient(app, raise_server_exceptions=False)
