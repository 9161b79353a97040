"""The terminal: colour only where there is one, plain lines in a pipe, nothing but JSON on standard output with `--json`."""

from __future__ import annotations

import sys

from rich.console import Console

NARROWEST = 100


def screen(*, stderr: bool = False) -> Console:
    """A console for people; in a pipe without colour and wide enough that tables are not folded."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else max(NARROWEST, 160)
    return Console(file=stream, width=width, highlight=False, soft_wrap=not stream.isatty())


OUTCOME_STYLE = {
    "committed": "green",
    "already current": "green",
    "passed": "green",
    "backed up": "green",
    "prestaged": "green",
    "succeeded": "bold green",
    "succeeded with exceptions": "bold yellow",
    "rolled back": "yellow",
    "set aside": "yellow",
    "blocked": "yellow",
    "held": "bold yellow",
    "not started": "dim",
    "failed": "bold red",
    "stopped": "bold red",
    "refused": "bold red",
}


def coloured(outcome: str) -> str:
    """An outcome with its colour as rich markup."""
    style = OUTCOME_STYLE.get(outcome)
    return f"[{style}]{outcome}[/]" if style else outcome
