"""A set of machines: raised, found again, taken down."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
import zlib
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from upkeep.errors import BadInput
from upkeep.lab.machines import layer, network
from upkeep.lab.machines.base import base_root, build
from upkeep.lab.machines.forward import listen
from upkeep.lab.machines.layout import MOST_MACHINES, Layout, namespace_path
from upkeep.lab.machines.machine import SSH_PORT, Machine
from upkeep.lab.machines.processes import Process, reap, spawn
from upkeep.lab.processes import await_end

DISK_BYTES = 1024**3
LOOPBACK_SSH_PORT = 2022
BOOTED_AT_ONCE = 4
INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")
INOTIFY_EACH, INOTIFY_REST = 8, 128
_LONGEST_SOCKET_PATH = 100


class MachineFleet:
    """Machines h1 to hN. `with MachineFleet(...)` takes them down at the end."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name, self.directory = name, directory.absolute()
        self._forwarder = self.directory / "forwarder.json"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    @cached_property
    def layout(self) -> Layout:
        """Names and places."""
        return Layout(self.name, self.directory, base_root())

    @property
    def machines(self) -> list[Machine]:
        """All of them, in order."""
        numbers = sorted(int(path.name[1:]) for path in self.directory.glob("h[0-9]*") if path.name[1:].isdigit())
        return [Machine(self.layout, number) for number in numbers]

    def machine(self, name: str) -> Machine:
        """One of them.

        Raises:
            BadInput: there is none of that name.
        """
        known = {machine.name: machine for machine in self.machines}
        if name not in known:
            raise BadInput("no such machine", found=name, allowed=", ".join(known) or "none is there")
        return known[name]

    def up(self, count: int) -> None:
        """Boot h1 to hN and the way to them from loopback; what is on already is left alone.

        Raises:
            BadInput: not root, no good name or directory, or too many machines.
            ServiceError: a program is missing or did not succeed.
            HostError: a machine did not come up.
        """
        self._check(count)
        build(self.layout.base)
        self._prepare(count)
        machines = [Machine(self.layout, number) for number in range(1, count + 1)]
        for machine in machines:
            machine.create(DISK_BYTES)
        self.each(Machine.boot, machines)
        self._write_ssh_files()
        self._forward()

    def down(self) -> None:
        """Remove machines, networks and control groups; safe to call twice, and after anything was killed."""
        self._stop_forwarding()
        self.each(Machine.destroy)
        network.remove_network(self.layout)
        self._restore_inotify()
        shutil.rmtree(self.directory, ignore_errors=True)

    def each(self, action: Callable[[Machine], object], machines: Collection[Machine] | None = None) -> None:
        """Do something to several machines side by side; the first error is raised once all are done."""
        with ThreadPoolExecutor(BOOTED_AT_ONCE) as pool:
            futures = [pool.submit(action, machine) for machine in (self.machines if machines is None else machines)]
        for future in futures:
            future.result()

    def loopback(self, machine: Machine) -> str:
        """The address of this computer that leads to a machine's sshd, at `LOOPBACK_SSH_PORT`."""
        return f"127.77.{zlib.crc32(self.name.encode()) % 254 + 1}.{machine.number}"

    def inventory(self) -> dict[str, Any]:
        """An Upkeep inventory of the machines: user ops with sudo, key and host keys of this set, reached by loopback."""
        defaults = {
            "user": layer.USER,
            "port": LOOPBACK_SSH_PORT,
            "key": str(self.layout.key),
            "known_hosts": str(self.layout.known_hosts),
            "become": "sudo",
        }
        hosts = {machine.name: {"address": self.loopback(machine)} for machine in self.machines}
        return {"defaults": defaults, "hosts": hosts}

    def control_command(self, *words: str) -> list[str]:
        """The words that run a program inside the control namespace, where h1 is h1's own address and a cut is a lost packet."""
        return ["nsenter", f"--net={namespace_path(self.layout.control)}", "--", *words]

    def _check(self, count: int) -> None:
        if os.geteuid() != 0:
            raise BadInput("real machines need root")
        if not re.fullmatch(r"[a-z][a-z0-9]{0,11}", self.name):
            raise BadInput("not a name for a set of machines", found=self.name, allowed="up to 12 letters and digits")
        if not 1 <= count <= MOST_MACHINES:
            raise BadInput("cannot boot so many machines", found=count, allowed=f"1 to {MOST_MACHINES}")
        if len(str(self.layout.machine(MOST_MACHINES).notify)) > _LONGEST_SOCKET_PATH:
            raise BadInput("the machines' directory has too long a name for sockets in it", found=self.directory)

    def _prepare(self, count: int) -> None:
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o755)
        if not self.layout.key.exists():
            layer.new_key(self.layout.key, f"upkeep-{self.name}")
            layer.write_layer(self.layout)
        if not self.layout.facts.exists():
            me = Process.of(os.getpid())
            facts = {"name": self.name, "inotify": INOTIFY.read_text().strip(), "pid": me.pid, "start": me.start_ticks}
            self.layout.facts.write_text(json.dumps(facts), encoding="utf-8")
        wanted = INOTIFY_EACH * count + INOTIFY_REST
        if int(INOTIFY.read_text()) < wanted:
            INOTIFY.write_text(str(wanted))
        network.make_control(self.layout)

    def _restore_inotify(self) -> None:
        if self.layout.facts.exists():
            INOTIFY.write_text(json.loads(self.layout.facts.read_text("utf-8"))["inotify"])

    def _write_ssh_files(self) -> None:
        keys = ((machine, layer.host_key(self.layout, machine.number)) for machine in self.machines)
        self.layout.known_hosts.write_text(
            "".join(f"{m.name},{m.address},[{self.loopback(m)}]:{LOOPBACK_SSH_PORT} {key}\n" for m, key in keys)
        )
        hosts = "".join(f"Host {m.name}\n  HostName {m.address}\n" for m in self.machines)
        common = (
            f"Host *\n  User {layer.USER}\n  IdentityFile {self.layout.key}\n  UserKnownHostsFile {self.layout.known_hosts}\n"
            "  StrictHostKeyChecking yes\n  BatchMode yes\n  ConnectTimeout 5\n  LogLevel ERROR\n"
        )
        self.layout.ssh_config.write_text(hosts + common)

    def _forward(self) -> None:
        self._stop_forwarding()
        with ExitStack() as stack:
            links = []
            for machine in self.machines:
                listener = stack.enter_context(listen(self.loopback(machine), LOOPBACK_SSH_PORT))
                links.append(f"{listener.fileno()}={machine.address}:{SSH_PORT}")
            words = [sys.executable, "-m", "upkeep.lab.machines.forward", self.layout.control, *links]
            Process.of(spawn(words, os.environ, self.directory / "forwarder.log")).save(self._forwarder)

    def _stop_forwarding(self) -> None:
        if process := Process.load(self._forwarder):
            os.kill(process.pid, signal.SIGTERM)
            await_end(process.pid)
        reap(self._forwarder)


def remove_orphans(parent: Path) -> list[str]:
    """Take down the sets below `parent` whose maker was killed before it could; their names."""
    orphans = []
    for facts in parent.glob("*/machines.json"):
        made = json.loads(facts.read_text("utf-8"))
        if not Process(made["pid"], made["start"]).lives:
            MachineFleet(made["name"], facts.parent).down()
            orphans.append(made["name"])
    return orphans
