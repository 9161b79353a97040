"""`upkeep plan explain|check|diff`."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path

import yaml

from upkeep.console.screen import screen
from upkeep.documents import load_inventory, load_plan
from upkeep.domain.explain import explain
from upkeep.domain.facts import HostFacts
from upkeep.domain.inventory import Host
from upkeep.domain.plan import Plan
from upkeep.domain.record import RunRequest
from upkeep.domain.selector import Selector
from upkeep.domain.stages import Candidate, StagePlan, plan_stages
from upkeep.errors import BadInput
from upkeep.project import put_on_path
from upkeep.wiring import site


def explain_plan(path: Path, inventory: str, overrides: Mapping[str, str]) -> None:
    """Print the plan as sentences for the fleet of the inventory."""
    from upkeep.commands.windows import fit_lines, outlook  # noqa: PLC0415 - it takes its stages from here

    plan = load_plan(path, overrides)
    hosts = Selector(plan.targets).pick(load_inventory(inventory_of(path, inventory)).all_hosts())
    if not hosts:
        raise BadInput("targets matches no host", found=plan.targets, remedy="check the selector against the inventory")
    stages = judged_stages(plan, hosts)
    console = screen()
    for sentence in explain(plan, stages, release=None, fleet_size=len(hosts)):
        console.print(sentence, markup=False)
    for sentence in fit_lines(outlook(path, plan, hosts)):
        console.print(sentence, markup=False)
    console.print(
        "Cohorts are told apart by zone here; the check adds OS, kernel, architecture, version and proxy of each host.",
        markup=False,
    )


def check_plan(path: Path, inventory: str, overrides: Mapping[str, str]) -> None:
    """Judge everything that can be known without touching a host."""
    put_on_path()
    from tasks.prepare_run import prepare  # noqa: PLC0415 - the runbooks are on the path only now

    request = RunRequest(
        inventory=str(inventory_of(path, inventory)), plan=str(path), settings=dict(overrides), source="cli"
    )
    prepared = prepare(site(), "maintenance", request)
    record, console = prepared.record, screen()
    release = record.release
    console.print(
        f"plan '{record.plan.name}' can be used: {len(record.targets)} hosts, plan hash {record.plan_hash[:16]}",
        markup=False,
    )
    if release is not None:
        console.print(
            f"release {release.product} {release.version} is signed by {', '.join(record.key_ids)}, expires {release.expires:%Y-%m-%d}",
            markup=False,
        )
    for archive in prepared.archives:
        console.print(
            f"archive for {archive.artifact.arch}: {archive.artifact.size_bytes} bytes, SHA-256 {archive.artifact.sha256}",
            markup=False,
        )


def diff_plans(path: Path, other: str) -> int:
    """Print what differs, every default spelled out; 0 when nothing does, 1 otherwise."""
    left, right = (
        load_plan(path),
        load_plan(Path(other)) if Path(other).exists() else site().history.run(other).record.plan,
    )
    lines = list(
        difflib.unified_diff(
            _spelled_out(right), _spelled_out(left), fromfile=other, tofile=str(path), lineterm="", n=1
        )
    )
    console = screen()
    for line in lines:
        console.print(line, markup=False)
    if not lines:
        console.print("no difference")
    return 1 if lines else 0


def _spelled_out(plan: Plan) -> list[str]:
    return yaml.safe_dump(plan.model_dump(mode="json"), sort_keys=True).splitlines()


def judged_stages(plan: Plan, hosts: Iterable[Host]) -> StagePlan:
    """The stages as far as they can be told without asking the hosts.

    Raises:
        BadInput: the stages do not reach every host.
    """
    return plan_stages(plan, [Candidate(host, _cohort(plan, host)) for host in hosts])


def _cohort(plan: Plan, host: Host) -> str:
    return HostFacts().cohort(host.labels.get(plan.spread_by, ""))


def inventory_of(plan: Path, inventory: str) -> Path:
    """The inventory named, or the one beside the plan.

    Raises:
        BadInput: there is none.
    """
    if inventory:
        return Path(inventory)
    beside = plan.parent / "inventory.yaml"
    if beside.exists():
        return beside
    raise BadInput(
        "no inventory was named", allowed="-i FILE, or inventory.yaml beside the plan", remedy="give -i FILE"
    )
