"""`upkeep demo` and `upkeep lab`: a fleet on this machine."""

from __future__ import annotations

import dataclasses
import importlib
import json
import sys
import time
from pathlib import Path
from tempfile import mkdtemp
from types import ModuleType

from rich.table import Table

from upkeep.commands.planning import explain_plan
from upkeep.commands.running import execute, start_prefect
from upkeep.console.report import show_report
from upkeep.console.screen import screen
from upkeep.domain.change import HostOutcome
from upkeep.domain.record import RunReport, RunRequest
from upkeep.errors import BadInput
from upkeep.settings import Settings

DEMO_TIMES = {"healthy_time": "3s", "soak.canary": "3s", "soak.other": "2s", "soak.every": "1s"}


def demo(hosts: int) -> int:
    """Raise a lab, run `maintenance` with one host that breaks, show what came of it; 0 when it went as it should."""
    lab_module = _lab()
    settings, console = Settings.from_environment(), screen()
    settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder = Path(mkdtemp(prefix="demo-", dir=settings.home))
    lab = lab_module.Lab(folder)
    bad_host = f"h{hosts}"
    started = time.monotonic()
    try:
        start_prefect()  # its first database takes ten seconds, and so does raising the hosts
        console.print(f"raising {hosts} hosts with the agent ms-720 1.4.2 and a control centre on this machine …")
        lab.up(hosts=hosts, version="1.4.2", bad_host=bad_host)
        console.print(f"up after {time.monotonic() - started:.1f} s; {bad_host} will break with 1.5.0\n")
        explain_plan(lab.plan_path, str(lab.inventory_path), DEMO_TIMES)
        console.print("\nupkeep run maintenance -i inventory.yaml -p plan.yaml\n")
        request = RunRequest(
            inventory=str(lab.inventory_path),
            plan=str(lab.plan_path),
            settings=DEMO_TIMES,
            source="cli",
            reason="upkeep demo",
        )
        report = execute("maintenance", request)
        show_report(console, report)
    finally:
        lab.down()
        lab.remove()
    return _verdict(report, bad_host)


def _verdict(report: RunReport, bad_host: str) -> int:
    console = screen()
    others = [result.outcome for name, result in report.hosts.items() if name != bad_host]
    went_well = report.hosts[bad_host].outcome is HostOutcome.ROLLED_BACK and all(
        o is HostOutcome.COMMITTED for o in others
    )
    console.print("the lab's hosts are gone; the history stays:")
    for command in (
        f"upkeep history show {report.run}",
        f"upkeep history show {report.run} --host {bad_host}",
        "upkeep history list",
    ):
        console.print(f"  {command}", markup=False)
    if not went_well:
        console.print(
            "this is not how the demo should end: every host but one committed, that one rolled back", style="bold red"
        )
    return 0 if went_well else 1


def lab_up(hosts: int, folder: Path | None) -> None:
    """Raise the lab and say what to try."""
    lab = _lab().Lab(folder or Settings.from_environment().lab)
    lab.up(hosts=hosts)
    console = screen()
    console.print(f"{hosts} hosts are up")
    for command in (
        f"upkeep plan explain {lab.plan_path} -i {lab.inventory_path}",
        f"upkeep run maintenance -i {lab.inventory_path} -p {lab.plan_path}",
        "upkeep lab break h3 crash-loop",
        "upkeep lab down",
    ):
        console.print(f"  {command}", markup=False, soft_wrap=True)


def lab_down(folder: Path | None) -> None:
    """Stop and remove the lab."""
    lab = _lab().Lab(folder or Settings.from_environment().lab)
    lab.down()
    lab.remove()
    screen().print("the lab is gone")


def lab_status(folder: Path | None, *, as_json: bool) -> None:
    """How the lab's hosts are."""
    hosts = _lab().Lab(folder or Settings.from_environment().lab).status()
    if as_json:
        sys.stdout.write(json.dumps([dataclasses.asdict(host) for host in hosts], indent=2) + "\n")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("host", "address", "agent", "version", "faults"):
        table.add_column(column)
    for host in hosts:
        table.add_row(host.name, f"{host.address}:{host.port}", host.active, host.version, ", ".join(host.faults))
    screen().print(table if hosts else "there is no lab; raise one with `upkeep lab up`")


def lab_break(host: str, fault: str, folder: Path | None) -> None:
    """Inject a fault, or `heal`."""
    module = _lab()
    lab = module.Lab(folder or Settings.from_environment().lab)
    if fault == "heal":
        lab.heal(host)
        screen().print(f"{host} is healed", style="green")
        return
    if fault not in module.FAULTS:
        raise BadInput(f"there is no fault '{fault}'", allowed=", ".join([*module.FAULTS, "heal"]))
    lab.break_(host, fault)
    screen().print(f"{host}: {fault}; undo with `upkeep lab heal {host}`")


def _lab() -> ModuleType:
    try:
        return importlib.import_module("upkeep.lab.lab")
    except ModuleNotFoundError as error:
        raise BadInput(
            f"the lab needs the package {error.name}", remedy="install upkeep[lab], or `make setup` in the checkout"
        ) from error
