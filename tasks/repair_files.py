"""The files on the controller that repairs put on hosts: read before any host is touched, filled for each."""

from __future__ import annotations

from pathlib import Path

from upkeep.domain.inventory import Host
from upkeep.domain.plan import Plan
from upkeep.domain.template import MissingVariable, fill
from upkeep.errors import BadInput, Place


def refuse_missing_files(runbook: str, plan: Plan, plan_dir: Path) -> None:
    """A repair whose template is missing would fail on the host.

    Raises:
        BadInput: a file that the plan's repairs name cannot be read.
    """
    rules = plan.repairs
    if runbook == "connection_diagnosis" and plan.log_level.lasting and not plan.log_level.path:
        allowed = "log_level: {path: FILE ON THE HOST, pattern: …, value: DEBUG}"
        raise BadInput("the plan does not say where the log level stands", allowed=allowed)
    if runbook == "connection_diagnosis" and rules.apply:
        for name in [
            *(one.template for one in rules.configuration),
            *([rules.chain.certificates] if rules.chain else []),
        ]:
            text_of(plan_dir, name)


def text_of(plan_dir: Path, name: str) -> str:
    """A file's text; `name` is relative to the plan.

    Raises:
        BadInput: it cannot be read.
    """
    path = plan_dir / Path(name).expanduser()
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        allowed = "a text file on the controller"
        raise BadInput(
            "a file of repairs cannot be read", place=Place(str(path)), found=str(error), allowed=allowed
        ) from error


def filled(text: str, host: Host, defaults: dict[str, str]) -> str:
    """A template filled for one host.

    Raises:
        BadInput: a placeholder has no value.
    """
    try:
        return fill(text, {**defaults, **host.variables()})
    except MissingVariable as error:
        raise BadInput(
            f"a template of repairs names {{{{ {error.name} }}}}, which {host.name} does not have",
            remedy="set it under vars in the inventory or the profile",
        ) from error
