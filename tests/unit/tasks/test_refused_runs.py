"""A change that may not begin is an event of the history, and its ticket is told (issue 5: Bad input; issue 6: 1; R5)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.refused_runs import refusals_noted
from tasks.send_outbox import send_outbox
from tests.ticketing import Office, laid_out, office
from tests.unit.audit.conftest import run_record
from upkeep.commands import running
from upkeep.domain.record import Event, RunRequest
from upkeep.errors import BadInput, Refused
from upkeep.lab.layout import LabPaths
from upkeep.wiring import Site

WHY = Refused("the window is closed", remedy="wait for it")


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> LabPaths:
    return laid_out(tmp_path_factory.mktemp("documents") / "lab")


@pytest.fixture
def desk_office(tmp_path: Path, fleet: LabPaths) -> Iterator[Office]:
    folder = fleet.directory
    with office(tmp_path, "servicenow", folder / "plan.yaml", folder / "inventory.yaml") as opened:
        yield opened


@pytest.fixture
def site(desk_office: Office) -> Iterator[Site]:
    made = desk_office.site()
    yield made
    made.history.close()


def refusals(site: Site) -> list[Event]:
    return [event for event in site.history.events("") if event.action == "run.refused"]


def refuse(site: Site, runbook: str = "maintenance", *, why: Exception = WHY, **asked: object) -> None:
    request = RunRequest.model_validate({"source": "cli", "requested_by": "ann"} | asked)
    with pytest.raises(type(why)), refusals_noted(site, runbook, request):
        raise why


@pytest.mark.parametrize("why", [WHY, BadInput("rule: FREQ=HOURLY is finer than daily")])
def test_who_asked_for_what_and_why_not_is_kept(site: Site, why: Exception) -> None:
    refuse(site, why=why, plan="/plans/agent.yaml")
    (event,) = refusals(site)
    assert (event.actor.name, event.actor.kind, event.reason) == ("ann", "person", str(why))
    assert event.body == {"runbook": "maintenance", "source": "cli", "plan": "/plans/agent.yaml"}
    assert site.history.runs() == []


def test_the_ticket_is_told_once_for_the_same_reason(site: Site, desk_office: Office) -> None:
    number = desk_office.ticket(["h1"]).id
    for _ in range(2):
        refuse(site, ticket=number, source="webhook")
    send_outbox(site)
    held = desk_office.desk.store.get(number)
    assert held is not None
    (note,) = held.notes
    assert "did not start this change" in note
    assert "the window is closed" in note
    assert [event.actor.kind for event in refusals(site)] == ["ticket", "ticket"]


def test_a_ticket_whose_run_there_was_hears_nothing_more(site: Site, desk_office: Office) -> None:
    number = desk_office.ticket(["h1"]).id
    site.history.open_run(run_record(ticket=f"servicenow/{number}"))
    refuse(site, ticket=number)
    assert send_outbox(site) == 0
    assert len(refusals(site)) == 1


def test_looks_dry_runs_and_starts_that_are_missed_are_no_refused_changes(site: Site) -> None:
    refuse(site, "health_inspection")
    refuse(site, dry_run=True)
    refuse(site, source="schedule")
    assert refusals(site) == []


def test_a_refused_run_in_a_terminal_is_kept_with_file_line_and_what_is_allowed(
    site: Site, tmp_path: Path, fleet: LabPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = fleet.directory / "plan-finer-than-daily.yaml"
    window = "window: {zone: UTC, rule: FREQ=HOURLY, start: 2026-11-20 22:00, duration: 1h}\n"
    plan.write_text((fleet.directory / "plan.yaml").read_text() + window)
    monkeypatch.setattr("upkeep.wiring.site", lambda: site)
    request = RunRequest(plan=str(plan), inventory=str(fleet.directory / "inventory.yaml"), source="cli")
    with pytest.raises(BadInput):
        running.execute("maintenance", request)
    (event,) = refusals(site)
    assert "plan-finer-than-daily.yaml:" in event.reason
    assert "DAILY" in event.reason
