"""`python -m upkeep.lab.machines`: machines by hand."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import yaml

from upkeep.errors import UpkeepError
from upkeep.lab.machines import faults
from upkeep.lab.machines.base import cache_directory
from upkeep.lab.machines.fleet import MachineFleet
from upkeep.lab.machines.machine import Machine

VERBS: dict[str, tuple[Callable[[Machine], object], str]] = {
    "boot": (Machine.boot, "switch on"),
    "reboot": (Machine.reboot, "systemctl reboot, and wait until it is up"),
    "shutdown": (Machine.shut_down, "clean shutdown"),
    "kill": (Machine.cut_power, "power cut: what is not yet on the disk is lost"),
    "cut": (faults.cut, "packets vanish, both ways"),
    "pull-cable": (faults.pull_cable, "the same, and the machine sees it"),
    "freeze": (faults.freeze, "hang: connections are accepted and never answered"),
    "fill": (faults.fill, "no byte left on its disk"),
    "fill-inodes": (faults.fill_inodes, "no inode left on its disk"),
    "read-only": (faults.turn_read_only, "an ext4 error: its disk turns read-only"),
    "heal": (faults.heal, "undo every fault; switch on if off"),
}


def main() -> int:
    """Do what the command line says; 0, or the exit code of the error."""
    words = _parser().parse_args()
    if getattr(words, "command", [])[:1] == ["--"]:
        del words.command[0]
    fleet = MachineFleet(words.name, words.dir or cache_directory() / words.name)
    try:
        return _do(fleet, words)
    except UpkeepError as error:
        sys.stderr.write(f"machines: {error}\n")
        return error.exit_code


def _do(fleet: MachineFleet, words: argparse.Namespace) -> int:
    if words.verb == "up":
        fleet.up(words.count)
        (fleet.directory / "inventory.yaml").write_text(yaml.safe_dump(fleet.inventory(), sort_keys=False))
        sys.stdout.write(f"{words.count} machines are up; inventory: {fleet.directory / 'inventory.yaml'}\n")
    elif words.verb == "down":
        fleet.down()
    elif words.verb == "list":
        _list(fleet)
    elif words.verb == "sh":
        return _inside(fleet, words.machine, words.command)
    elif words.verb == "exec":
        return subprocess.run(fleet.control_command(*words.command), check=False).returncode
    else:
        chosen = [fleet.machine(name) for name in words.machines]
        fleet.each(VERBS[words.verb][0], chosen)
    return 0


def _list(fleet: MachineFleet) -> None:
    for machine in fleet.machines:
        state = "on" if machine.supervisor else "off"
        sys.stdout.write(f"{machine.name:5} {state:4} {machine.address:14} {fleet.loopback(machine)}\n")


def _inside(fleet: MachineFleet, name: str, command: list[str]) -> int:
    terminal = f"TERM={os.environ.get('TERM', 'dumb')}"
    words = fleet.machine(name).command("env", terminal, *(command or ["bash", "-l"]))
    return subprocess.run(words, check=False).returncode


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m upkeep.lab.machines", description=__doc__)
    parser.add_argument("--name", default="lab", help="tells sets on this computer apart")
    parser.add_argument("--dir", type=Path, help="where the machines' files lie; default: in the cache")
    verbs = parser.add_subparsers(dest="verb", required=True)
    up = verbs.add_parser("up", help="boot h1 to hN; what is on stays on")
    up.add_argument("count", type=int, nargs="?", default=10)
    verbs.add_parser("down", help="remove everything")
    verbs.add_parser("list", help="name, state, address, loopback address")
    inside = verbs.add_parser("sh", help="a command inside as root, without the network; a shell if there is none")
    inside.add_argument("machine")
    inside.add_argument("command", nargs=argparse.REMAINDER)
    control = verbs.add_parser("exec", help="a command inside the control namespace")
    control.add_argument("command", nargs=argparse.REMAINDER)
    for verb, (_, text) in VERBS.items():
        verbs.add_parser(verb, help=text).add_argument("machines", nargs="+")
    return parser


if __name__ == "__main__":
    sys.exit(main())
