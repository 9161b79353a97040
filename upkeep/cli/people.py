"""`upkeep people`: who may do what."""

from __future__ import annotations

from typing import Annotated

import typer

from upkeep.cli.options import Json, Reason

app = typer.Typer(help="Who may view, start, approve and administer.", no_args_is_help=True)


@app.command("add")
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


@app.command("list")
def people_list(*, as_json: Json = False) -> None:
    """Everybody who may or might sign in, with roles."""
    from upkeep.commands import people  # noqa: PLC0415

    people.list_people(as_json=as_json)


@app.command("revoke")
def people_revoke(
    name: Annotated[str, typer.Argument(help="Whose token opens nothing any more")], *, reason: Reason = ""
) -> None:
    """Take a person's token away, at once."""
    from upkeep.commands import people  # noqa: PLC0415

    people.revoke_person(name, reason)
