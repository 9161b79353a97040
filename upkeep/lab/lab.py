"""A fleet on this machine to try things on: raise it, break it, heal it, take it down. Needs no root."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from upkeep.domain.version import Version
from upkeep.errors import BadInput, ServiceError
from upkeep.lab.connection_faults import RESTARTS, STOPS
from upkeep.lab.control_socket import ask
from upkeep.lab.faults import AGENT_FAULTS, FAULTS, NETWORK_FAULTS, faults_of, inject, undo_all
from upkeep.lab.groundwork import lay_out
from upkeep.lab.layout import UNIT, LabPaths, default_directory
from upkeep.lab.processes import await_end, end_marked
from upkeep.lab.spec import MOST_HOSTS, HostSpec, LabSpec, new_spec, read_spec
from upkeep.lab.systemctl import Answer

__all__ = ["FAULTS", "HostStatus", "Lab", "LabStatus"]

START_SECONDS, START_SECONDS_PER_HOST = 90, 1
STOP_MS = 30_000


@dataclass(frozen=True)
class HostStatus:
    """How one lab host is."""

    name: str
    address: str
    port: int
    zone: str
    active: str
    version: str
    online: bool
    faults: tuple[str, ...]


LabStatus = tuple[HostStatus, ...]


class Lab:
    """The lab in `directory`, by default `$UPKEEP_HOME/lab`."""

    def __init__(self, directory: Path | None = None) -> None:
        self.paths = LabPaths((directory or default_directory()).absolute())

    @property
    def directory(self) -> Path:
        """Where the lab lies."""
        return self.paths.directory

    @property
    def inventory_path(self) -> Path:
        """The fleet, for Upkeep."""
        return self.paths.inventory

    @property
    def plan_path(self) -> Path:
        """The upgrade, for Upkeep."""
        return self.paths.plan

    @property
    def spec(self) -> LabSpec:
        """What the lab is made of.

        Raises:
            BadInput: there is no lab.
        """
        spec = read_spec(self.paths.spec)
        if spec is None:
            raise BadInput(f"there is no lab in {self.directory}", remedy="raise one with `upkeep lab up`")
        return spec

    @property
    def running(self) -> bool:
        """Whether the fleet process answers."""
        try:
            return ask(self.paths.socket, ["", "nodes"]).exit_code == 0
        except ServiceError:
            return False

    def up(
        self,
        hosts: int = 8,
        version: str = "1.4.2",
        *,
        target_version: str = "1.5.0",
        bad_host: str | None = None,
        bad_fault: str = "crash-loop",
    ) -> LabStatus:
        """Raise the lab and wait until every agent is registered; does nothing more for a lab that is up.

        `bad_host` breaks in the way of `bad_fault` once it runs `target_version`.

        Raises:
            BadInput: the lab is there with another number of hosts, or a name or number cannot be used.
            ServiceError: an address is taken, or agents did not register in time.
        """
        spec = read_spec(self.paths.spec) or self._make(hosts, version, target_version)
        if len(spec.hosts) != hosts:
            raise BadInput("the lab has another number of hosts", found=hosts, allowed=str(len(spec.hosts)))
        if bad_host is not None:
            self._host(bad_host)
            inject(self.paths.host(bad_host), bad_fault, from_version=spec.target_version)
        if not self.running:
            end_marked(spec.id)
            self._start(spec)
        self._await_agents(spec)
        return self.status()

    def down(self) -> None:
        """Stop everything that runs, also what a killed fleet process left behind; the files stay."""
        spec = read_spec(self.paths.spec)
        if spec is None:
            return
        if self.running:
            await_end(int(ask(self.paths.socket, ["", "stop"]).stdout), STOP_MS)
        end_marked(spec.id)
        self.paths.socket.unlink(missing_ok=True)

    def remove(self) -> None:
        """Take the lab down and delete its files; a folder that is no lab is left alone."""
        self.down()
        if self.paths.spec.exists():
            shutil.rmtree(self.directory)

    def status(self) -> LabStatus:
        """How every host is; empty without a lab."""
        spec = read_spec(self.paths.spec)
        if spec is None:
            return ()
        nodes = json.loads(ask(self.paths.socket, ["", "nodes"]).stdout) if self.running else None
        return tuple(self._status(host, nodes) for host in spec.hosts)

    def break_(self, host: str, fault: str) -> None:
        """Inject one fault of `FAULTS` into a host.

        Raises:
            BadInput: no such host or fault.
            ServiceError: the lab is not running.
        """
        self._host(host)
        inject(self.paths.host(host), fault, from_version=self.spec.target_version)
        if fault in NETWORK_FAULTS:
            self._reopen(host)
        elif fault == "masked":
            self.systemctl(host, "daemon-reload")
        elif fault in RESTARTS or (fault in AGENT_FAULTS and self._runs_target(host)):
            self.systemctl(host, "restart", UNIT)
        elif fault in STOPS:
            self.systemctl(host, "stop", UNIT)

    def heal(self, host: str) -> None:
        """Undo every fault of a host and start its agent again where it is down.

        Raises:
            BadInput: no such host.
            ServiceError: the lab is not running.
        """
        self._host(host)
        faults = set(faults_of(self.paths.host(host)))
        undo_all(self.paths.host(host))
        self.systemctl(host, "daemon-reload")
        if faults & set(NETWORK_FAULTS):
            self._reopen(host)
        misbehaved = bool(faults & RESTARTS) or (bool(faults & set(AGENT_FAULTS)) and self._runs_target(host))
        if misbehaved or self.systemctl(host, "is-active", UNIT).exit_code:
            self.systemctl(host, "reset-failed", UNIT)
            self.systemctl(host, "restart", UNIT)

    def systemctl(self, host: str, *words: str) -> Answer:
        """Ask a host's service supervisor directly, past its network; raises ServiceError when the lab is not running."""
        return ask(self.paths.socket, [host, "systemctl", *words])

    def _make(self, hosts: int, version: str, target_version: str) -> LabSpec:
        if not 1 <= hosts <= MOST_HOSTS:
            raise BadInput("the lab cannot have so many hosts", found=hosts, allowed=f"1 to {MOST_HOSTS}")
        if self.directory.is_dir() and any(self.directory.iterdir()):
            raise BadInput(
                "the folder is not empty and no lab", found=self.directory, allowed="an empty or a new folder"
            )
        with ExitStack() as when_it_fails:
            when_it_fails.callback(shutil.rmtree, self.directory, ignore_errors=True)
            spec = new_spec(hosts, version, target_version)
            lay_out(self.paths, spec)
            when_it_fails.pop_all()
        return spec

    def _start(self, spec: LabSpec) -> None:
        """Start the fleet process and wait for its word that everything listens."""
        reading, writing = os.pipe()
        command = [sys.executable, "-m", "upkeep.lab.fleet", str(self.directory), str(writing)]
        with self.paths.log.open("ab") as log, os.fdopen(reading, "rb") as ready:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(writing,),
                start_new_session=True,
                env={**os.environ, "UPKEEP_LAB": spec.id},
            )
            os.close(writing)
            if ready.read() == b"ready\n":
                return
        process.wait()
        last = self.paths.log.read_text("utf-8", errors="replace").strip().splitlines()[-1:]
        message = f"the lab did not start: {' '.join(last)} (see {self.paths.log})"
        raise ServiceError(message)

    def _await_agents(self, spec: LabSpec) -> None:
        sound = [host.name for host in spec.hosts if not self._may_be_away(host.name)]
        seconds = START_SECONDS + START_SECONDS_PER_HOST * len(spec.hosts)
        missing = ask(self.paths.socket, ["", "await-online", str(seconds), *sound], seconds + 10).stdout
        if missing:
            message = f"these agents did not register within {seconds} s: {missing}"
            raise ServiceError(message)

    def _may_be_away(self, host: str) -> bool:
        faults = set(faults_of(self.paths.host(host)))
        return bool(faults & {"frozen", "masked"}) or (bool(faults & set(AGENT_FAULTS)) and self._runs_target(host))

    def _runs_target(self, host: str) -> bool:
        program = str(self.paths.host(host).binary)
        shown = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout.split()
        return bool(shown) and Version.parse(shown[-1]) >= Version.parse(self.spec.target_version)

    def _status(self, host: HostSpec, nodes: dict[str, dict[str, str]] | None) -> HostStatus:
        node = (nodes or {}).get(host.name, {})
        state = self.systemctl(host.name, "is-active", UNIT).stdout.strip() if nodes is not None else "down"
        return HostStatus(
            name=host.name,
            address=host.address,
            port=host.ssh_port,
            zone=host.zone,
            active=state,
            version=node.get("version", ""),
            online=bool(node.get("online")),
            faults=faults_of(self.paths.host(host.name)),
        )

    def _host(self, name: str) -> HostSpec:
        known = {host.name: host for host in self.spec.hosts}
        if name not in known:
            raise BadInput("no such host in the lab", found=name, allowed=", ".join(known))
        return known[name]

    def _reopen(self, host: str) -> None:
        answer = ask(self.paths.socket, ["", "open", host])
        if answer.exit_code:
            raise ServiceError(answer.stderr.strip())
