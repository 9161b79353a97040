"""Runs by change ticket on real processes over real SSH (issue 5: 4, "Shown by"; R3; faults 50, 52)."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.e2e.lab.controller import outcomes, versions
from tests.e2e.lab.served import until
from tests.e2e.lab.ticketed import desk_for, from_approval_to_closed
from upkeep.lab.lab import Lab
from upkeep.lab.tickets.desk import CANCELLED


@pytest.mark.timeout(900)
@pytest.mark.xdist_group("up")
def test_an_approved_ticket_becomes_a_run_whose_story_is_in_the_ticket_and_which_closes_it(
    lab: Lab, tmp_path: Path
) -> None:
    from_approval_to_closed(lab, tmp_path, "servicenow")


def test_a_ticket_cancelled_during_the_canary_lets_its_hosts_finish_and_starts_no_other(
    lab: Lab, tmp_path: Path, prefect_server: dict[str, str]
) -> None:
    with desk_for(lab, tmp_path, "servicenow") as (desk_office, controller):
        controller.environ |= prefect_server
        number = desk_office.ticket(sorted(versions(lab)), approval="requested").id
        code, report = controller.run(lab, "--ticket", number)
        assert (code, report["outcome"]) == (4, "refused")
        assert "it is not approved" in report["reason"]
        assert set(versions(lab).values()) == {"1.4.2"}
        desk_office.desk.store.change(number, approval="approved")

        def cancel() -> None:
            until(lambda: "1.5.0" in versions(lab).values())
            desk_office.desk.store.change(number, state=CANCELLED["servicenow"])

        watching = threading.Thread(target=cancel)
        watching.start()
        code, report = controller.run(lab, "--ticket", number)
        watching.join()
        assert code == 1, report
        assert "it is cancelled" in report["reason"]
        assert sorted(set(outcomes(report).values())) == ["committed", "not started"]
        done = {name for name, outcome in outcomes(report).items() if outcome == "committed"}
        assert {name for name, version in versions(lab).items() if version == "1.5.0"} == done
        held = desk_office.desk.store.get(number)
        assert held is not None
        over = [note for note in held.notes if "is over" in note and ": stage " not in note]
        assert len(over) == 1, "told without any other process"
        assert held.state == CANCELLED["servicenow"], "a ticket that people cancelled is not closed as done"
        code, report = controller.run(lab, "--ticket", number)
        assert (code, report["outcome"]) == (4, "refused")
