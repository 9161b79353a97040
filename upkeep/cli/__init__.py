"""The command line."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from upkeep import __version__
from upkeep.cli import backups, checks, controller, history, lab, people, plan, runs
from upkeep.errors import UpkeepError
from upkeep.garbage import collect_seldom, keep_for_good

app = typer.Typer(
    name="upkeep",
    help="Maintenance runbooks for fleets of Linux hosts that undo themselves when they go wrong and leave evidence.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(runs.app)
app.add_typer(controller.app)
app.add_typer(plan.app, name="plan")
app.add_typer(history.app, name="history")
app.add_typer(lab.app, name="lab")
app.add_typer(backups.app, name="backups")
app.add_typer(people.app, name="people")
app.add_typer(checks.app, name="checks")


@app.callback()
def _options(
    *,
    version: Annotated[bool, typer.Option("--version", help="Print the version")] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Entry point: errors made on purpose become one message and an exit code, never a traceback."""
    collect_seldom()
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
    finally:
        keep_for_good()
