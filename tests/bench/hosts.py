"""Any number of hosts behind one real sshd: 127.x.y.z each has a directory tree and an agent service of its own."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

HERE = Path(__file__).parent
OLD, NEW = "1.0.0", "2.0.0"
BINARY_BYTES = 8 * 1024**2
CONFIG_FILES = 50
START_SECONDS = 30

AGENT = """\
#!/bin/sh
case $1 in
--version) echo "bench-agent {version}"; exit ;;
--check-config) [ -s "$2/agent.conf" ]; exit ;;
esac
echo {version} >"$1/run/version"
echo ready >"$1/run/ready"
exec sleep 1000000
exit
# """


@dataclass(frozen=True)
class BenchHost:
    """One host's tree."""

    address: str
    root: Path

    @property
    def binary(self) -> Path:
        return self.root / "usr/bin/bench-agent"

    @property
    def config(self) -> Path:
        return self.root / "etc/bench-agent"

    @property
    def pid(self) -> int:
        try:
            return int((self.root / "run/pid").read_text())
        except (OSError, ValueError):
            return 0


class Fleet:
    """The hosts, their sshd, and what answers for their agents; a context manager that leaves nothing behind."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder = folder
        self.hosts = [BenchHost(a, folder / "hosts" / a) for a in addresses(count)]
        self.port, self.http_port = free_port(), free_port()
        self.key, self.known_hosts = folder / "client", folder / "known_hosts"
        self.user = getpass.getuser()
        self.sshd: subprocess.Popen[bytes] | None = None
        self.front: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.folder.chmod(0o755)
        (self.folder / "hosts").mkdir()
        # ext4 then puts every host in a place of its own: without a journal it looks at all that was lately deleted nearby for each new file
        with suppress(FileNotFoundError):
            subprocess.run(["chattr", "+T", self.folder / "hosts"], check=False, stderr=subprocess.DEVNULL)
        self._write_programs()
        self._start_sshd()
        words = [sys.executable, str(HERE / "front.py"), str(self.folder / "hosts"), str(self.http_port)]
        self.front = subprocess.Popen(words)
        until(lambda: answers(self.http_port), "the agents' front")
        return self

    def __exit__(self, *_: object) -> None:
        for host in self.hosts:
            stop(host)
        for process in (self.front, self.sshd):
            if process is not None:
                process.terminate()
                process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write_programs(self) -> None:
        for version in (OLD, NEW):
            agent = self.folder / f"bench-agent-{version}"
            head = AGENT.format(version=version).encode()
            padding = os.urandom(BINARY_BYTES - len(head)).replace(b"\n", b" ")
            agent.write_bytes(head + padding)
            agent.chmod(0o755)
        programs = self.folder / "bin"
        programs.mkdir()
        for name in ("systemctl", "journalctl"):
            text = (HERE / f"{name}.sh").read_text().replace("@HOSTS@", str(self.folder / "hosts"))
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)

    def _start_sshd(self) -> None:
        for name in ("client", "host_key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.folder / name], check=True)
        shutil.copy(self.folder / "client.pub", self.folder / "authorized_keys")
        public = " ".join((self.folder / "host_key.pub").read_text().split()[:2])
        self.known_hosts.write_text("".join(f"[{host.address}]:{self.port} {public}\n" for host in self.hosts))
        path = f"{self.folder}/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
        lines = [
            f"Port {self.port}",
            "ListenAddress 0.0.0.0",
            f"HostKey {self.folder}/host_key",
            f"AuthorizedKeysFile {self.folder}/authorized_keys",
            "PidFile none",
            "StrictModes no",
            "UsePAM no",
            "MaxStartups 2000",
            "MaxSessions 100",
            f"SetEnv PATH={path} SHLVL=9",
            "Subsystem sftp internal-sftp",
            "LogLevel ERROR",
        ]
        (self.folder / "sshd_config").write_text("\n".join([*lines, ""]))
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        program = shutil.which("sshd") or shutil.which("/usr/sbin/sshd")
        if program is None:
            raise SystemExit("bench: no sshd was found; do: apt-get install openssh-server, or run make bench as root")
        self.sshd = subprocess.Popen([program, "-D", "-e", "-f", self.folder / "sshd_config"])
        until(lambda: answers(self.port), "sshd")

    def reset(self) -> None:
        """Every host as it is before the change: the old version runs, nothing of any tool is left."""
        self.await_quiet()
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(self._reset, self.hosts))
        os.sync()

    def await_quiet(self) -> None:
        """Wait until nobody is logged in."""
        until(lambda: not children(self._sshd_pid), "the last connection's end")

    def _reset(self, host: BenchHost) -> None:
        stop(host)
        shutil.rmtree(host.root, ignore_errors=True)
        for folder in ("usr/bin", "run", "var/lib/bench-agent", "var/backups", "opt", "tmp"):
            (host.root / folder).mkdir(parents=True)
        host.config.mkdir(parents=True)
        for number in range(CONFIG_FILES - 1):
            (host.config / f"part{number:02d}.conf").write_bytes(os.urandom(1500))
        (host.config / "agent.conf").write_text(f"listen = {host.address}:{self.http_port}\n")
        os.link(self.folder / f"bench-agent-{OLD}", host.binary)
        os.mkfifo(host.root / "run/ready")
        there = {**os.environ, "SSH_CONNECTION": f"127.0.0.1 1 {host.address} {self.port}"}
        subprocess.run([self.folder / "bin/systemctl", "restart", "bench-agent.service"], env=there, check=True)

    @property
    def _sshd_pid(self) -> int:
        return self.sshd.pid if self.sshd else 0

    def cpu_seconds(self) -> float:
        """What the hosts have used so far: sshd, all it started, and the agents' answers."""
        front = self.front.pid if self.front else 0
        return sum(process_cpu(pid) for pid in (*tree(self._sshd_pid), front))

    def changed(self, upkeep: bool) -> list[str]:
        """Every host that is not as it has to be after the change, and why."""
        wanted = (self.folder / f"bench-agent-{NEW}").read_bytes()
        with ThreadPoolExecutor(8) as pool:
            found = pool.map(lambda host: wrong(host, wanted, upkeep=upkeep), self.hosts)
        return [f"{host.address}: {what}" for host, what in zip(self.hosts, found, strict=True) if what]


def wrong(host: BenchHost, wanted: bytes, *, upkeep: bool) -> str:
    """What of the work was not done on this host."""
    if host.binary.read_bytes() != wanted:
        return "the new binary is not in place"
    if not alive(host.pid):
        return "the agent does not run"
    if (host.root / "run/version").read_text().strip() != NEW:
        return "the old version runs"
    place = "var/lib/upkeep/backups/*/archive.tar.gz" if upkeep else "var/backups/*.tar.gz"
    archives = list(host.root.glob(place))
    if len(archives) != 1:
        return f"{len(archives)} backups"
    with tarfile.open(archives[0]) as archive:
        files = sum(member.isfile() and "/etc/bench-agent/" in f"/{member.name}" for member in archive)
    return "" if files == CONFIG_FILES else f"{files} of {CONFIG_FILES} files are in the backup"


def addresses(count: int) -> list[str]:
    """127.1.0.1 and on."""
    return [f"127.1.{number // 250}.{number % 250 + 1}" for number in range(count)]


def stop(host: BenchHost) -> None:
    if host.pid:
        with suppress(ProcessLookupError):
            os.kill(host.pid, signal.SIGKILL)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def tree(pid: int) -> Iterator[int]:
    """A process and all below it."""
    yield pid
    for child in children(pid):
        yield from tree(child)


def process_cpu(pid: int) -> float:
    """CPU seconds of a process and of the children it has waited for."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("0.0.0.0", 0))  # noqa: S104 - all of 127.0.0.0/8
        return int(sock.getsockname()[1])


def answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def until(condition: object, what: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not condition():  # type: ignore[operator]
        if time.monotonic() > deadline:
            raise SystemExit(f"bench: waited {START_SECONDS} s for {what}")
        time.sleep(0.05)


@contextmanager
def fleet(folder: Path, count: int) -> Iterator[Fleet]:
    with Fleet(folder, count) as started:
        started.reset()
        yield started
