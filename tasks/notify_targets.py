"""Whom to tell about a run: the targets of its plan and those of the site."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import TypeAdapter, ValidationError

from upkeep.documents import load_plan
from upkeep.domain.document import Name
from upkeep.domain.notify_target import NotifyTarget
from upkeep.domain.plan import Plan
from upkeep.errors import BadInput
from upkeep.wiring import Site

_TARGETS: TypeAdapter[dict[str, NotifyTarget]] = TypeAdapter(dict[Name, NotifyTarget])


@dataclass(frozen=True)
class Target:
    """One target with its name, the folder its file is relative to, and what its messages call the run."""

    name: str
    target: NotifyTarget
    folder: Path
    subject: str

    @property
    def lane(self) -> str:
        """What tells this target from others; holds no secret."""
        return f"{self.name} ({self.target.url})"


def targets_of(site: Site, run_id: str, plan_file: str = "") -> list[Target]:
    """Everybody to tell about a run; a plan's target takes the place of the site's of the same name.

    Where there is no run of this id, e.g. because its start was missed, the plan is read from its file as it is now.

    Raises:
        BadInput: the site's file cannot be read.
    """
    home = site.settings.home
    detail = site.history.find_run(run_id) if run_id else None
    plan: Plan | None
    if detail is not None:
        plan, folder = detail.record.plan, Path(detail.record.plan_dir)
        subject = f"{detail.runbook} {plan.name}"
    else:
        plan, folder = _plan_of(plan_file), Path(plan_file).absolute().parent
        subject = f"plan {plan.name}" if plan else f"run {run_id}"
    found = {name: Target(name, target, home, subject) for name, target in site_targets(home / "notify.yaml").items()}
    if plan is not None:
        found |= {name: Target(name, target, folder, subject) for name, target in plan.notify.items()}
    return list(found.values())


def _plan_of(file: str) -> Plan | None:
    """The plan in this file; None where it cannot be read, which the opener of windows says by itself."""
    try:
        return load_plan(Path(file)) if file else None
    except BadInput:
        return None


def site_targets(path: Path) -> dict[str, NotifyTarget]:
    """The targets that are told about every run of this controller; none without the file.

    Raises:
        BadInput: the file is there and cannot be read.
    """
    if not path.exists():
        return {}
    try:
        return _TARGETS.validate_python(yaml.safe_load(path.read_text("utf-8")) or {})
    except ValidationError as error:
        first = error.errors()[0]
        raise BadInput(
            f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}", remedy="see docs/notifications.md"
        ) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadInput(f"{path} cannot be read: {error}", remedy="see docs/notifications.md") from error
