"""The same work by each tool; peers live in virtual environments of their own under build/bench."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.bench import documents
from tests.bench.hosts import HERE, NEW, Fleet
from tests.bench.measure import Cost, measured
from tests.e2e import prefect_server

TOOLS = ("upkeep", "upkeep_pulled", "upkeep_alone", "raw", "pyinfra", "mitogen", "ansible")
WITH_SERVER = ("upkeep", "upkeep_pulled")
OURS = tuple(tool for tool in TOOLS if tool.startswith("upkeep"))
PEERS = {
    "ansible": ("ansible-core==2.19.14",),
    "mitogen": ("ansible-core==2.19.14", "mitogen==0.3.54"),
    "pyinfra": ("pyinfra==3.10.0",),
    "raw": ("paramiko==5.1.0",),
}


class Bench:
    """One fleet, and every tool that can work on it."""

    def __init__(self, fleet: Fleet, folder: Path, server: dict[str, str]) -> None:
        self.fleet, self.folder, self.server = fleet, folder, server
        self.logs = folder / "logs"
        self.logs.mkdir(parents=True, exist_ok=True)
        self.inventory, self.plan = documents.write(fleet)
        self.binary = fleet.folder / f"bench-agent-{NEW}"
        self.sha256 = hashlib.sha256(self.binary.read_bytes()).hexdigest()

    def run(self, tool: str) -> Cost:
        """One whole run, from hosts as they were to hosts that are looked at afterwards."""
        self.fleet.reset()
        words, environment = getattr(self, f"_{tool}")()
        server = int(self.server.get("pid", 0)) if tool in WITH_SERVER else 0
        cost = measured(words, environment, self.fleet, self.logs / f"{tool}.log", server)
        if bad := self.fleet.changed(tool in OURS):
            raise SystemExit(f"bench: {tool} did not do its work on {len(bad)} hosts, e.g. {bad[0]}")
        if tool in OURS:
            self._judge_report(tool)
        return cost

    def _judge_report(self, tool: str) -> None:
        text = (self.logs / f"{tool}.log").read_text()
        report = json.loads(text[text.index("{\n") :])
        outcomes = {result["outcome"] for result in report["hosts"].values()}
        if (report["outcome"], outcomes, len(report["hosts"])) != ("succeeded", {"committed"}, len(self.fleet.hosts)):
            raise SystemExit(f"bench: {tool} reports {report['outcome']}: {outcomes}")

    def _upkeep(self) -> tuple[Sequence[str | Path], dict[str, str]]:
        return self._upkeep_words(self.plan), {**self._environment(), **self.server["settings"]}  # type: ignore[dict-item]

    def _upkeep_pulled(self) -> tuple[Sequence[str | Path], dict[str, str]]:
        words = self._upkeep_words(self.plan.with_name(documents.PULLING))
        return words, {**self._environment(), **self.server["settings"]}  # type: ignore[dict-item]

    def _upkeep_alone(self) -> tuple[Sequence[str | Path], dict[str, str]]:
        return self._upkeep_words(self.plan), self._environment()

    def _upkeep_words(self, plan: Path) -> list[str | Path]:
        shutil.rmtree(self.fleet.folder / "home", ignore_errors=True)
        program = Path(sys.executable).parent / "upkeep"
        return [program, "run", "maintenance", "-i", self.inventory, "-p", plan, "--json", "--yes"]

    def _environment(self) -> dict[str, str]:
        home = self.fleet.folder / "home"
        own = {
            "UPKEEP_HOME": str(home),
            "UPKEEP_SSH_CONFIG": "/dev/null",
            "PREFECT_HOME": str(self.folder / "prefect-alone"),
        }
        return {**{k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}, **own}

    def _ansible(self, tool: str = "ansible", *config: str) -> tuple[Sequence[str | Path], dict[str, str]]:
        environment = venv(self.folder, tool)
        hosts = {
            host.address: {"root": str(host.root), "agent": f"{host.address}:{self.fleet.http_port}"}
            for host in self.fleet.hosts
        }
        shared = {
            "ansible_user": self.fleet.user,
            "ansible_port": self.fleet.port,
            "ansible_ssh_private_key_file": str(self.fleet.key),
            "ansible_python_interpreter": "/usr/bin/python3",
            "new_binary": str(self.binary),
            "new_sha256": self.sha256,
            "new_version": NEW,
        }
        inventory = self.fleet.folder / "ansible.json"
        inventory.write_text(json.dumps({"all": {"hosts": hosts, "vars": shared}}))
        settings = self.fleet.folder / "ansible.cfg"
        lines = [
            "[defaults]",
            f"forks = {min(200, len(self.fleet.hosts))}",
            "host_key_checking = True",
            "timeout = 60",
            *config,
            "[ssh_connection]",
            "pipelining = True",
            f"control_path_dir = /tmp/upkeep-bench-{os.getpid()}",
            f"ssh_args = -C -o ControlMaster=auto -o ControlPersist=60s -o UserKnownHostsFile={self.fleet.known_hosts}",
        ]
        settings.write_text("\n".join([*lines, ""]))
        program = environment / "bin/ansible-playbook"
        home = self.fleet.folder / "ansible-home"
        shutil.rmtree(home, ignore_errors=True)
        return [program, "-i", inventory, HERE / "peers/playbook.yaml"], {
            **os.environ,
            "ANSIBLE_CONFIG": str(settings),
            "ANSIBLE_HOME": str(home),
            "ANSIBLE_REMOTE_TMP": str(home / "remote"),
            "PATH": f"{environment / 'bin'}:{os.environ['PATH']}",
        }

    def _mitogen(self) -> tuple[Sequence[str | Path], dict[str, str]]:
        environment = venv(self.folder, "mitogen")
        plugins = next(environment.glob("lib/python*/site-packages/ansible_mitogen/plugins/strategy"))
        return self._ansible("mitogen", f"strategy_plugins = {plugins}", "strategy = mitogen_linear")

    def _pyinfra(self) -> tuple[Sequence[str | Path], dict[str, str]]:
        environment = venv(self.folder, "pyinfra")
        shared = {
            "ssh_user": self.fleet.user,
            "ssh_port": self.fleet.port,
            "ssh_key": str(self.fleet.key),
            "ssh_known_hosts_file": str(self.fleet.known_hosts),
            "new_binary": str(self.binary),
            "new_sha256": self.sha256,
            "new_version": NEW,
        }
        hosts = [
            (host.address, {"root": str(host.root), "agent": f"{host.address}:{self.fleet.http_port}", **shared})
            for host in self.fleet.hosts
        ]
        inventory = self.fleet.folder / "inventory.py"
        inventory.write_text(f"hosts = {hosts!r}\n")
        return [environment / "bin/pyinfra", "-y", inventory, HERE / "peers/deploy.py"], dict(os.environ)

    def _raw(self) -> tuple[Sequence[str | Path], dict[str, str]]:
        about = {
            "binary": str(self.binary),
            "sha256": self.sha256,
            "version": NEW,
            "key": str(self.fleet.key),
            "known_hosts": str(self.fleet.known_hosts),
            "port": self.fleet.port,
            "user": self.fleet.user,
            "hosts": [
                {
                    "address": host.address,
                    "root": str(host.root),
                    "agent": f"{host.address}:{self.fleet.http_port}",
                }
                for host in self.fleet.hosts
            ],
        }
        path = self.fleet.folder / "raw.json"
        path.write_text(json.dumps(about))
        return [venv(self.folder, "raw") / "bin/python", HERE / "peers/raw.py", path], dict(os.environ)


def venv(folder: Path, peer: str) -> Path:
    """A peer's own environment, made when it is first needed."""
    place = folder / "venvs" / peer
    if not (place / "complete").exists():
        uv = shutil.which("uv") or "build/uv/bin/uv"
        shutil.rmtree(place, ignore_errors=True)
        base = Path(sys._base_executable)  # type: ignore[attr-defined]
        subprocess.run([uv, "venv", "--quiet", "--python", base, place], check=True)
        words = [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", place / "bin/python"]
        subprocess.run([*words, *PEERS[peer]], check=True)
        (place / "complete").touch()
    return place


@contextmanager
def prefect(folder: Path) -> Iterator[dict[str, str]]:
    """A Prefect server as a site has one running: its settings for clients, and its process id."""
    with prefect_server.shared_server(folder) as settings:
        pid = json.loads((folder / "state.json").read_text())["pid"]
        yield {"settings": settings, "pid": pid}  # type: ignore[dict-item]
