"""`upkeep lab`: a fleet on this machine to try things on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from upkeep.cli.options import Json

app = typer.Typer(help="A fleet on this machine to try things on, without root.", no_args_is_help=True)


@app.command("up")
def lab_up(
    *,
    hosts: Annotated[int, typer.Option(min=1, max=200, help="How many hosts")] = 8,
    folder: Annotated[Path | None, typer.Option("--dir", help="Where; default $UPKEEP_HOME/lab")] = None,
) -> None:
    """Raise the lab: hosts with SSH, services and agents, and a control centre, all on loopback."""
    from upkeep.commands import demonstrating  # noqa: PLC0415

    demonstrating.lab_up(hosts, folder)


@app.command("down")
def lab_down(
    *, folder: Annotated[Path | None, typer.Option("--dir", help="Where; default $UPKEEP_HOME/lab")] = None
) -> None:
    """Stop and remove the lab."""
    from upkeep.commands import demonstrating  # noqa: PLC0415

    demonstrating.lab_down(folder)


@app.command("status")
def lab_status(
    *,
    folder: Annotated[Path | None, typer.Option("--dir", help="Where; default $UPKEEP_HOME/lab")] = None,
    as_json: Json = False,
) -> None:
    """How the lab's hosts are."""
    from upkeep.commands import demonstrating  # noqa: PLC0415

    demonstrating.lab_status(folder, as_json=as_json)


@app.command("break")
def lab_break(
    host: Annotated[str, typer.Argument(help="Host of the lab")],
    fault: Annotated[str, typer.Argument(help="Fault; `heal` undoes all of a host's faults")],
    *,
    folder: Annotated[Path | None, typer.Option("--dir", help="Where; default $UPKEEP_HOME/lab")] = None,
) -> None:
    """Inject a named fault into one host, or `heal` it.

    What `upkeep run connection_diagnosis --set hosts=HOST` then names: stopped, bad-config, wrong-address, wrong-ca, no-route,
    firewall, refused, mtu, unreachable, frozen, wrong-host-key, masked, disk-full, inodes-full, clock-ahead.

    What `upkeep run health_inspection` finds: unit-edited, permission-drift, config-edited.

    What the next version then does, for changes that fail: crash-loop, dies-after-20s, not-registering, slow, error-flood,
    wrong-version, config-rejected.
    """
    from upkeep.commands import demonstrating  # noqa: PLC0415

    demonstrating.lab_break(host, fault, folder)


@app.command("heal")
def lab_heal(
    host: Annotated[str, typer.Argument(help="Host of the lab")],
    *,
    folder: Annotated[Path | None, typer.Option("--dir", help="Where; default $UPKEEP_HOME/lab")] = None,
) -> None:
    """Undo all faults of one host."""
    from upkeep.commands import demonstrating  # noqa: PLC0415

    demonstrating.lab_break(host, "heal", folder)


@app.command("desk")
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


@app.command("ticket")
def lab_ticket(
    action: Annotated[str, typer.Argument(help="open, approve, implement, hold, cancel or show")],
    number: Annotated[str, typer.Argument(help="Ticket; default: the newest")] = "",
    *,
    folder: Annotated[Path | None, typer.Option("--dir", help="The lab; default $UPKEEP_HOME/lab")] = None,
) -> None:
    """Do with a ticket of the desk what people do in their ticket system."""
    from upkeep.commands import desk  # noqa: PLC0415

    desk.ticket(action, number, folder)
