"""Real hosts with the small agent, each with a control centre of its own; faults planted from data, and the diagnosis of them."""

from __future__ import annotations

import contextlib
import io
import os
import re
import socket
import tarfile
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from tasks.diagnose_host import _not_reached
from tests.endurance.machines.centre import NAME, PORT, Centre, Fault
from tests.endurance.machines.certificates import write_chains
from upkeep.documents import load_catalogue
from upkeep.documents.causes import load_causes
from upkeep.domain.diagnosis import Diagnosis, diagnose
from upkeep.domain.finding import Finding, Verdict
from upkeep.domain.inventory import Inventory
from upkeep.domain.profile import AgentProfile
from upkeep.errors import HostError
from upkeep.hosts.inspection import inspect_host
from upkeep.hosts.ssh import SshTransport
from upkeep.hosts.ssh_target import check_reach
from upkeep.lab.machines import faults, network
from upkeep.lab.machines.fleet import MachineFleet
from upkeep.lab.machines.layout import namespace_path
from upkeep.lab.machines.machine import Machine
from upkeep.lab.machines.processes import call
from upkeep.services.control_centre import ControlCentreClient
from upkeep.services.node_findings import node_findings

HERE = Path(__file__).parent
UNIT, FOLDER, STATE = "link-agent.service", "/etc/link-agent", "/var/lib/link-agent"
PATHS = {
    "BINARY": "/usr/local/bin/link-agent",
    "CONFIG": f"{FOLDER}/agent.yaml",
    "CA": f"{FOLDER}/ca.pem",
    "TOKEN": f"{FOLDER}/token",
    "UNIT_FILE": f"/usr/local/lib/systemd/system/{UNIT}",
    "DROP_INS": f"/etc/systemd/system/{UNIT}.d",
}
CONFIGURATION = """\
server: https://{server}:8443
tls_ca: /etc/link-agent/ca.pem
agent_id: {name}
token: /etc/link-agent/token
state_dir: /var/lib/link-agent
listen: 127.0.0.1:7300
heartbeat_interval: 1
log_level: INFO
"""
UNIT_TEXT = """\
[Unit]
Description=Link agent
StartLimitIntervalSec=30
StartLimitBurst=3
[Service]
User=link-agent
NoNewPrivileges=yes
StateDirectory=link-agent
ExecStart=/usr/local/bin/link-agent run /etc/link-agent/agent.yaml
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
RestartSec=200ms
[Install]
WantedBy=multi-user.target
"""
INSTALL = """
systemctl unmask -q $UNIT 2>/dev/null || true
systemctl stop $UNIT 2>/dev/null || true
rm -rf $DROP_INS
getent passwd link-agent >/dev/null || useradd --system --no-create-home --shell /usr/sbin/nologin link-agent
mkdir -p ${UNIT_FILE%/*} /usr/local/share/link-agent
rm -rf /etc/link-agent && mkdir /etc/link-agent
tar -xf - -C / --no-same-owner
chown link-agent: $TOKEN /usr/local/share/link-agent/client.pem
sed -i '/centre.example/d' /etc/hosts
echo "$CENTRE centre.example" >>/etc/hosts
systemctl daemon-reload
systemctl enable -q $UNIT
systemctl reset-failed 2>/dev/null || true
journalctl -q --rotate
journalctl -q --vacuum-time=1ms 2>/dev/null
systemctl start $UNIT
"""
SANE = {
    "heartbeat_interval": "30",
    "heartbeat_timeout": "75",
    "session_timeout": "90",
    "sync_interval": "120",
    "sync_retries": "3",
    "sync_timeout": "5",
}
SETTING = {"file": f"{FOLDER}/timing.conf", "drop_ins": f"{FOLDER}/timing.d/*.conf", "env": "LINK_TIMING"}
"""Cases write these; the small agent itself beats faster."""
PATIENCE_SECONDS = 120
SHARED = {check for check, why in yaml.safe_load((HERE / "planted_checks.yaml").read_text("utf-8"))["elsewhere"].items() if "everybody's" in why}  # fmt: skip
"""Checks that say how busy this machine is, not how one of its hosts is."""


def profile(authority: str, address: str = NAME) -> dict[str, Any]:
    """The agent's, with its control centre at this name or address."""
    return {
        "name": "link-agent",
        "service": {"unit": UNIT, "start_timeout": "20s"},
        "paths": {
            "binary": PATHS["BINARY"],
            "releases": "/opt/link-agent/releases",
            "config": [FOLDER],
            "state": [STATE],
            "secrets": [PATHS["TOKEN"]],
            "upkeep": "/var/lib/upkeep/link-agent",
        },
        "installer": {"binary_member": "*/link-agent"},
        "installed_version": {"command": [PATHS["BINARY"], "--version"]},
        "running_version": {"url": "http://127.0.0.1:7300/version"},
        "probes": {
            "http": [{"id": "health", "url": "http://127.0.0.1:7300/health", "body": '"UP"'}],
            "tcp": [{"id": "control-centre", "address": address, "port": PORT}],
            "tls": [{"id": "control-centre", "address": address, "port": PORT, "ca": authority}],
            "command": [{"id": "last", "command": ["test", "-e", f"{STATE}/last"]}],
            **({"dns": [{"id": "centre", "name": NAME}]} if address == NAME else {}),
        },
        "metrics": [{"id": "age", "url": "http://127.0.0.1:7300/", "pattern": r'uptime_seconds":(\d+)', "unit": "s"}],
        "files": [
            {"path": PATHS["BINARY"], "mode": "0755", "owner": "root:root"},
            {"path": PATHS["TOKEN"], "mode": "0600", "owner": "link-agent:link-agent"},
            {"path": STATE, "owner": "link-agent:link-agent"},
        ],
        "control_centre": {"url": f"https://{address}:{PORT}", "ca": authority, "node": "{{ host }}"},
        "settings": {name: {**SETTING, "pattern": f"^{name}:", "default": value} for name, value in SANE.items()},
    }


@dataclass(frozen=True)
class Planted:
    """One case of the data file; see there."""

    cause: str
    name: str = ""
    also: str = ""
    plant: str = ""
    centre: Mapping[str, Any] = field(default_factory=dict)
    bridge: tuple[str, ...] = ()
    outside: str = ""
    says: str = ""
    online: bool = False
    back: str = ""

    @property
    def id(self) -> str:
        return "+".join(filter(None, (self.cause or "healthy", self.also, self.name.replace(" ", "-"))))


def planted_causes() -> tuple[list[Planted], dict[str, str]]:
    """The cases, and which causes cannot be planted here and why."""
    data = yaml.safe_load((HERE / "planted_causes.yaml").read_text("utf-8"))
    return [Planted(**case) for case in data["cases"]], data["elsewhere"]


@dataclass
class Host:
    """A machine with the agent, its control centre, and the controller's way to it."""

    fleet: MachineFleet
    machine: Machine
    centre: Centre
    server: str = NAME
    """How the agent's configuration names its control centre."""

    @property
    def name(self) -> str:
        return self.machine.name

    def sh(self, script: str, stdin: bytes = b"") -> str:
        words = {**PATHS, "UNIT": UNIT, "CENTRE": self.centre.address}
        head = "".join(f"{name}='{value}'\n" for name, value in words.items())
        return self.machine.sh(head + script, stdin=stdin, timeout_seconds=PATIENCE_SECONDS)

    def install(self) -> None:
        """Everything of the agent as it should be, whatever was there; its journal is empty, it is online."""
        self.centre.set(Fault())
        self.sh(INSTALL, stdin=self._files())
        self.centre.seen.pop(self.name, None)
        self.await_(lambda: self.centre.online(self.name), "the agent is online")

    def plant(self, case: Planted) -> None:
        """Make the host wrong, and wait until it shows."""
        self.centre.set(fault_of(case.centre))
        if case.bridge:
            self._bridge(case.bridge)
        if case.plant:
            self.sh(case.plant)
        if case.outside:
            OUTSIDE[case.outside](self.machine)
        if case.says:
            self.await_(lambda: re.search(case.says, self.journal()) is not None, f"the agent says {case.says}")
        if not case.online:
            self.await_(lambda: not self.centre.online(self.name), "the agent is offline")

    def heal(self, case: Planted) -> None:
        """Undo it."""
        self._bridge(())
        if case.outside:
            faults.heal(self.machine)
            _ports_back(self.machine)
            self.sh(
                f"while mountpoint -q {STATE}; do d=$(findmnt -no SOURCE {STATE}); umount -l {STATE}; losetup -d $d; done; rm -f /root/state.img"
            )
        if case.back:
            self.sh(case.back)
        self.install()

    def journal(self) -> str:
        return self.sh("journalctl -q -u $UNIT -o cat --no-pager")

    def await_(self, condition: Callable[[], bool], what: str) -> None:
        until = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            assert time.monotonic() < until, (
                f"{self.name}: {what} did not come true; journal:\n{self.journal()[-2000:]}"
            )
            time.sleep(0.2)

    def asked(self, variables: Mapping[str, str] | None = None, purpose: str = "diagnosis") -> list[Finding]:
        """What the host and its control centre say when the controller asks from the control namespace."""
        return network.inside(self.fleet.layout.control, lambda: self._asked(variables or {}, purpose))

    def diagnosed(self) -> Diagnosis:
        return diagnose(load_causes(), self.asked())

    def _asked(self, variables: Mapping[str, str], purpose: Any) -> list[Finding]:
        authority = str(self.centre.folder / "root.pem")
        own = AgentProfile.model_validate(profile(authority))
        client = ControlCentreClient(f"https://{self.centre.address}:{PORT}", authority)
        with contextlib.closing(SshTransport(self._target())) as transport:
            try:
                now = datetime.now(UTC)
                seen = inspect_host(transport, own, load_catalogue(), variables, now=now, purpose=purpose)
                reached = Finding(check="reach.ssh", verdict=Verdict.PASS, reason="the controller reaches the host")
                found = [reached, *seen.findings]
            except HostError as error:
                found = [_not_reached(error)]
        return [*found, *node_findings(client, self.name)]

    def _target(self):
        listed = Inventory.model_validate(inventory(self.fleet))
        hosts = listed.all_hosts()
        chosen = [host for host in hosts if host.name == self.name]
        environ = {"LOGNAME": "root"}
        return check_reach(chosen, {host.name: host for host in hosts}, ssh_config=None, environ=environ)[self.name]

    def _files(self) -> bytes:
        """The agent's files as a tar archive."""
        folder = self.centre.folder
        files = {
            PATHS["BINARY"]: ((HERE / "link_agent.py").read_bytes(), 0o755),
            PATHS["CONFIG"]: (CONFIGURATION.format(name=self.name, server=self.server).encode(), 0o644),
            PATHS["CA"]: ((folder / "root.pem").read_bytes(), 0o644),
            PATHS["TOKEN"]: (b"s-3cr3t\n", 0o600),
            PATHS["UNIT_FILE"]: (UNIT_TEXT.encode(), 0o644),
            "/usr/local/share/link-agent/client.pem": ((folder / "client.pem").read_bytes(), 0o600),
        }
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for path, (content, mode) in files.items():
                member = tarfile.TarInfo(path.lstrip("/"))
                member.size, member.mode, member.mtime = len(content), mode, int(time.time())
                archive.addfile(member, io.BytesIO(content))
        return packed.getvalue()

    def _bridge(self, rules: tuple[str, ...]) -> None:
        """Rules on the way; a kernel without `reject` for bridges has it where the way ends."""
        table, own = f"planted_{self.name}", f"planted_end_{self.name}"
        text = "".join(f"table {name} {{}}\ndelete table {name}\n" for name in (f"bridge {table}", f"inet {own}"))
        filled = "\n".join(rules).replace("HOST", self.machine.address).replace("CENTRE", self.centre.address)
        if "reject" in filled:
            text += f"table inet {own} {{\nchain end {{\ntype filter hook input priority 0\n{filled}\n}}\n}}\n"
        elif filled:
            hooks = ("input", "output", "forward")
            chains = "\n".join(f"chain {hook} {{\ntype filter hook {hook} priority 0\n{filled}\n}}" for hook in hooks)
            text += f"table bridge {table} {{\n{chains}\n}}\n"
        call(self.fleet.control_command("nft", "-f", "-"), text=text)


def fault_of(data: Mapping[str, Any]) -> Fault:
    """A fault of the control centre as the data file writes it."""
    known = {each.name for each in fields(Fault)}
    assert set(data) <= known, f"{set(data) - known}; allowed: {known}"
    hours = re.fullmatch(r"(\d+)h", str(data.get("clock", "")))
    return Fault(**{**data, **({"clock": timedelta(hours=int(hours[1]))} if hours else {})})


def inventory(fleet: MachineFleet) -> dict[str, Any]:
    """The machines as a controller inside the control namespace reaches them."""
    made = fleet.inventory()
    made["defaults"]["port"] = 22
    made["hosts"] = {machine.name: {"address": machine.address} for machine in fleet.machines}
    return made


def hosts_of(fleet: MachineFleet, folder: Path) -> list[Host]:
    """Every machine with the agent, each with a control centre at an address of its own."""
    addresses = {machine.name: f"10.78.0.{10 + machine.number}" for machine in fleet.machines}
    write_chains(folder, NAME, list(addresses.values()))
    hosts = []
    for machine in fleet.machines:
        call(("ip", "-n", fleet.layout.control, "addr", "add", f"{addresses[machine.name]}/24", "dev", "br0"))
        centre = Centre(fleet.layout.control, addresses[machine.name], folder)
        centre.open()
        hosts.append(Host(fleet, machine, centre))
    return hosts


def _read_only_state(machine: Machine) -> None:
    """A disk of its own for the agent's data, and a real error of it: its file system turns read-only."""
    number = os.major(machine.disk_inside().stat().st_dev)  # loop devices' major number
    with tempfile.NamedTemporaryFile() as image:
        image.truncate(8 * 1024**2)
        call(("mkfs.ext4", "-q", "-F", image.name))
        device = machine.sh(_MOUNT.format(number=number), stdin=Path(image.name).read_bytes()).strip()
    Path(f"/sys/fs/ext4/{device}/trigger_fs_error").write_text("injected on purpose")


def _odd_frames(machine: Machine) -> None:
    """Packets of a kind that nobody there understands."""
    mac = bytes.fromhex(machine.sh("cat /sys/class/net/eth0/address").strip().replace(":", ""))

    def send() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
            wire.bind(("br0", 0))
            for _ in range(20):
                wire.send(mac + b"\x02\0\0\0\0\x01\x88\xb5" + b"?" * 60)

    network.inside(machine.layout.control, send)


_MOUNT = f"""
cat >/root/state.img
[ -e /dev/loop-control ] || mknod /dev/loop-control c 10 237
systemctl stop {UNIT}
for n in $(seq 40 90); do
    [ -e /dev/loop$n ] || mknod /dev/loop$n b {{number}} $n
    losetup /dev/loop$n /root/state.img 2>/dev/null || continue
    mount -t ext4 -o errors=remount-ro /dev/loop$n {STATE}
    echo loop$n
    break
done
chown link-agent: {STATE}
systemctl start {UNIT}
"""
_HOLDER = """
cat >/run/holder.py <<'P'
import socket, time
kept = []
for _ in range(60):
    try:
        kept.append(socket.create_connection(("centre.example", 8443), 1))
    except OSError:
        time.sleep(0.05)
time.sleep(600)
P
systemd-run -q --unit holder python3 /run/holder.py
sleep 4
systemctl restart link-agent
"""


def _no_ports_left(machine: Machine) -> None:
    """Few local ports, and a program that takes them all."""
    _set_ports(machine, "41000 41011")
    machine.sh(_HOLDER)


def _ports_back(machine: Machine) -> None:
    machine.sh("systemctl stop -q holder 2>/dev/null || true")
    _set_ports(machine, "32768 60999")


def _set_ports(machine: Machine, ports: str) -> None:
    namespace = namespace_path(machine.layout.namespace(machine.number))
    call(("nsenter", f"--net={namespace}", "--", "sysctl", "-qw", f"net.ipv4.ip_local_port_range={ports}"))


OUTSIDE: dict[str, Callable[[Machine], object]] = {
    "cut": faults.cut,
    "fill": faults.fill,
    "fill_inodes": faults.fill_inodes,
    "fill_mostly": lambda machine: faults.fill(machine, free_bytes=100 * 1024**2),
    "no_ports_left": _no_ports_left,
    "odd_frames": _odd_frames,
    "read_only_state": _read_only_state,
}
