"""What is done on this controller beside a run: try, rehearse, serve, look."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from upkeep.cli.options import Inventory, Json, Settings, pairs_of

app = typer.Typer()


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
            Path(plan), inventory, pairs_of(settings), faults=fault or [], seed=seed, as_json=as_json
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

    command.show_windows(Path(plan), inventory, pairs_of(settings), count=count, as_json=as_json)


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


@app.command()
def tickets(
    number: Annotated[str, typer.Argument(metavar="[TICKET]", help="Only this ticket")] = "", *, as_json: Json = False
) -> None:
    """What ticket systems sent and what became of it, newest first, and notes that could not be sent yet."""
    from upkeep.commands import ticketing  # noqa: PLC0415

    ticketing.list_tickets(number, as_json=as_json)
