"""`upkeep run`, `retry`, `rollback`: runbooks in this process."""

from __future__ import annotations

import contextlib
import functools
import importlib
import itertools
import os
import signal
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from types import FrameType
from typing import Any

import httpx
from pydantic import ValidationError

from upkeep.commands.watching import watch
from upkeep.console.live import LiveRun
from upkeep.console.log import WANTED
from upkeep.console.report import show_report
from upkeep.console.screen import screen
from upkeep.domain.change import RunOutcome
from upkeep.domain.record import Actor, RunReport, RunRequest
from upkeep.errors import BadInput, Refused, ServiceError, UpkeepError, shorten
from upkeep.project import prefect_settings, put_on_path
from upkeep.services.prefect_server import OwnServer, own_prefect_server
from upkeep.settings import Settings

LOOKS = frozenset({"health_inspection", "connection_diagnosis", "pre_update_check"})
"""Without a plan they look at the lab, where there is one: they are what people try on it."""

RUNBOOKS = (
    *("maintenance", "pre_update_check", "backup", "staged_upgrade", "verification", "rollback", "prestage"),
    *("health_inspection", "connection_diagnosis"),
)
WATCHES = ("release_watch",)
"""They change no host and open no run."""

CONNECTED_EARLY = 8


def run_runbook(runbook: str, request: RunRequest, *, as_json: bool = False, yes: bool = True) -> int:
    """Run a runbook here and now; returns the exit code (design, 6).

    Raises:
        UpkeepError: before anything was touched.
    """
    if runbook in WATCHES:
        return watch(request, as_json=as_json)
    report = execute(runbook, request, as_json=as_json, yes=yes)
    if as_json:
        print_json(report)
    else:
        show_report(screen(), report)
    return report.outcome.exit_code


def of_the_lab(runbook: str, request: RunRequest) -> RunRequest:
    """A look that names no plan is meant for this controller's lab, if it has one."""
    folder = Settings.from_environment().lab
    there = (folder / "fleet.json").exists() and (folder / "plan.yaml").exists()
    if runbook not in LOOKS or request.plan or request.inventory or not there:
        return request
    sys.stderr.write(f"no plan was named: the lab in {folder}\n")
    return request.model_copy(update={"plan": str(folder / "plan.yaml"), "inventory": str(folder / "inventory.yaml")})


def resume_run(run_id: str, reason: str, *, as_json: bool = False) -> int:
    """Go on with a run whose controller died; returns the exit code.

    Raises:
        BadInput: no such run.
        Refused: it is over, or its controller still lives.
    """
    _own_server()
    put_on_path()
    from tasks.resume_run import refuse_unless_dead  # noqa: PLC0415 - the runbooks are on the path only now
    from upkeep.wiring import site  # noqa: PLC0415 - opens nothing until a command needs it

    detail = site().history.run(run_id)
    refuse_unless_dead(detail)
    request = RunRequest(resume=detail.id, run_id=detail.id, reason=reason, source="cli")
    return run_runbook(detail.runbook, request, as_json=as_json)


def runbook_of(run_id: str) -> str:
    """The runbook that an earlier run was of.

    Raises:
        BadInput: no such run.
        Refused: it was a rollback, which is done again by its own command.
    """
    from upkeep.wiring import site  # noqa: PLC0415 - opens nothing until a command needs it

    detail = site().history.run(run_id)
    if detail.runbook == "rollback":
        raise Refused(
            f"run {detail.id} was a rollback", remedy=f"upkeep rollback {detail.record.of_run}, which is safe to repeat"
        )
    return detail.runbook


def execute(runbook: str, request: RunRequest, *, as_json: bool = False, yes: bool = True) -> RunReport:
    """Run a runbook with live progress and hand out its report."""
    if runbook not in RUNBOOKS:
        raise BadInput(f"there is no runbook '{runbook}'", allowed=", ".join((*RUNBOOKS, *WATCHES)))
    server = _own_server()
    put_on_path()
    if not request.resume:
        request = _judged(runbook, request, confirm=not (yes or as_json or request.dry_run))
    if server is not None:
        server.go()
        os.environ["PREFECT_API_URL"] = server.url
    flow = _flow(runbook)
    from prefect.exceptions import PrefectException  # noqa: PLC0415 - its settings are made by now

    if server is not None:
        server.wait(float(os.environ["PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"]))
    with _shown(as_json=as_json), _stop_on_signal(request):
        try:
            return RunReport.model_validate(flow(request))
        except (PrefectException, httpx.HTTPError) as error:
            return _ended_without_server(request.run_id, error)


def _flow(runbook: str) -> Callable[[RunRequest], Any]:
    """The runbook, which brings Prefect along.

    Raises:
        BadInput: one of Prefect's own settings cannot be read.
    """
    try:
        found: Callable[[RunRequest], Any] = importlib.import_module(f"flows.{runbook}").__dict__[runbook]
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join((error.title, *map(str, first["loc"])))
        raise BadInput(
            f"Prefect's setting {where}: {first['msg']}; found {first['input']!r}",
            remedy="correct or unset its PREFECT_… variable, or its line in Prefect's profile, prefect.toml or .env",
        ) from error
    return found


def start_prefect() -> None:
    """Have the server of the run to come open its database already, where it has one of its own."""
    server = _own_server()
    if server is not None:
        server.go()


@functools.cache
def _own_server() -> OwnServer | None:
    """This process' own Prefect server, where it needs one; it begins to load with the first call, before Prefect is imported."""
    prefect_settings(quiet=True)
    return own_prefect_server(Settings.from_environment().home)


def _ended_without_server(run_id: str, error: Exception) -> RunReport:
    """The report of a run whose Prefect server went away; it is only a view.

    Raises:
        ServiceError: the run did not come to its end.
    """
    from tasks.report import report_of  # noqa: PLC0415 - the runbooks are on the path only now
    from upkeep.wiring import site  # noqa: PLC0415 - opens nothing until a command needs it

    detail = site().history.find_run(run_id)
    problem = f"the Prefect server did not answer: {shorten(str(error))}"
    if detail is None or detail.outcome is None:
        raise ServiceError(f"{problem}; no host was left half-changed for good; do: upkeep status {run_id or 'last'}")
    sys.stderr.write(f"{problem}; its UI may show this run as unfinished, the history is complete\n")
    return report_of(detail)


def print_json(report: RunReport) -> None:
    """One JSON document on standard output, and nothing else."""
    sys.stdout.write(report.model_dump_json(indent=2) + "\n")


def print_refusal(runbook: str, error: UpkeepError) -> None:
    """The `--json` document of a run that was not opened."""
    now = datetime.now(UTC)
    print_json(
        RunReport(
            run="",
            runbook=runbook,
            outcome=RunOutcome.REFUSED,
            reason=str(error),
            hosts={},
            started_at=now,
            ended_at=now,
        )
    )


def _judged(runbook: str, request: RunRequest, *, confirm: bool) -> RunRequest:
    """The request with its run id, after everything that can be known without touching a host was judged."""
    from tasks.keep_ticket import refuse_without_ticket  # noqa: PLC0415
    from tasks.keep_windows import refuse_outside_window  # noqa: PLC0415
    from tasks.prepare_run import prepare  # noqa: PLC0415
    from tasks.refuse_unapprovable import refuse_unapprovable  # noqa: PLC0415 - the runbooks are on the path only now
    from tasks.refused_runs import refusals_noted  # noqa: PLC0415
    from upkeep.wiring import site  # noqa: PLC0415 - opens nothing until a command needs it

    with refusals_noted(site(), runbook, request):
        prepared = prepare(site(), runbook, request)
        record = prepared.record
        refuse_unapprovable(record, request)
        refuse_outside_window(site(), record)
        refuse_without_ticket(site(), record, request)
    if confirm and sys.stdin.isatty() and sys.stdout.isatty():
        version = record.release.version if record.release else ""
        question = f"{runbook}: {len(record.targets)} hosts of plan '{record.plan.name}' to {record.profile.name} {version}. Go on? [y/N] "
        if screen().input(question).strip().lower() not in {"y", "yes"}:
            raise BadInput("not confirmed", remedy="answer y, or give --yes")
    site().connect_early(itertools.islice(prepared.targets.values(), CONNECTED_EARLY))  # Prefect is imported meanwhile
    return request.model_copy(update={"run_id": record.id})


@contextlib.contextmanager
def _shown(*, as_json: bool) -> Iterator[None]:
    from upkeep.wiring import site  # noqa: PLC0415 - opens nothing until a command needs it

    listeners = site().history.listeners
    if os.environ.get(WANTED) == "json":
        yield  # the history's own listener writes every event
        return
    with LiveRun(screen(stderr=as_json)) as listener:
        listeners.append(listener)
        try:
            yield
        finally:
            listeners.remove(listener)


@contextlib.contextmanager
def _stop_on_signal(request: RunRequest) -> Iterator[None]:
    """The first Ctrl-C finishes the hosts in work and starts no more; the second one puts them back; the third breaks off."""
    from upkeep.wiring import site  # noqa: PLC0415 - opens nothing until a command needs it

    def ask(_signum: int, _frame: FrameType | None) -> Any:  # noqa: ANN401 - signal handlers answer nothing
        signal.signal(signal.SIGINT, cancel)
        sys.stderr.write(
            "stopping: hosts in work are finished, no further host is started (Ctrl-C again puts them back)\n"
        )
        site().history.request_stop(
            request.run_id, Actor(name=request.requested_by or "terminal"), "stopped with Ctrl-C"
        )

    def cancel(_signum: int, _frame: FrameType | None) -> Any:  # noqa: ANN401 - signal handlers answer nothing
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.stderr.write("cancelling: hosts that were switched and not committed go back (Ctrl-C again breaks off)\n")
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
