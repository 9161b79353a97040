"""Real sshd servers on loopback, each in a folder of its own."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pytest

from upkeep.hosts.ssh import SshTransport
from upkeep.hosts.ssh_target import SshTarget

START_SECONDS = 20


def sshd_program() -> str | None:
    return shutil.which("sshd") or shutil.which("/usr/sbin/sshd")


def make_key(path: Path, kind: str = "ed25519", phrase: str = "") -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", phrase, "-f", path], check=True)
    return path


def children(pid: int) -> list[int]:
    """Process ids of a process's children; none when it is gone."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def free_port(address: str) -> int:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


@dataclass
class Sshd:
    """One server: host keys, accepted keys, what its log says."""

    folder: Path
    address: str = "127.0.0.1"
    options: tuple[str, ...] = ()
    key_kinds: tuple[str, ...] = ("ed25519",)
    port: int = 0
    log: list[str] = field(default_factory=list)
    logged: threading.Condition = field(default_factory=threading.Condition)
    process: subprocess.Popen[str] | None = None

    def prepare(self) -> None:
        """Make keys and files; the folder can be entered by any user, the secrets in it cannot."""
        self.folder.mkdir(mode=0o755)
        for kind in self.key_kinds:
            make_key(self.folder / f"host_{kind}", kind)
        make_key(self.folder / "client")
        shutil.copy(self.folder / "client.pub", self.folder / "authorized_keys")
        self.port = free_port(self.address)
        self.known_hosts.write_text("".join(self.known_line(kind) for kind in self.key_kinds))

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    def known_line(self, kind: str, *, names: str = "", marker: str = "", public: Path | None = None) -> str:
        parts = (public or self.folder / f"host_{kind}.pub").read_text().split()[:2]
        return f"{marker} {names or f'[{self.address}]:{self.port}'} {' '.join(parts)}\n".lstrip()

    def start(self) -> None:
        """Start the server and wait until it says that it listens."""
        config = self.folder / "sshd_config"
        config.write_text("\n".join([*self._lines(), ""]))
        self.process = subprocess.Popen(
            [sshd_program() or "sshd", "-D", "-e", "-f", config],
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
        )
        threading.Thread(target=self._read_log, daemon=True).start()
        if not self.says("Server listening"):
            self.stop()
            pytest.fail("sshd does not start:\n" + "\n".join(self.log))

    def says(self, text: str) -> bool:
        """Wait until a line of the log holds `text`."""
        with self.logged:
            return self.logged.wait_for(lambda: any(text in line for line in self.log), START_SECONDS)

    def _lines(self) -> list[str]:
        # SHLVL keeps bash from reading the .bashrc of whoever runs the tests.
        usual = [
            f"Port {self.port}",
            f"ListenAddress {self.address}",
            f"AuthorizedKeysFile {self.folder}/authorized_keys",
            *(f"HostKey {self.folder}/host_{kind}" for kind in self.key_kinds),
            "PidFile none",
            "StrictModes no",
            "UsePAM no",
            "MaxStartups 100",
            "SetEnv SHLVL=9",
        ]
        own = {option.split()[0] for option in self.options}
        return [*self.options, *(line for line in usual if line.split()[0] not in own)]

    def _read_log(self) -> None:
        stream = self.process.stderr if self.process else None
        for line in stream or ():
            with self.logged:
                self.log.append(line.rstrip())
                self.logged.notify_all()

    def sessions(self) -> list[int]:
        """Process ids of the servers that hold a connection."""
        return children(self.process.pid) if self.process else []

    def cut(self) -> None:
        """Break every connection at once."""
        sessions = self.sessions()
        scripts = [child for session in sessions for child in children(session)]
        for pid in (*sessions, *scripts):  # a script that dies first would still be reported
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        """End the server and its sessions."""
        if self.process is not None and self.process.poll() is None:
            self.cut()
            self.process.terminate()
            self.process.wait(START_SECONDS)

    def target(self, **changes: object) -> SshTarget:
        """How to reach it; as root the login needs no sudo."""
        plain = SshTarget(
            name="web",
            address=self.address,
            port=self.port,
            user=getpass.getuser(),
            keys=(self.folder / "client",),
            use_agent=False,
            known_hosts=(self.known_hosts,),
            become="none",
            connect_timeout=timedelta(seconds=10),
        )
        return replace(plain, **changes)  # type: ignore[arg-type]


@pytest.fixture
def start_sshd() -> Iterator[Callable[..., Sshd]]:
    """Start servers: options are lines of sshd_config."""
    started: list[Sshd] = []
    with open_folder() as base:

        def start(*options: str, address: str = "127.0.0.1", key_kinds: tuple[str, ...] = ("ed25519",)) -> Sshd:
            server = Sshd(base / f"sshd{len(started)}", address, options, key_kinds)
            started.append(server)
            server.prepare()
            server.start()
            return server

        yield start
        for server in started:
            server.stop()


@pytest.fixture(scope="session")
def sshd() -> Iterator[Sshd]:
    """One plain server for all tests that don't change it."""
    with open_folder() as base:
        server = Sshd(base / "sshd")
        server.prepare()
        server.start()
        yield server
        server.stop()


@contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that sshd can enter on behalf of any user; pytest's own are closed to others."""
    require_sshd()
    with tempfile.TemporaryDirectory(prefix="upkeep-sshd-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def require_sshd() -> None:
    if sshd_program() is None:
        pytest.skip("OpenSSH's server is not installed (apt-get install openssh-server)")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)


@pytest.fixture
def connect() -> Iterator[Callable[[SshTarget], SshTransport]]:
    """Transports that are closed at the end."""
    made: list[SshTransport] = []

    def make(target: SshTarget) -> SshTransport:
        made.append(SshTransport(target))
        return made[-1]

    yield make
    for transport in made:
        transport.close()
