"""`upkeep run` and all that is done with a run."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from typing import Annotated

import typer

from upkeep.cli.options import (
    Comment,
    DryRun,
    Hosts,
    Inventory,
    Json,
    OverrideWindow,
    PlanFile,
    Reason,
    RunId,
    Settings,
    Ticket,
    Yes,
    pairs_of,
)
from upkeep.errors import BadInput, UpkeepError

app = typer.Typer()


@app.command()
def run(
    runbook: Annotated[
        str,
        typer.Argument(
            help="maintenance, pre_update_check, backup, prestage, staged_upgrade, verification, health_inspection, "
            "connection_diagnosis, release_watch"
        ),
    ],
    *,
    inventory: Inventory = "",
    plan: PlanFile = "",
    settings: Settings = None,
    hosts: Hosts = "",
    ticket: Ticket = "",
    reason: Reason = "",
    override_window: OverrideWindow = False,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Run a runbook now, in this process.

    Exit codes: 0 succeeded (also with exceptions), 1 failed or stopped, 2 bad input, 3 rolled back, 4 refused, 5 held for a person.
    """
    from upkeep.commands import running  # noqa: PLC0415 - --help must not wait for Prefect
    from upkeep.domain.record import RunRequest  # noqa: PLC0415

    pairs = pairs_of(settings)
    for short, key in (("apply", "repairs.apply"), ("capture", "capture.lasting"), ("level", "log_level.lasting")):
        if short in pairs:
            pairs[key] = pairs.pop(short)
    request = RunRequest(
        inventory=inventory,
        plan=plan,
        hosts=hosts or pairs.pop("hosts", ""),  # no plan key, but what people try first
        settings=pairs,
        ticket=ticket,
        reason=reason,
        override_window=override_window,
        dry_run=dry_run,
        source="cli",
    )
    request = running.of_the_lab(runbook, request)
    _run(lambda: running.run_runbook(runbook, request, as_json=as_json, yes=yes), runbook, as_json=as_json)


@app.command()
def start(
    runbook: Annotated[str, typer.Argument(help="As for `upkeep run`")],
    *,
    inventory: Inventory = "",
    plan: PlanFile = "",
    settings: Settings = None,
    hosts: Hosts = "",
    ticket: Ticket = "",
    reason: Reason = "",
    override_window: OverrideWindow = False,
    dry_run: DryRun = False,
) -> None:
    """Run a runbook through the Prefect server that PREFECT_API_URL names, and say where to watch it."""
    from upkeep.commands import starting  # noqa: PLC0415
    from upkeep.domain.record import RunRequest  # noqa: PLC0415

    request = RunRequest(
        inventory=inventory,
        plan=plan,
        settings=pairs_of(settings),
        hosts=hosts,
        ticket=ticket,
        reason=reason,
        override_window=override_window,
        dry_run=dry_run,
        requested_by=getpass.getuser(),
        source="cli",
    )
    starting.start(runbook, request)


@app.command()
def retry(run_id: RunId, *, hosts: Hosts = "", reason: Reason = "", yes: Yes = False, as_json: Json = False) -> None:
    """Finish an earlier run: its failed, blocked, set aside and never-started hosts, and only those."""
    from upkeep.commands import running  # noqa: PLC0415
    from upkeep.domain.record import RunRequest  # noqa: PLC0415

    request = RunRequest(of_run=run_id, hosts=hosts, reason=reason or f"retry of run {run_id}", source="cli")
    _run(
        lambda: running.run_runbook(running.runbook_of(run_id), request, as_json=as_json, yes=yes),
        "retry",
        as_json=as_json,
    )


@app.command("first-aid")
def first_aid(run_id: RunId = "last", *, hosts: Hosts = "", as_json: Json = False) -> None:
    """Why an earlier run failed: its failed hosts are asked, disk and way measured, causes weighed; nothing is changed."""
    from upkeep.commands import running  # noqa: PLC0415
    from upkeep.domain.record import RunRequest  # noqa: PLC0415

    request = RunRequest(of_run=run_id, hosts=hosts, reason=f"first aid for run {run_id}", source="cli")
    _run(
        lambda: running.run_runbook("connection_diagnosis", request, as_json=as_json),
        "connection_diagnosis",
        as_json=as_json,
    )


@app.command()
def resume(run_id: RunId, *, reason: Reason = "", as_json: Json = False) -> None:
    """Go on with a run whose controller died: hosts in work are finished from their own truth, then the rest."""
    from upkeep.commands import running  # noqa: PLC0415

    _run(lambda: running.resume_run(run_id, reason, as_json=as_json), "resume", as_json=as_json)


@app.command()
def rollback(run_id: RunId, *, hosts: Hosts = "", reason: Reason = "", yes: Yes = False, as_json: Json = False) -> None:
    """Undo an earlier run: every host it committed goes back to the version, configuration and data it had before."""
    from upkeep.commands import running  # noqa: PLC0415
    from upkeep.domain.record import RunRequest  # noqa: PLC0415

    if not reason.strip():
        raise BadInput("a rollback by hand needs a reason", remedy="give --reason TEXT, which is kept in the history")
    request = RunRequest(of_run=run_id, hosts=hosts, reason=reason, source="cli")
    _run(lambda: running.run_runbook("rollback", request, as_json=as_json, yes=yes), "rollback", as_json=as_json)


@app.command()
def unlock(*, inventory: Inventory = "", plan: PlanFile = "", hosts: Hosts = "", reason: Reason = "") -> None:
    """Take hosts' locks away from a run that will not come back for them. Needs --reason; a run that goes on here is left alone."""
    from upkeep.commands import unlocking  # noqa: PLC0415
    from upkeep.domain.record import RunRequest  # noqa: PLC0415

    request = RunRequest(inventory=inventory, plan=plan, hosts=hosts, reason=reason, source="cli")
    raise typer.Exit(unlocking.unlock(request))


@app.command()
def status(run_id: RunId = "last", *, as_json: Json = False) -> None:
    """How a run stands. If its controller died, the hosts themselves are asked."""
    from upkeep.commands import inspecting  # noqa: PLC0415

    raise typer.Exit(inspecting.show_status(run_id, as_json=as_json))


@app.command()
def stop(run_id: RunId, *, reason: Reason = "") -> None:
    """Ask a running run to finish the hosts in work and to start no more."""
    from upkeep.commands import inspecting  # noqa: PLC0415

    inspecting.ask_stop(run_id, reason)


@app.command()
def approve(run_id: RunId, *, comment: Comment = "") -> None:
    """Approve what a run waits for. The token comes from UPKEEP_TOKEN, a prompt or standard input, never from the command line."""
    from upkeep.commands import approving  # noqa: PLC0415

    approving.approve(run_id, comment)


@app.command()
def reject(run_id: RunId, *, comment: Comment = "") -> None:
    """Reject what a run waits for: the run ends, changed hosts stay as they are, no other host is touched. Token as for approve."""
    from upkeep.commands import approving  # noqa: PLC0415

    approving.reject(run_id, comment)


def _run(action: Callable[[], int], runbook: str, *, as_json: bool) -> None:
    from upkeep.commands import running  # noqa: PLC0415

    try:
        code = action()
    except UpkeepError as error:
        if as_json:
            running.print_refusal(runbook, error)
        raise
    raise typer.Exit(code)
