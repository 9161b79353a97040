"""`upkeep lab desk` and `upkeep lab ticket`: a small ticket system on this machine, and what people do in it."""

from __future__ import annotations

import os
import signal
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast, get_args

import httpx
import yaml

from upkeep.console.screen import screen
from upkeep.domain.ticket_source import Kind, Scheme
from upkeep.errors import BadInput, ServiceError
from upkeep.lab.layout import LabPaths
from upkeep.lab.spec import read_spec
from upkeep.lab.tickets.desk import CANCELLED, IMPLEMENT, READY
from upkeep.lab.tickets.sending import Target
from upkeep.lab.tickets.server import Desk
from upkeep.settings import Settings
from upkeep.webhook.secret_file import kept_secret

ACTIONS = ("open", "approve", "implement", "hold", "cancel", "show")
_CLOSING: dict[Kind, str] = {"servicenow": "3", "jira": "Complete", "generic": "closed"}
_MARK = "# Written by `upkeep lab desk`; it is written anew each time the desk starts.\n"
_TIMEOUT_SECONDS = 10


def desk(kind: str, port: int, pages_port: int, lab: Path | None) -> int:
    """Serve the desk until Ctrl-C, after writing the tickets.yaml that leads to it."""
    if kind not in get_args(Kind):
        raise BadInput(f"the desk cannot play '{kind}'", allowed=", ".join(get_args(Kind)))
    settings, chosen = Settings.from_environment(), cast("Kind", kind)
    paths = LabPaths(lab or settings.lab)
    if read_spec(paths.spec) is None:
        raise BadInput("there is no lab", found=paths.directory, remedy="upkeep lab up")
    folder = settings.home / "desk"
    made = Desk(folder, chosen, password=kept_secret(folder / "password"), port=port)
    with made.open():
        _write(settings, made, paths)
        scheme: Scheme = "hub" if chosen == "jira" else "standard"
        url = f"http://127.0.0.1:{pages_port}/webhooks/desk"
        made.send_to(Target(url, kept_secret(folder / "webhook-secret"), scheme), said=screen().print)
        screen().print(f"the desk plays {kind} at {made.url} and tells {url} of every change; Ctrl-C ends it")
        screen().print("  upkeep lab ticket open", markup=False)
        ended = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: ended.set())
        ended.wait()
    return 0


def ticket(action: str, number: str, lab: Path | None) -> None:
    """Do with a ticket what people do in their ticket system, and show it."""
    if action not in ACTIONS:
        raise BadInput(f"nobody can '{action}' a ticket here", allowed=", ".join(ACTIONS))
    settings = Settings.from_environment()
    known = yaml.safe_load(settings.tickets.read_text("utf-8")) if settings.tickets.exists() else {}
    source = (known.get("sources") or {}).get("desk")
    if source is None:
        raise BadInput("there is no desk", remedy="upkeep lab desk")
    kind: Kind = source["kind"]
    changes: dict[str, dict[str, Any]] = {
        "approve": {"approval": "approved"},
        "implement": {"state": IMPLEMENT[kind]},
        "hold": {"on_hold": True, "on_hold_reason": "somebody asked for it"},
        "cancel": {"state": CANCELLED[kind]},
    }
    with httpx.Client(base_url=source["url"], timeout=_TIMEOUT_SECONDS, trust_env=False) as client:
        client.headers["Authorization"] = f"Bearer {kept_secret(settings.home / 'desk' / 'password')}"
        if action == "open":
            _show(_asked(client, "POST", "/desk/tickets", _new(kind, LabPaths(lab or settings.lab))))
            return
        held: list[dict[str, Any]] = _asked(client, "GET", "/desk/tickets")
        found = [one for one in held if number in {"", one["id"]}]
        if not found:
            raise BadInput(f"the desk has no ticket {number}".strip(), remedy="upkeep lab ticket open")
        change = changes.get(action)
        _show(_asked(client, "PATCH", f"/desk/tickets/{found[-1]['id']}", change) if change else found[-1])


def _new(kind: Kind, paths: LabPaths) -> dict[str, Any]:
    spec, now = read_spec(paths.spec), datetime.now(UTC)
    hosts = [host.name for host in spec.hosts] if spec else []
    times = {"planned_start": now.isoformat(), "planned_end": (now + timedelta(hours=2)).isoformat()}
    return {"title": "Agent ms-720 to its new version", "state": READY[kind], "items": hosts, "plan": "agent", **times}


def _asked(client: httpx.Client, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - JSON
    try:
        answer = client.request(method, path, json=body)
    except httpx.HTTPError as error:
        raise ServiceError(f"the desk does not answer: {error}; do: upkeep lab desk") from error
    if not answer.is_success:
        raise BadInput(f"the desk refused: {answer.text[:300]}")
    return answer.json()


def _show(facts: dict[str, Any]) -> None:
    console = screen()
    hold = ", on hold" if facts["on_hold"] else ""
    console.print(f"{facts['id']}: {facts['title']}; state {facts['state']}{hold}, approval {facts['approval']}")
    console.print(f"  {len(facts['items'])} items: {', '.join(facts['items'])}", soft_wrap=True)
    for note in facts["notes"]:
        console.print("  | " + note.replace("\n", "\n  | "), markup=False, soft_wrap=True)


def _write(settings: Settings, made: Desk, paths: LabPaths) -> None:
    """The document that leads here; one that somebody wrote by hand is left alone."""
    file = settings.tickets
    if file.exists() and not file.read_text("utf-8").startswith(_MARK):
        raise BadInput(
            f"{file} is there already",
            allowed="none, or one that the desk wrote",
            remedy="move it, or set UPKEEP_TICKETS",
        )
    folder = settings.home / "desk"
    plan, inventory = paths.directory / "plan.yaml", paths.directory / "inventory.yaml"
    source = {
        "kind": made.kind,
        "url": made.url,
        "sign_in": {"user": made.user, "password": {"file": str(folder / "password")}},
        "webhook": {"secrets": [{"file": str(folder / "webhook-secret")}]},
        "rules": {"implement": [IMPLEMENT[made.kind]]},
        "changes": {"agent": {"plan": str(plan), "inventory": str(inventory)}},
        "closing": {"succeeded": _CLOSING[made.kind]},
    }
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    fresh.write_text(_MARK + yaml.safe_dump({"sources": {"desk": source}}, sort_keys=False), "utf-8")
    fresh.replace(file)
