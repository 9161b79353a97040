"""Real systemd hosts on this machine: what a fault does to them and that it can be undone (issue 2: 11, "Shown by")."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from upkeep.documents import load_inventory
from upkeep.errors import BadInput, HostError
from upkeep.lab.machines import faults
from upkeep.lab.machines.fleet import LOOPBACK_SSH_PORT, MachineFleet, remove_orphans
from upkeep.lab.machines.machine import Machine
from upkeep.lab.machines.processes import Process

pytestmark = [pytest.mark.machines, pytest.mark.timeout(600), pytest.mark.xdist_group("machines")]


def ssh(fleet: MachineFleet, machine: Machine, command: str) -> subprocess.CompletedProcess[str]:
    """As a controller outside reaches the machine."""
    reach = ("-p", str(LOOPBACK_SSH_PORT), "-o", f"HostName={fleet.loopback(machine)}", "-o", "ConnectTimeout=2")
    return subprocess.run(
        ["ssh", "-F", fleet.layout.ssh_config, *reach, machine.name, command],
        capture_output=True,
        text=True,
        check=False,
    )


def free_kib(machine: Machine) -> int:
    return int(machine.sh("df -Pk / | tail -n 1").split()[3])


def test_every_machine_runs_systemd_as_its_first_process_and_lets_ops_become_root(fleet: MachineFleet) -> None:
    for machine in fleet.machines:
        said = ssh(fleet, machine, "hostname; cat /proc/1/comm; systemctl is-system-running; id -un; sudo -n id -un")
        assert said.stdout.split() == [machine.name, "systemd", "running", "ops", "root"], said.stderr


def test_the_inventory_of_the_machines_is_one_that_upkeep_reads(fleet: MachineFleet, tmp_path: Path) -> None:
    path = tmp_path / "inventory.json"
    path.write_text(json.dumps(fleet.inventory()))
    hosts = load_inventory(path).all_hosts()
    assert [(host.name, host.address, host.reach.become) for host in hosts] == [
        (machine.name, fleet.loopback(machine), "sudo") for machine in fleet.machines
    ]


def test_machines_reach_each_other_by_name_and_the_control_namespace_reaches_them(fleet: MachineFleet) -> None:
    assert fleet.machine("h1").sh("nc -z -w 2 h2 22 && echo yes") == "yes\n"
    words = fleet.control_command("bash", "-c", f"exec 3<>/dev/tcp/{fleet.machine('h3').address}/22 && head -c 4 <&3")
    assert subprocess.run(words, capture_output=True, text=True, timeout=10, check=True).stdout == "SSH-"


@pytest.mark.parametrize("fault", [faults.cut, faults.pull_cable, faults.drop, faults.freeze])
def test_a_machine_that_is_cut_off_or_frozen_answers_nobody_until_it_is_healed(fleet: MachineFleet, fault) -> None:
    machine, other = fleet.machine("h2"), fleet.machine("h3")
    fault(machine)
    assert ssh(fleet, machine, "true").returncode == 255
    assert ssh(fleet, other, "true").returncode == 0
    assert machine.sh("hostname") == "h2\n", "it is still looked into from outside"
    faults.heal(machine)
    assert ssh(fleet, machine, "true").returncode == 0


def test_one_service_of_a_machine_can_be_lost_while_the_others_answer(fleet: MachineFleet) -> None:
    asking, machine = fleet.machine("h1"), fleet.machine("h2")
    with serving(machine, 8222):
        assert asking.sh("nc -z -w 2 h2 8222 && echo yes") == "yes\n"
        faults.drop(machine, port=8222)
        with pytest.raises(HostError):
            asking.sh("nc -z -w 1 h2 8222")
        assert asking.sh("nc -z -w 2 h2 22 && echo yes") == "yes\n"


class serving:  # noqa: N801 - used as a statement
    """A listener on a machine while the block runs."""

    def __init__(self, machine: Machine, port: int) -> None:
        self.machine, self.unit = machine, f"listener-{port}"
        machine.sh(
            f"systemd-run -q --unit {self.unit} nc -lk {port}; until ss -ltn | grep -q :{port}; do sleep 0.05; done"
        )

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None:
        self.machine.sh(f"systemctl stop {self.unit}")


def test_a_full_disk_takes_no_more_and_is_as_empty_as_before_when_healed(fleet: MachineFleet) -> None:
    machine = fleet.machine("h1")
    before = free_kib(machine)
    faults.fill(machine, free_bytes=5 * 1024**2)
    assert 4 * 1024 < free_kib(machine) <= 6 * 1024
    faults.fill(machine)
    with pytest.raises(HostError, match="No space left"):
        machine.sh("LC_ALL=C dd if=/dev/zero of=/root/some bs=64k count=100; sync")
    faults.heal(machine)
    machine.sh("rm -f /root/some; sync")
    assert abs(free_kib(machine) - before) < 4 * 1024


def test_a_disk_that_turned_read_only_takes_a_power_cycle_to_heal(fleet: MachineFleet) -> None:
    machine = fleet.machine("h1")
    faults.turn_read_only(machine)
    with pytest.raises(HostError, match="Read-only file system"):
        machine.sh("LC_ALL=C touch /root/some")
    faults.heal(machine)
    machine.sh("touch /root/some")


def test_a_power_cut_loses_what_was_not_synced_and_nothing_else(fleet: MachineFleet) -> None:
    machine = fleet.machine("h3")
    machine.sh("echo kept > /root/kept; sync; echo lost > /root/lost")
    machine.cut_power()
    assert machine.supervisor is None
    with pytest.raises(HostError, match="off"):
        machine.sh("true")
    machine.boot()
    assert machine.sh("cat /root/kept; [ ! -e /root/lost ] || echo lost is still there") == "kept\n"
    assert ssh(fleet, machine, "hostname").stdout == "h3\n", "with the host key it had"


def test_a_reboot_starts_the_services_anew_and_keeps_disk_and_journal(fleet: MachineFleet) -> None:
    machine = fleet.machine("h2")
    machine.sh("logger -t before before; echo some > /root/some")
    boot = "journalctl -q --list-boots | awk 'END { print $2 }'"
    before = machine.sh(boot)
    machine.reboot()
    assert machine.sh(boot) != before
    assert machine.sh("cat /root/some") == "some\n"
    assert machine.sh("journalctl -q -b -1 -t before -o cat") == "before\n"
    machine.shut_down()
    assert machine.supervisor is None
    machine.boot()
    assert ssh(fleet, machine, "systemctl is-system-running").stdout == "running\n"


def test_what_a_killed_maker_left_behind_is_found_and_removed(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("booting real systemd hosts needs root")
    name = f"orphan{os.getpid()}"
    script = (
        "import os, pathlib, sys\nfrom upkeep.lab.machines.fleet import MachineFleet\n"
        "MachineFleet(sys.argv[1], pathlib.Path(sys.argv[2])).up(1)\nos.kill(os.getpid(), 9)\n"
    )
    parent = Path("/var/tmp") / f"upkeep-orphans-{os.getpid()}"
    subprocess.run([sys.executable, "-c", script, name, parent / name], check=False)
    left = MachineFleet(name, parent / name)
    supervisor = Process.load(left.layout.machine(1).supervisor)
    assert supervisor is not None
    assert remove_orphans(parent) == [name]
    assert not supervisor.lives
    assert not list(Path("/run/netns").glob(f"upkeep-{name}*"))
    assert not list(Path("/sys/fs/cgroup").glob(f"*/upkeep-machines/{name}"))
    parent.rmdir()


@pytest.mark.parametrize(("name", "count"), [("no good", 1), ("x-h1", 1), ("fine", 0), ("fine", 1000)])
def test_a_set_that_cannot_be_is_refused_before_anything_is_made(tmp_path: Path, name: str, count: int) -> None:
    with pytest.raises(BadInput):
        MachineFleet(name, tmp_path / "set").up(count)
    assert not (tmp_path / "set").exists()
