"""Options and arguments that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from upkeep.errors import BadInput

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


def pairs_of(settings: list[str] | None) -> dict[str, str]:
    """The `--set KEY=VALUE` of a command line; raises BadInput."""
    pairs = {}
    for text in settings or []:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise BadInput("--set needs KEY=VALUE", found=text, allowed="a plan key and a value, e.g. soak.canary=2m")
        pairs[key] = value
    return pairs
