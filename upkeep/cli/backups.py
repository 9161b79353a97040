"""`upkeep backups`: what was saved of hosts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from upkeep.cli.options import Json, Reason, RunId

app = typer.Typer(help="What was saved of hosts, and the keys it is sealed with.", no_args_is_help=True)


@app.command("list")
def backups_list(run_id: RunId = "last", *, as_json: Json = False) -> None:
    """A run's backups on this controller."""
    from upkeep.commands import backups  # noqa: PLC0415

    backups.show(run_id, as_json=as_json)


@app.command("open")
def backups_open(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="Run id, a unique beginning of one, or 'last'")],
    host: Annotated[str, typer.Argument(metavar="HOST")],
    *,
    out: Annotated[Path | None, typer.Option(help="File; default HOST-RUN.tar.gz here")] = None,
) -> None:
    """One host's backup as the tar.gz it is, to look into or to restore by hand."""
    from upkeep.commands import backups  # noqa: PLC0415

    backups.write_opened(run_id, host, out)


@app.command("rotate-key")
def backups_rotate_key(*, reason: Reason = "") -> None:
    """Seal backups with a new key from here on; the old ones still open what they sealed."""
    from upkeep.commands import backups  # noqa: PLC0415

    backups.rotate_key(reason)


@app.command("retire-key")
def backups_retire_key(
    key: Annotated[str, typer.Argument(metavar="KEY", help="Key id")], *, reason: Reason = ""
) -> None:
    """Put an old key away: what it sealed cannot be opened until it is put back."""
    from upkeep.commands import backups  # noqa: PLC0415

    backups.retire_key(key, reason)
