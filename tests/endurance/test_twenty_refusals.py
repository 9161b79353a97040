"""What may not run, sent to a whole site: nothing of it starts, and log, history and ticket say why (issue 5: Bad input, "Shown by"; R3, R4).

Faults 50, 51, 53, 59. The same cases with their details are in tests/unit; here they go through real processes.
"""

from __future__ import annotations

import getpass
import json
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.lab.controller import QUICK, Controller, versions
from tests.e2e.lab.served import until
from tests.e2e.lab.ticketed import desk_for, up
from tests.ticketing import CLOSED, Office
from tests.torture.test_approvals import add
from tests.unit.tasks.test_judge_deliveries import REFUSALS
from tests.unit.webhook.test_deliveries import standard
from upkeep.audit.deliveries import Fate
from upkeep.audit.history import History
from upkeep.domain.record import Event
from upkeep.domain.ticket import TicketRef
from upkeep.lab.lab import Lab
from upkeep.lab.tickets.desk import CANCELLED
from upkeep.wiring import Site

KIND = "servicenow"
FINER = "window={zone: UTC, rule: FREQ=HOURLY, start: '2026-11-20 22:00', duration: 1h}"
UNREACHABLE = "freezes=[{name: holidays, url: 'http://127.0.0.1:9/holidays.ics'}]"


@dataclass
class Scene:
    """A site, its desk, and where deliveries go."""

    office: Office
    controller: Controller
    site: Site
    pages_port: int
    log: Path

    def knock(self, body: bytes, headers: dict[str, str], source: str = KIND) -> int:
        """One delivery; 0 when the other side hung up on it."""
        url = f"http://127.0.0.1:{self.pages_port}/webhooks/{source}"
        try:
            return httpx.post(url, content=body, headers=headers, timeout=60, trust_env=False).status_code
        except httpx.TransportError:
            return 0

    def deliver(self, number: str, delivery: str) -> int:
        body = json.dumps({"ticket": number}).encode()
        return self.knock(body, standard(body, delivery=delivery))

    def told(self, action: str, ticket: str = "") -> list[Event]:
        events = [event for event in self.site.history.events("") if event.action == action]
        return [event for event in events if not ticket or event.body.get("ticket") == f"{KIND}/{ticket}"]

    def fate(self, number: str) -> tuple[Fate, str]:
        newest = self.site.deliveries.all(TicketRef(source=KIND, id=number))[0]
        return newest.fate, newest.reason

    def until_judged(self, number: str) -> tuple[Fate, str]:
        until(lambda: self.fate(number)[0] is not Fate.NEW, 300, lambda: self.fate(number))
        return self.fate(number)

    def notes(self, number: str) -> list[str]:
        ticket = self.office.desk.store.get(number)
        assert ticket is not None
        return ticket.notes

    def logged(self, text: str) -> bool:
        return text in self.log.read_text("utf-8", "replace")


@pytest.mark.timeout(1800)
def test_whatever_may_not_run_is_refused_with_its_reason_and_what_may_runs_once(lab: Lab, tmp_path: Path) -> None:
    with desk_for(lab, tmp_path, KIND) as (office, controller), up(controller, tmp_path) as pages_port:
        site = office.site()
        scene = Scene(office, controller, site, pages_port, tmp_path / "up.log")
        until(lambda: scene.knock(b"", {}, "nobody") == 404, 300, lambda: scene.log.read_text()[-2000:])
        good = office.ticket(sorted(versions(lab)), approval="requested").id
        refused_at_the_door(scene, good)
        unknown_ticket(scene)
        refused_when_judged(scene)
        asked_again_while_the_desk_is_out_of_order(scene)
        early_and_cancelled(scene)
        refused_by_hand(scene, lab, good)
        assert site.history.runs() == []
        assert set(versions(lab).values()) == {"1.4.2"}
        runs_once(scene, lab, good)
        assert site.history.verify().ok
        site.history.close()


def refused_at_the_door(scene: Scene, number: str) -> None:
    """Nothing of it is kept, though all of it names a ticket that there is."""
    body = json.dumps({"ticket": number}).encode()
    cut, latin = body[:-4], b'{"ticket": "\xff\xfe"}'
    deep, large = b"[" * 500_000, b" " * (10 * 1024**2)
    cases: dict[str, tuple[Callable[[], int], set[int], str]] = {
        "forged": (lambda: scene.knock(body, standard(body, key=b"x" * 32)), {401}, "by a secret of this source"),
        "late": (lambda: scene.knock(body, standard(body, at=time.time() - 3600)), {401}, "away from our clock"),
        "truncated": (lambda: scene.knock(cut, standard(cut)), {400}, "is not JSON in UTF-8"),
        "not UTF-8": (lambda: scene.knock(latin, standard(latin)), {400}, "is not JSON in UTF-8"),
        "nested": (lambda: scene.knock(deep, standard(deep)), {400}, "is not JSON in UTF-8"),
        "10 MiB": (lambda: scene.knock(large, standard(large)), {413, 0}, "is larger than"),
        "ends early": (lambda: hung_up(scene, body), {0}, "the connection ended before the body did"),
        "another source": (lambda: scene.knock(body, standard(body), "nobody"), {404}, "no such source"),
    }
    for name, (send, answers, reason) in cases.items():
        assert send() in answers, name
        until(lambda reason=reason: any(reason in event.reason for event in scene.told("delivery.refused")), 60)
        assert scene.logged(reason), name
    assert scene.site.deliveries.all() == []


def hung_up(scene: Scene, body: bytes) -> int:
    """A sender that dies in the middle of its body."""
    lines = [f"POST /webhooks/{KIND} HTTP/1.1", "Host: upkeep", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in standard(body).items()]
    with socket.create_connection(("127.0.0.1", scene.pages_port), timeout=30) as connection:
        connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body[:5])
    return 0


def unknown_ticket(scene: Scene) -> None:
    assert scene.deliver("CHG0099999", "unknown") == 202
    assert scene.until_judged("CHG0099999") == (Fate.REFUSED, f"there is no ticket {KIND}/CHG0099999")
    assert [event.reason for event in scene.told("ticket.refused", "CHG0099999")] == [
        f"there is no ticket {KIND}/CHG0099999"
    ]
    assert scene.logged("there is no ticket servicenow/CHG0099999")


def refused_when_judged(scene: Scene) -> None:
    """Each is kept, asked for, refused once however often it comes, and told why."""
    numbers: dict[str, str] = {}
    now = datetime.now(UTC)
    late = {"planned_end": timedelta(seconds=75)}  # a host of this quick plan needs 40 s, and 41 s to go back
    for name, (usual, _) in REFUSALS.items():
        facts: dict[str, Any] = late if name == "too late for one host" else usual
        made = {key: now + fact if isinstance(fact, timedelta) else fact for key, fact in facts.items()}
        numbers[name] = scene.office.ticket(**{"hosts": ["h1", "h2", "h3", "h4"]} | made_items(made)).id
        assert scene.deliver(numbers[name], f"judge {name}") == 202
        assert scene.deliver(numbers[name], f"judge {name}") == 200, "a replay is taken and kept once"
    for name, number in numbers.items():
        wanted = REFUSALS[name][1]
        fate, reason = scene.until_judged(number)
        assert (fate, wanted in reason) == (Fate.REFUSED, True), (name, reason)
        (event,) = scene.told("ticket.refused", number)
        assert (event.actor.kind, wanted in event.reason) == ("ticket", True), name
        until(lambda number=number: bool(scene.notes(number)), 120, lambda name=name: name)
        assert scene.logged(f"ticket {KIND}/{number} is refused: "), name
    assert scene.deliver(numbers["not approved"], "again") == 202
    scene.until_judged(numbers["not approved"])
    for name, number in numbers.items():
        (note,) = scene.notes(number)
        assert REFUSALS[name][1] in note, name


def made_items(facts: dict[str, Any]) -> dict[str, Any]:
    """The office takes a ticket's items as its hosts."""
    return {"hosts" if key == "items" else key: fact for key, fact in facts.items()}


def asked_again_while_the_desk_is_out_of_order(scene: Scene) -> None:
    temper = scene.office.desk.temper
    for trouble in ("429", "500", "html"):
        number = scene.office.ticket(["h1"], approval="requested").id
        temper.trouble, temper.times = trouble, 10**6
        assert scene.deliver(number, f"during {trouble}") == 202
        until(lambda number=number: bool(scene.told("ticket.not_judged", number)), 300)
        assert scene.logged(f"ticket {KIND}/{number} could not be judged"), trouble
        assert scene.fate(number)[0] is Fate.NEW
        temper.times = 0
        assert scene.until_judged(number)[0] is Fate.REFUSED
        until(lambda number=number: bool(scene.notes(number)), 300)


def early_and_cancelled(scene: Scene) -> None:
    number = scene.office.ticket(["h1", "h2", "h3", "h4"], planned_start=datetime.now(UTC) + timedelta(hours=1)).id
    scene.deliver(number, "early")
    assert scene.until_judged(number)[0] is Fate.WAITING
    assert len(scene.told("ticket.waiting", number)) == 1
    until(lambda: any("look at this change again" in note for note in scene.notes(number)), 120)
    scene.office.desk.store.change(number, state=CANCELLED[KIND])
    scene.deliver(number, "cancelled meanwhile")
    assert scene.until_judged(number)[0] is Fate.REFUSED


def refused_by_hand(scene: Scene, lab: Lab, number: str) -> None:
    """The same rules, and those of windows: exit code, history, and the ticket where there is one."""
    for words, settings, code, reason in (
        (("--ticket", number), QUICK, 4, "it is not approved"),
        (("--ticket", "CHG0099999"), QUICK, 4, "there is no ticket"),
        ((), (*QUICK, UNREACHABLE), 4, "holidays"),
        ((), (*QUICK, FINER), 2, "DAILY"),
        (("--override-window",), QUICK, 2, "only with a reason"),
    ):
        answered, report = scene.controller.run(lab, *words, settings=settings)
        assert (answered, report["outcome"], reason in report["reason"]) == (code, "refused", True), report
        event = scene.told("run.refused")[-1]
        assert (event.actor.name, reason in event.reason) == (getpass.getuser(), True), event
    until(lambda: any("it is not approved" in note for note in scene.notes(number)), 120)


def runs_once(scene: Scene, lab: Lab, number: str) -> None:
    """Approved at last, told of five times and out of order: one run, and no other for the same ticket and plan."""
    store = scene.office.desk.store
    store.change(number, approval="approved")
    for delivery in ("state -1", "approval", "state -2", "state -1", "comment"):
        assert scene.deliver(number, delivery) in {200, 202}
    until(lambda: (held := store.get(number)) is not None and held.state == CLOSED[KIND], 480, scene.site.history.runs)
    scene.deliver(number, "closed")
    assert scene.until_judged(number)[0] is Fate.KEPT
    assert "started already" in scene.told("ticket.kept", number)[-1].reason
    (run,) = scene.site.history.runs()
    assert (run.source, run.ticket) == ("webhook", f"{KIND}/{number}")
    assert len(scene.told("ticket.started")) == 1
    assert set(versions(lab).values()) == {"1.5.0"}
    code, report = scene.controller.run(lab, "--ticket", number)
    assert (code, report["outcome"]) == (4, "refused"), report
    assert len(scene.site.history.runs()) == 1


@pytest.mark.timeout(900)
def test_no_approval_counts_that_is_the_requesters_nobodys_late_or_given_twice(
    lab: Lab, controller: Controller
) -> None:
    code, _ = controller.run(lab, settings=(*QUICK, "approvals={needed: 2, expires: 1m}"))
    assert code == 5
    asked = datetime.now(UTC)
    own, bob = add(controller, getpass.getuser(), "approver"), add(controller, "bob", "approver")
    viewer, gone = add(controller, "vera", "viewer"), add(controller, "dan", "approver")
    nobody = replace(controller, environ=controller.environ | {"UPKEEP_TOKEN": "of-nobody-at-all"})
    assert controller("people", "revoke", "dan", "--reason", "left the team").returncode == 0
    assert bob("approve", "last").returncode == 0
    reasons = []
    for who, wanted in (
        (own, "asked for this run"),
        (nobody, "nobody's"),
        (gone, "nobody's"),
        (viewer, ""),
        (bob, "approved this already"),
    ):
        answer = who("approve", "last")
        assert (answer.returncode, wanted in answer.stderr) == (4, True), answer.stderr
        reasons.append(wanted)
    until(lambda: datetime.now(UTC) > asked + timedelta(seconds=61))
    late = add(controller, "eve", "approver")("approve", "last")
    assert (late.returncode, "lapsed" in late.stderr or "the run is over" in late.stderr) == (4, True), late.stderr
    history = History.open(f"sqlite:///{controller.home / 'history.db'}")
    (run,) = history.runs()
    told = [event for event in history.events(run.id) if event.action == "approval.refused"]
    assert len(told) == len(reasons) + 1
    assert all(wanted in event.reason for wanted, event in zip(reasons, told, strict=False))
    assert [event.actor.name for event in told][:5] == [getpass.getuser(), "unknown", "unknown", "vera", "bob"]
    assert controller("resume", "last").returncode == 4
    assert set(versions(lab).values()) == {"1.4.2"}
    history.close()
