"""Plans that start by themselves when their window opens, once, and never late (issue 5: 3; R2; fault 45)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from tasks.flow_runs import Standing
from tasks.open_windows import BEGINS_WITHIN, open_windows
from tests.unit.audit.conftest import run_record
from upkeep.audit.history import History
from upkeep.domain.record import RunRequest
from upkeep.domain.starting import PlannedStart
from upkeep.errors import ServiceError

OPENS = datetime(2026, 11, 20, 21, 0, tzinfo=UTC)
DAY = timedelta(days=1)
PLAN = """\
name: nights
profile: ms-720
release: release.json
schedule: maintenance
window: {zone: Europe/Berlin, rule: FREQ=DAILY, start: 2026-11-20 22:00, duration: 6h}
"""


class Server:
    """A Prefect server as far as starts go: one flow run for each key."""

    def __init__(self) -> None:
        self.planned: dict[str, tuple[str, RunRequest, datetime]] = {}
        self.now: dict[str, Standing] = {}
        self.withdrawn: dict[str, str] = {}
        self.down = ""

    def plan(self, runbook: str, request: RunRequest, start: PlannedStart) -> None:
        if self.down:
            raise ServiceError(self.down)
        self.planned.setdefault(start.id, (runbook, request, start.at))

    def standing(self, start: PlannedStart) -> Standing:
        if self.down:
            raise ServiceError(self.down)
        return self.now.get(start.id, Standing.WAITING if start.id in self.planned else Standing.NONE)

    def withdraw(self, start: PlannedStart, why: str) -> None:
        self.withdrawn[start.id] = why


class Controller:
    """The plans' folder, the history and the server, looked after at any instant."""

    def __init__(self, folder: Path) -> None:
        self.plans = folder / "plans"
        self.plans.mkdir()
        (self.plans / "inventory.yaml").write_text("hosts: {web-01: {address: 10.0.0.1}}\n")
        self.history = History.open(f"sqlite:///{folder / 'history.db'}")
        self.server = Server()

    def write(self, text: str = PLAN, name: str = "nights.yaml") -> Path:
        (self.plans / name).write_text(text)
        return self.plans / name

    def look(self, now: datetime) -> list[str]:
        site = SimpleNamespace(history=self.history, settings=SimpleNamespace(plans=(self.plans,)))
        return open_windows(site, self.server, now)  # type: ignore[arg-type]

    def missed(self) -> list[datetime]:
        return [start.planned for start in self.history.missed_starts()]


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Controller]:
    made = Controller(tmp_path)
    yield made
    made.history.close()


def test_a_plan_is_planned_once_for_the_instant_its_window_opens(controller) -> None:
    path = controller.write()
    for minute in range(6, -1, -1):
        controller.look(OPENS - timedelta(minutes=minute))
    ((run, (runbook, request, at)),) = controller.server.planned.items()
    assert (runbook, at, request.run_id) == ("maintenance", OPENS, run)
    assert run.startswith("20261120-210000-")
    assert (request.plan, request.inventory) == (str(path), str(path.parent / "inventory.yaml"))
    assert (request.source, request.requested_by) == ("schedule", "schedule")
    assert [event.action for event in controller.history.events(run)] == ["start.promised"]


def test_nothing_is_planned_long_before_so_that_a_plan_may_still_be_changed(controller) -> None:
    controller.write()
    told = controller.look(OPENS - timedelta(hours=3))
    assert controller.server.planned == {}
    assert "starts by itself at 2026-11-20 21:00 UTC" in told[0]
    assert controller.look(OPENS - timedelta(hours=2)) == []


def test_a_start_within_the_tolerance_is_still_made_and_one_beyond_it_is_not(controller) -> None:
    controller.write()
    controller.look(OPENS - timedelta(hours=1))
    controller.look(OPENS + timedelta(seconds=60))
    assert [at for _, _, at in controller.server.planned.values()] == [OPENS]
    controller.look(OPENS + DAY + timedelta(seconds=61))
    assert len(controller.server.planned) == 1
    assert controller.missed() == [OPENS + DAY, OPENS], "the first one was planned and no worker took it"


def test_a_start_that_no_worker_took_is_missed_announced_with_the_next_one_and_withdrawn(controller) -> None:
    controller.write()
    controller.look(OPENS - timedelta(minutes=1))
    heard = []
    controller.history.listeners.append(heard.append)
    told = controller.look(OPENS + timedelta(seconds=61))
    (run,) = controller.server.planned
    assert "no worker took the flow run" in told[0]
    assert "missed" in controller.server.withdrawn[run]
    (event,) = [event for event in heard if event.action == "run.missed"]
    assert event.run == f"missed-{run}"
    assert "22:00" in event.body["next"]
    assert controller.look(OPENS + timedelta(seconds=121)) == []
    assert controller.history.verify().ok


def test_a_run_that_was_opened_is_not_missed_and_one_in_the_making_is_given_time(controller) -> None:
    controller.write()
    controller.look(OPENS - timedelta(minutes=1))
    (run,) = controller.server.planned
    controller.server.now[run] = Standing.IN_WORK
    controller.look(OPENS + timedelta(minutes=5))
    assert controller.missed() == []
    controller.history.open_run(run_record(run))
    controller.server.now[run] = Standing.OVER
    controller.look(OPENS + BEGINS_WITHIN + DAY / 2)
    assert controller.missed() == []


def test_a_flow_run_that_never_opens_its_run_is_missed_in_the_end(controller) -> None:
    controller.write()
    controller.look(OPENS - timedelta(minutes=1))
    (run,) = controller.server.planned
    controller.server.now[run] = Standing.IN_WORK
    controller.look(OPENS + BEGINS_WITHIN)
    assert controller.missed() == [OPENS]


def test_starts_that_passed_while_everything_was_down_are_missed_and_none_is_fired_late(controller) -> None:
    controller.write()
    controller.look(OPENS - timedelta(hours=1))
    controller.look(OPENS + 2 * DAY + timedelta(hours=3))
    assert controller.missed() == [OPENS + 2 * DAY, OPENS + DAY, OPENS]
    assert controller.server.planned == {}
    assert "no controller looked after this plan then" in controller.history.missed_starts()[0].reason


def test_a_new_plan_has_missed_nothing(controller) -> None:
    controller.write()
    controller.look(OPENS + 5 * DAY + timedelta(hours=1))
    assert controller.missed() == []


def test_a_server_that_is_down_at_the_start_makes_it_missed_and_says_so(controller) -> None:
    controller.write()
    controller.server.down = "the Prefect server did not answer"
    assert any("could not be planned yet" in line for line in controller.look(OPENS))
    controller.look(OPENS + timedelta(seconds=61))
    assert "the Prefect server did not answer" in controller.history.missed_starts()[0].reason


def test_a_plan_without_schedule_a_template_and_other_files_start_nothing(controller) -> None:
    controller.write(PLAN.replace("schedule: maintenance\n", "notes: about the schedule\n"))
    controller.write(PLAN, "nights.template.yaml")
    assert controller.look(OPENS) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            ("FREQ=DAILY", "FREQ=HOURLY"),
            "rule repeats HOURLY, which windows do not; found: FREQ=HOURLY (text); allowed: FREQ=DAILY",
        ),
        (("FREQ=DAILY", "FREQ=DAILY;BYHOUR=1,2"), "rule has BYHOUR: the time of day is start's"),
        (
            ("schedule: maintenance", "schedule: backup"),
            "nights.yaml:4: schedule: is not one of the words allowed; found: backup",
        ),
        (("schedule: maintenance", "schedule: {inventory: none.yaml}"), "none.yaml: there is no such file"),
        (("window: {", "notes: {"), "notes"),
    ],
)
def test_a_plan_that_cannot_be_used_starts_nothing_and_is_said_once(controller, change, said) -> None:
    controller.write(PLAN.replace(*change))
    told = controller.look(OPENS)
    assert said in told[0]
    assert controller.look(OPENS + timedelta(minutes=1)) == []
    assert controller.server.planned == {}


def test_schedule_without_window_says_what_is_missing(controller) -> None:
    controller.write(PLAN.split("window:", maxsplit=1)[0])
    assert "the plan has no window" in controller.look(OPENS)[0]


@pytest.mark.parametrize(
    ("start", "opens"),
    [
        ("2027-03-28 02:30", datetime(2027, 3, 28, 1, 0, tzinfo=UTC)),
        ("2027-10-31 02:30", datetime(2027, 10, 31, 0, 30, tzinfo=UTC)),
    ],
)
def test_a_start_that_clocks_skip_or_show_twice_is_made_once(controller, start, opens) -> None:
    controller.write(PLAN.replace("2026-11-20 22:00", start).replace("FREQ=DAILY", "FREQ=YEARLY"))
    for minutes in range(-120, 120, 1):
        controller.look(opens + timedelta(minutes=minutes))
    assert [at for _, _, at in controller.server.planned.values()] == [opens]
