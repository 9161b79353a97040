"""`upkeep checks`: the catalogue, one check in full, and a host asked on the spot."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

from rich.markup import escape
from rich.table import Table

from upkeep.commands.planning import inventory_of
from upkeep.console.screen import coloured, screen
from upkeep.documents import load_catalogue, load_inventory, load_plan, load_profile
from upkeep.documents.fields import nearest
from upkeep.domain.check import CONTROLLER, Catalogue, Check, Purpose
from upkeep.domain.finding import Finding, Verdict
from upkeep.errors import BadInput
from upkeep.hosts.inspection import inspect_host
from upkeep.wiring import site

BESIDE_PLAN = "checks.yaml"


def catalogue_for(plan: str) -> Catalogue:
    """Upkeep's checks, the site's, and those beside the plan.

    Raises:
        BadInput: a file of checks cannot be used.
    """
    beside = [Path(plan).parent / BESIDE_PLAN] if plan else []
    return load_catalogue([site().settings.checks, *beside])


def list_checks(purpose: str, plan: str, *, as_json: bool) -> None:
    """Print the catalogue."""
    known = get_args(Purpose)
    if purpose and purpose not in known:
        raise BadInput("no such purpose", found=purpose, allowed=", ".join(known))
    catalogue = catalogue_for(plan)
    chosen = [check for check in catalogue.checks if not purpose or purpose in check.purposes]
    if as_json:
        listed = [
            check.model_dump(mode="json", exclude_defaults=True) | {"off": check.id in catalogue.off}
            for check in chosen
        ]
        sys.stdout.write(json.dumps(listed, indent=2) + "\n")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("check", "asks", "warns", "fails", "cost"):
        table.add_column(column, overflow="fold")
    for check in chosen:
        name = f"{check.id} (off)" if check.id in catalogue.off else check.id
        table.add_row(*map(escape, (name, check.asks, warns_when(check), fails_when(check), check.cost)))
    screen().print(table)
    screen().print(f"{len(chosen)} checks; one in full: upkeep checks explain CHECK", markup=False)


def explain_check(name: str, plan: str) -> None:
    """Print everything about one check.

    Raises:
        BadInput: there is none of this name.
    """
    catalogue = catalogue_for(plan)
    check = catalogue.find(name)
    if check is None:
        guess = nearest(name, [one.id for one in catalogue.checks])
        remedy = f"did you mean '{guess}'?" if guess else "see upkeep checks list"
        raise BadInput("there is no such check", found=name, allowed="an id of the catalogue", remedy=remedy)
    for line in explanation(check, off=check.id in catalogue.off):
        screen().print(line, markup=False, soft_wrap=True)


def explanation(check: Check, *, off: bool = False) -> list[str]:
    """One check as lines for people."""
    facts = [
        ("asked", "not, the site switched it off" if off else f"{how(check)}; cost: {check.cost}"),
        ("for", ", ".join(check.purposes)),
        ("only with", ", ".join(f"vars.{name}" for name in check.needs)),
        ("warns", warns_when(check)),
        ("fails", fails_when(check)),
        ("unknown", "when the host does not answer it; never counted as healthy"),
        ("do", check.remedy),
        ("serves", ", ".join(check.serves)),
    ]
    return [f"{check.id}: {check.asks}", *(f"  {name:10} {text}" for name, text in facts if text)]


def how(check: Check) -> str:
    """How a check asks."""
    way = check.ways[0]
    if check.look == CONTROLLER:
        return "no host: the controller answers from its own records"
    if way == "look":
        return f"by the look '{check.look}' (upkeep/hosts/looks/{check.look}.sh), which prints '{check.reads}'"
    return f"by Upkeep's own code ({check.built_in})" if way == "built_in" else f"by its own {way}"


def warns_when(check: Check) -> str:
    """When it warns."""
    parts = [f"beyond: {check.warn.words(check.unit)}"] if check.warn else []
    if check.good and check.severity == "warn":
        parts.append(f"unless the answer matches {check.good}")
    if check.counts_up and check.severity == "warn":
        parts.append("when it grew since the last inspection")
    if check.new and check.severity == "warn":
        parts.append("when it was not there at earlier inspections")
    if check.trend:
        parts.append(f"when it will reach {check.trend.reaches:g} {check.unit} within {check.trend.within_days:g} days")
    parts += ["when it differs from the cohort"] if check.peers else []
    parts += ["when it differs from what the last run left"] if check.drift else []
    return "; ".join(parts)


def fails_when(check: Check) -> str:
    """When it fails."""
    if check.built_in:
        return "as its code judges"
    parts = [f"beyond: {check.fail.words(check.unit)}"] if check.fail else []
    if check.good and check.severity == "fail":
        parts.append(f"unless the answer matches {check.good}")
    if check.counts_up and check.severity == "fail":
        parts.append("when it grew since the last inspection")
    return "; ".join(parts)


def try_checks(name: str, plan_file: str, inventory: str, only: str, *, as_json: bool) -> int:
    """Ask one host and print what was found; 1 when something fails or is unknown.

    Raises:
        BadInput: plan, inventory or host cannot be used.
        HostError: the host could not be asked.
    """
    if not plan_file:
        raise BadInput(
            "no plan was named, which says what agent the host has", allowed="a plan file", remedy="give -p FILE"
        )
    path = Path(plan_file)
    hosts = {host.name: host for host in load_inventory(inventory_of(path, inventory)).all_hosts()}
    if name not in hosts:
        some = ", ".join(list(hosts)[:8])
        raise BadInput("there is no such host in the inventory", found=name, allowed=some, remedy="see the inventory")
    host, controller = hosts[name], site()
    profile = controller.profile_for(load_profile(load_plan(path).profile, path), host)
    transport = controller.transport(controller.targets((host,), hosts)[name])
    try:
        seen = inspect_host(transport, profile, catalogue_for(plan_file), host.variables(), now=datetime.now(UTC))
    finally:
        transport.close()
    findings = [finding for finding in seen.findings if finding.check.startswith(only)]
    _show(findings, as_json=as_json)
    return int(any(finding.blocks for finding in findings))


_ORDER = (Verdict.FAIL, Verdict.UNKNOWN, Verdict.WARN, Verdict.PASS)


def _show(findings: list[Finding], *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(
            json.dumps([f.model_dump(mode="json", exclude_defaults=True) for f in findings], indent=2) + "\n"
        )
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("check", "verdict", "what is the case", "do"):
        table.add_column(column, overflow="fold")
    for finding in sorted(findings, key=lambda one: _ORDER.index(one.verdict)):
        table.add_row(
            escape(finding.key), coloured(finding.verdict.value), escape(finding.reason), escape(finding.remedy)
        )
    screen().print(table)
    counted = ", ".join(f"{sum(f.verdict is v for f in findings)} {v.value}" for v in _ORDER)
    screen().print(f"{len(findings)} answers: {counted}", markup=False)
