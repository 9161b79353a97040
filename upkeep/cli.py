"""The command line."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from upkeep import __version__
from upkeep.errors import BadInput, UpkeepError

app = typer.Typer(
    name="upkeep",
    help="Maintenance runbooks for fleets of Linux hosts that undo themselves when they go wrong and leave evidence.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
plan_app = typer.Typer(help="Read, judge and compare plans.", no_args_is_help=True)
history_app = typer.Typer(help="What was done, by whom, and what came of it.", no_args_is_help=True)
backups_app = typer.Typer(help="What was saved of hosts, and the keys it is sealed with.", no_args_is_help=True)
lab_app = typer.Typer(help="A fleet on this machine to try things on, without root.", no_args_is_help=True)
app.add_typer(plan_app, name="plan")
app.add_typer(history_app, name="history")
app.add_typer(lab_app, name="lab")
app.add_typer(backups_app, name="backups")
people_app = typer.Typer(help="Who may view, start, approve and administer.", no_args_is_help=True)
app.add_typer(people_app, name="people")

Inventory = Annotated[
    str, typer.Option("-i", "--inventory", help="Inventory file (YAML, or JSON as ansible-inventory --list prints it)")
]
PlanFile = Annotated[str, typer.Option("-p", "--plan", help="Plan file")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a plan key, e.g. soak.canary=2m; repeatable"),
]
Hosts = Annotated[str, typer.Option("--hosts", help="Only these of the plan's targets: a selector like zone=b,!web-07")]
Ticket = Annotated[str, typer.Option(help="Change ticket; where tickets.yaml names its system, it must allow the run")]
Reason = Annotated[str, typer.Option(help="Why; kept in the history")]
OverrideWindow = Annotated[
    bool,
    typer.Option(
        "--override-window",
        help="Go on in a freeze or outside the window; needs --reason and a second person's approval",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before starting")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Look and plan only; nothing on any host changes")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output and nothing else")]
Comment = Annotated[str, typer.Option(help="Kept in the history with the decision")]
RunId = Annotated[str, typer.Argument(metavar="RUN", help="Run id, a unique beginning of one, or 'last'")]


@app.callback()
def _options(
    *,
    version: Annotated[bool, typer.Option("--version", help="Print the version")] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


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

    pairs = _pairs(settings)
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
        settings=_pairs(settings),
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


@app.command()
def demo(
    *,
    hosts: Annotated[int, typer.Option(min=4, max=100, help="Hosts in the lab")] = 8,
) -> None:
    """Raise a fleet on this machine, upgrade it in stages with one host that breaks, show what came of it, clean up."""
    from upkeep.commands import demonstrating  # noqa: PLC0415

    raise typer.Exit(demonstrating.demo(hosts))


@app.command()
def rehearse(
    plan: Annotated[str, typer.Argument(help="Plan file")],
    *,
    inventory: Inventory = "",
    fault: Annotated[
        list[str] | None,
        typer.Option(help="Only this fault, e.g. bad-release; repeatable; default: all, each in a run of its own"),
    ] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same story; another one picks other hosts and moments")] = 0,
    settings: Settings = None,
    as_json: Json = False,
) -> None:
    """Run the plan against a simulated copy of this fleet, once for every fault; takes seconds and touches no host.

    Shows what each fault would do with these stages, soak times and limits: how many hosts it breaks before the run stops,
    how many are down at once, what goes back by itself, what a person has to look at, how long it takes, and why it stopped.
    Times on the hosts are typical ones, drawn by the seed; waiting times are the plan's.
    """
    from upkeep.commands import rehearsing  # noqa: PLC0415

    raise typer.Exit(
        rehearsing.rehearse_plan(
            Path(plan), inventory, _pairs(settings), faults=fault or [], seed=seed, as_json=as_json
        )
    )


@app.command()
def windows(
    plan: Annotated[str, typer.Argument(help="Plan file")],
    *,
    inventory: Inventory = "",
    count: Annotated[int, typer.Option(min=0, max=100, help="Openings to show")] = 5,
    settings: Settings = None,
    as_json: Json = False,
) -> None:
    """When the plan may run: whether its window is open, until when or why not, the next openings, and whether the run fits."""
    from upkeep.commands import windows as command  # noqa: PLC0415

    command.show_windows(Path(plan), inventory, _pairs(settings), count=count, as_json=as_json)


@app.command()
def up(
    *,
    host: Annotated[
        str, typer.Option(help="Address to listen on; beyond loopback the Prefect server asks for a password")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the Prefect UI and API")] = 4200,
    pages_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the history pages and the webhook")] = 4280,
) -> None:
    """Start Prefect server (UI), every runbook as a deployment, history pages and webhook; Ctrl-C finishes what is in work and stops."""
    from upkeep.commands import serving  # noqa: PLC0415

    raise typer.Exit(serving.up(host, port, pages_port))


@app.command()
def doctor() -> None:
    """What is missing or misconfigured on this controller."""
    from upkeep.commands import diagnosing  # noqa: PLC0415

    raise typer.Exit(diagnosing.doctor())


@plan_app.command("explain")
def plan_explain(
    plan: Annotated[str, typer.Argument(help="Plan file")], *, inventory: Inventory = "", settings: Settings = None
) -> None:
    """Print the plan back as sentences with this fleet's numbers."""
    from upkeep.commands import planning  # noqa: PLC0415

    planning.explain_plan(Path(plan), inventory, _pairs(settings))


@plan_app.command("check")
def plan_check(
    plan: Annotated[str, typer.Argument(help="Plan file")], *, inventory: Inventory = "", settings: Settings = None
) -> None:
    """Judge plan, profile, release, archives and keys without touching a host."""
    from upkeep.commands import planning  # noqa: PLC0415

    planning.check_plan(Path(plan), inventory, _pairs(settings))


@plan_app.command("diff")
def plan_diff(
    plan: Annotated[str, typer.Argument(help="Plan file")],
    other: Annotated[str, typer.Argument(help="Another plan file, or the id of a run")],
) -> None:
    """What differs between two plans, or between a plan and the one a run was opened with. Exit code 1 when they differ."""
    from upkeep.commands import planning  # noqa: PLC0415

    raise typer.Exit(planning.diff_plans(Path(plan), other))


@history_app.command("list")
def history_list(
    *,
    limit: Annotated[int, typer.Option(min=1, help="Newest first, this many")] = 20,
    host: Annotated[str, typer.Option(help="Only runs with this host")] = "",
    as_json: Json = False,
) -> None:
    """Runs, newest first."""
    from upkeep.commands import inspecting  # noqa: PLC0415

    inspecting.list_runs(limit=limit, host=host, as_json=as_json)


@history_app.command("show")
def history_show(
    run_id: RunId = "last",
    *,
    host: Annotated[str, typer.Option(help="Everything about one host")] = "",
    as_json: Json = False,
) -> None:
    """One run: who, why, stages, hosts, steps, findings."""
    from upkeep.commands import inspecting  # noqa: PLC0415

    inspecting.show_run(run_id, host=host, as_json=as_json)


@history_app.command("verify")
def history_verify(
    *,
    checkpoints: Annotated[
        str, typer.Option(metavar="DIR", help="Copies of checkpoints; default: where this controller puts them")
    ] = "",
    key: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PUBLIC.pem", help="Trust only this key and its rotations; repeatable; default: keys here"
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check events, signed checkpoints and their copies. Exit code 1 and the first bad event or checkpoint if they do not agree."""
    from upkeep.commands import evidence  # noqa: PLC0415

    raise typer.Exit(evidence.verify(checkpoints=checkpoints, keys=key or [], as_json=as_json))


@history_app.command("export")
def history_export(
    run_id: Annotated[str, typer.Argument(metavar="[RUN]", help="Run id, a unique beginning of one, or 'last'")] = "",
    *,
    out: Annotated[
        Path | None, typer.Option(help="File; default upkeep-RUN.zip here, or standard output for a period")
    ] = None,
    since: Annotated[str, typer.Option(metavar="TIME", help="Events from then on, e.g. 2026-11-01")] = "",
    until: Annotated[str, typer.Option(metavar="TIME", help="Events before then; without a zone it is UTC")] = "",
    kind: Annotated[str, typer.Option("--format", help="Of a period: jsonl (CloudEvents) or csv")] = "jsonl",
) -> None:
    """One run as an evidence pack (zip: a page, the events, signatures, a verifier), or the events of a period."""
    from upkeep.commands import evidence  # noqa: PLC0415

    if run_id and (since or until):
        raise BadInput("a run or a period, not both", found=run_id, remedy="leave out the run, or --since and --until")
    if run_id:
        evidence.export_run(run_id, out)
    elif since or until:
        evidence.export_period(since, until, kind, out)
    else:
        raise BadInput("nothing was named", allowed="RUN, or --since and --until", remedy="upkeep history export last")


@history_app.command("rebuild")
def history_rebuild(
    *,
    check: Annotated[bool, typer.Option("--check", help="Change nothing; exit code 1 when they differ")] = False,
    as_json: Json = False,
) -> None:
    """Make runs, stages, hosts, steps, findings, backups and releases anew from the events, and say what was different."""
    from upkeep.commands import evidence  # noqa: PLC0415

    raise typer.Exit(evidence.rebuild_models(check=check, as_json=as_json))


@history_app.command("move")
def history_move(
    to: Annotated[str, typer.Argument(metavar="DATABASE", help="postgresql://USER@HOST/NAME or sqlite:///FILE, empty")],
    *,
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Move the history, people and all that is kept beside it into another database, chain intact; the old one is closed."""
    from upkeep.commands import evidence  # noqa: PLC0415

    evidence.move_history(to, reason, as_json=as_json)


@history_app.command("rotate-key")
def history_rotate_key(*, reason: Reason = "") -> None:
    """Sign checkpoints with a new key from here on; old and new key both sign the change."""
    from upkeep.commands import evidence  # noqa: PLC0415

    evidence.rotate_key(reason)


@backups_app.command("list")
def backups_list(run_id: RunId = "last", *, as_json: Json = False) -> None:
    """A run's backups on this controller."""
    from upkeep.commands import backups  # noqa: PLC0415

    backups.show(run_id, as_json=as_json)


@backups_app.command("open")
def backups_open(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="Run id, a unique beginning of one, or 'last'")],
    host: Annotated[str, typer.Argument(metavar="HOST")],
    *,
    out: Annotated[Path | None, typer.Option(help="File; default HOST-RUN.tar.gz here")] = None,
) -> None:
    """One host's backup as the tar.gz it is, to look into or to restore by hand."""
    from upkeep.commands import backups  # noqa: PLC0415

    backups.write_opened(run_id, host, out)


@backups_app.command("rotate-key")
def backups_rotate_key(*, reason: Reason = "") -> None:
    """Seal backups with a new key from here on; the old ones still open what they sealed."""
    from upkeep.commands import backups  # noqa: PLC0415

    backups.rotate_key(reason)


@backups_app.command("retire-key")
def backups_retire_key(
    key: Annotated[str, typer.Argument(metavar="KEY", help="Key id")], *, reason: Reason = ""
) -> None:
    """Put an old key away: what it sealed cannot be opened until it is put back."""
    from upkeep.commands import backups  # noqa: PLC0415

    backups.retire_key(key, reason)


@lab_app.command("up")
def lab_up(
    *,
    hosts: Annotated[int, typer.Option(min=1, max=200, help="How many hosts")] = 8,
    folder: Annotated[Path | None, typer.Option("--dir", help="Where; default $UPKEEP_HOME/lab")] = None,
) -> None:
    """Raise the lab: hosts with SSH, services and agents, and a control centre, all on loopback."""
    from upkeep.commands import demonstrating  # noqa: PLC0415

    demonstrating.lab_up(hosts, folder)


@lab_app.command("down")
def lab_down(
    *, folder: Annotated[Path | None, typer.Option("--dir", help="Where; default $UPKEEP_HOME/lab")] = None
) -> None:
    """Stop and remove the lab."""
    from upkeep.commands import demonstrating  # noqa: PLC0415

    demonstrating.lab_down(folder)


@lab_app.command("status")
def lab_status(
    *,
    folder: Annotated[Path | None, typer.Option("--dir", help="Where; default $UPKEEP_HOME/lab")] = None,
    as_json: Json = False,
) -> None:
    """How the lab's hosts are."""
    from upkeep.commands import demonstrating  # noqa: PLC0415

    demonstrating.lab_status(folder, as_json=as_json)


@lab_app.command("break")
def lab_break(
    host: Annotated[str, typer.Argument(help="Host of the lab")],
    fault: Annotated[str, typer.Argument(help="Fault; `heal` undoes all of a host's faults")],
    *,
    folder: Annotated[Path | None, typer.Option("--dir", help="Where; default $UPKEEP_HOME/lab")] = None,
) -> None:
    """Inject a named fault into one host, or `heal` it."""
    from upkeep.commands import demonstrating  # noqa: PLC0415

    demonstrating.lab_break(host, fault, folder)


@people_app.command("add")
def people_add(
    name: Annotated[str, typer.Argument(help="The name under which the person asks for runs: the login name")],
    *,
    role: Annotated[
        list[str] | None,
        typer.Option(help="viewer, operator, approver, admin, on-call, 'tech lead' or sre; repeatable"),
    ] = None,
    login: Annotated[list[str] | None, typer.Option(help="A further login name of the same person; repeatable")] = None,
    reason: Reason = "",
) -> None:
    """Let a person in, or give a known one a new token and other roles. Prints the token, this once, on standard output."""
    from upkeep.commands import people  # noqa: PLC0415

    people.add_person(name, role or [], login or [], reason)


@people_app.command("list")
def people_list(*, as_json: Json = False) -> None:
    """Everybody who may or might sign in, with roles."""
    from upkeep.commands import people  # noqa: PLC0415

    people.list_people(as_json=as_json)


@people_app.command("revoke")
def people_revoke(
    name: Annotated[str, typer.Argument(help="Whose token opens nothing any more")], *, reason: Reason = ""
) -> None:
    """Take a person's token away, at once."""
    from upkeep.commands import people  # noqa: PLC0415

    people.revoke_person(name, reason)


@lab_app.command("desk")
def lab_desk(
    *,
    kind: Annotated[str, typer.Option(help="What the desk plays: servicenow, jira or generic")] = "servicenow",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the desk")] = 4290,
    pages_port: Annotated[int, typer.Option(min=1, max=65535, help="Port where `upkeep up` takes webhooks")] = 4280,
    folder: Annotated[Path | None, typer.Option("--dir", help="The lab; default $UPKEEP_HOME/lab")] = None,
) -> None:
    """A small ticket system to try change tickets on, for the lab's hosts; writes the tickets.yaml that leads to it."""
    from upkeep.commands import desk  # noqa: PLC0415

    raise typer.Exit(desk.desk(kind, port, pages_port, folder))


@lab_app.command("ticket")
def lab_ticket(
    action: Annotated[str, typer.Argument(help="open, approve, implement, hold, cancel or show")],
    number: Annotated[str, typer.Argument(help="Ticket; default: the newest")] = "",
    *,
    folder: Annotated[Path | None, typer.Option("--dir", help="The lab; default $UPKEEP_HOME/lab")] = None,
) -> None:
    """Do with a ticket of the desk what people do in their ticket system."""
    from upkeep.commands import desk  # noqa: PLC0415

    desk.ticket(action, number, folder)


checks_app = typer.Typer(help="What hosts are asked, how it is judged and what to do about it.", no_args_is_help=True)
app.add_typer(checks_app, name="checks")


@checks_app.command("list")
def checks_list(
    *,
    purpose: Annotated[str, typer.Option(help="Only for: pre-update, verification, inspection or diagnosis")] = "",
    plan: PlanFile = "",
    as_json: Json = False,
) -> None:
    """Every check there is: Upkeep's, those of UPKEEP_CHECKS, and with -p those of checks.yaml beside the plan."""
    from upkeep.commands import checking  # noqa: PLC0415

    checking.list_checks(purpose, plan, as_json=as_json)


@checks_app.command("explain")
def checks_explain(
    check: Annotated[str, typer.Argument(metavar="CHECK", help="Id, e.g. host.disk.used")], *, plan: PlanFile = ""
) -> None:
    """One check in full: what it asks and how, when it warns and fails, what to do, which requirements it serves."""
    from upkeep.commands import checking  # noqa: PLC0415

    checking.explain_check(check, plan)


@checks_app.command("try")
def checks_try(
    host: Annotated[str, typer.Argument(metavar="HOST", help="Host of the inventory")],
    *,
    plan: PlanFile = "",
    inventory: Inventory = "",
    check: Annotated[str, typer.Option(help="Only this check, or those that begin so: host.disk")] = "",
    as_json: Json = False,
) -> None:
    """Ask one host now and show every answer; nothing is kept. Exit code 1 when something fails or is unknown."""
    from upkeep.commands import checking  # noqa: PLC0415

    raise typer.Exit(checking.try_checks(host, plan, inventory, check, as_json=as_json))


@checks_app.command("acknowledge")
def checks_acknowledge(
    host: Annotated[str, typer.Argument(metavar="HOST", help="Host of the inventory, or `all`")],
    check: Annotated[str, typer.Argument(metavar="CHECK", help="Id, or id:subject as the report names it")],
    *,
    until: Annotated[str, typer.Option(help="Until this day it is known: 2026-12-31, or 14d from now")],
    reason: Reason = "",
) -> None:
    """A known issue: inspections still report it, but nobody is alerted and no host fails by it, until the day is over."""
    from upkeep.commands import acknowledging  # noqa: PLC0415

    acknowledging.acknowledge_issue(host, check, until, reason)


@checks_app.command("known")
def checks_known(*, as_json: Json = False) -> None:
    """Issues that were acknowledged, until when, by whom and why."""
    from upkeep.commands import acknowledging  # noqa: PLC0415

    acknowledging.list_known(as_json=as_json)


@checks_app.command("page", hidden=True)
def checks_page() -> None:
    """Print docs/checks.md anew."""
    from upkeep.commands.check_page import page  # noqa: PLC0415
    from upkeep.documents import load_catalogue  # noqa: PLC0415

    sys.stdout.write(page(load_catalogue()))


@app.command()
def tickets(
    number: Annotated[str, typer.Argument(metavar="[TICKET]", help="Only this ticket")] = "", *, as_json: Json = False
) -> None:
    """What ticket systems sent and what became of it, newest first, and notes that could not be sent yet."""
    from upkeep.commands import ticketing  # noqa: PLC0415

    ticketing.list_tickets(number, as_json=as_json)


def main() -> None:
    """Entry point: errors made on purpose become one message and an exit code, never a traceback."""
    try:
        app()
    except UpkeepError as error:
        sys.stderr.write(f"upkeep: {error}\n")
        sys.exit(error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _run(action: Callable[[], int], runbook: str, *, as_json: bool) -> None:
    from upkeep.commands import running  # noqa: PLC0415

    try:
        code = action()
    except UpkeepError as error:
        if as_json:
            running.print_refusal(runbook, error)
        raise
    raise typer.Exit(code)


def _pairs(settings: list[str] | None) -> dict[str, str]:
    pairs = {}
    for text in settings or []:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise BadInput("--set needs KEY=VALUE", found=text, allowed="a plan key and a value, e.g. soak.canary=2m")
        pairs[key] = value
    return pairs
