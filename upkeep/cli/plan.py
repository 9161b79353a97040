"""`upkeep plan`: read, judge and compare plans."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from upkeep.cli.options import Inventory, Settings, pairs_of

app = typer.Typer(help="Read, judge and compare plans.", no_args_is_help=True)


@app.command("explain")
def plan_explain(
    plan: Annotated[str, typer.Argument(help="Plan file")], *, inventory: Inventory = "", settings: Settings = None
) -> None:
    """Print the plan back as sentences with this fleet's numbers."""
    from upkeep.commands import planning  # noqa: PLC0415

    planning.explain_plan(Path(plan), inventory, pairs_of(settings))


@app.command("check")
def plan_check(
    plan: Annotated[str, typer.Argument(help="Plan file")], *, inventory: Inventory = "", settings: Settings = None
) -> None:
    """Judge plan, profile, release, archives and keys without touching a host."""
    from upkeep.commands import planning  # noqa: PLC0415

    planning.check_plan(Path(plan), inventory, pairs_of(settings))


@app.command("diff")
def plan_diff(
    plan: Annotated[str, typer.Argument(help="Plan file")],
    other: Annotated[str, typer.Argument(help="Another plan file, or the id of a run")],
) -> None:
    """What differs between two plans, or between a plan and the one a run was opened with. Exit code 1 when they differ."""
    from upkeep.commands import planning  # noqa: PLC0415

    raise typer.Exit(planning.diff_plans(Path(plan), other))
