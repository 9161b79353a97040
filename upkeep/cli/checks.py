"""`upkeep checks`: what hosts are asked."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from upkeep.cli.options import Inventory, Json, PlanFile, Reason

app = typer.Typer(help="What hosts are asked, how it is judged and what to do about it.", no_args_is_help=True)


@app.command("list")
def checks_list(
    *,
    purpose: Annotated[str, typer.Option(help="Only for: pre-update, verification, inspection or diagnosis")] = "",
    plan: PlanFile = "",
    as_json: Json = False,
) -> None:
    """Every check there is: Upkeep's, those of UPKEEP_CHECKS, and with -p those of checks.yaml beside the plan."""
    from upkeep.commands import checking  # noqa: PLC0415

    checking.list_checks(purpose, plan, as_json=as_json)


@app.command("explain")
def checks_explain(
    check: Annotated[str, typer.Argument(metavar="CHECK", help="Id, e.g. host.disk.used")], *, plan: PlanFile = ""
) -> None:
    """One check in full: what it asks and how, when it warns and fails, what to do, which requirements it serves."""
    from upkeep.commands import checking  # noqa: PLC0415

    checking.explain_check(check, plan)


@app.command("try")
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


@app.command("acknowledge")
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


@app.command("known")
def checks_known(*, as_json: Json = False) -> None:
    """Issues that were acknowledged, until when, by whom and why."""
    from upkeep.commands import acknowledging  # noqa: PLC0415

    acknowledging.list_known(as_json=as_json)


@app.command("page", hidden=True)
def checks_page() -> None:
    """Print docs/checks.md anew."""
    from upkeep.commands.check_page import page  # noqa: PLC0415
    from upkeep.documents import load_catalogue  # noqa: PLC0415

    sys.stdout.write(page(load_catalogue()))
