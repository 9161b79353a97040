"""One machine: switched on, off and on again, and commands run inside it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import struct
import subprocess
from pathlib import Path
from time import monotonic, sleep

from upkeep.errors import HostError, shorten
from upkeep.lab.machines import layer, network
from upkeep.lab.machines.cgroups import Cgroup
from upkeep.lab.machines.layout import Layout, address, machine_name, namespace_path
from upkeep.lab.machines.processes import Process, call, child_of, reap, spawn
from upkeep.lab.machines.readiness import ReadySignal
from upkeep.lab.processes import await_end

BOOT_SECONDS, SHUTDOWN_SECONDS, POWER_CUT_SECONDS = 120.0, 90.0, 20.0
SSH_PORT = 22
_PAUSE_SECONDS, _GREETING_SECONDS = 0.03, 2.0
_SUPERVISOR = Path(__file__).with_name("supervisor.sh")
_EXT4_SHUTDOWN, _WITHOUT_LOG_FLUSH = 0x8004587D, struct.pack("I", 2)
_INSIDE = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}


class Machine:
    """Machine `number` of a set; `name` is its host name, `address` its IPv4 address in the control namespace."""

    def __init__(self, layout: Layout, number: int) -> None:
        self.layout, self.number = layout, number
        self.name, self.address = machine_name(number), address(number)
        self.paths = layout.machine(number)
        self.cgroup = Cgroup(layout.name, self.name)

    @property
    def supervisor(self) -> int | None:
        """Process id of the machine's supervisor, outside; None when the machine is off."""
        process = Process.load(self.paths.supervisor)
        return process.pid if process else None

    @property
    def leader(self) -> int | None:
        """Process id, outside, of what is PID 1 inside; None when the machine is off or between two boots."""
        return child_of(child_of(self.supervisor, {"systemd-nspawn"}), {"systemd", "init", "(sd-init)"})

    def create(self, disk_bytes: int) -> None:
        """Make disk, seed and network link; what is there is kept."""
        for folder in (self.paths.root, self.paths.disk):
            folder.mkdir(parents=True, exist_ok=True)
        if not self.paths.image.exists():
            layer.write_seed(self.layout, self.number)
            with self.paths.image.open("wb") as file:
                file.truncate(disk_bytes)
            lazily = "lazy_itable_init=1,lazy_journal_init=1,nodiscard"
            call(("mkfs.ext4", "-q", "-F", "-m", "0", "-E", lazily, self.paths.image))
        network.make_link(self.layout, self.number)

    def boot(self, timeout_seconds: float = BOOT_SECONDS) -> None:
        """Switch it on and wait until systemd says it is up and sshd answers. A machine that is on is left alone.

        Raises:
            HostError: it did not come up in time.
        """
        if self.supervisor:
            return
        with ReadySignal(self.paths.notify) as ready:
            self._start()
            self._await_ready(ready, timeout_seconds)

    def reboot(self, timeout_seconds: float = BOOT_SECONDS) -> None:
        """`systemctl reboot`, and wait until it is up again.

        Raises:
            HostError: it is off, or did not come up in time.
        """
        with ReadySignal(self.paths.notify) as ready:
            subprocess.run(self.command("systemctl", "reboot"), capture_output=True, check=False)
            self._await_ready(ready, timeout_seconds)

    def shut_down(self) -> None:
        """Clean shutdown; waits for its end."""
        supervisor, container = self.supervisor, child_of(self.supervisor, {"systemd-nspawn"})
        if supervisor and container:
            os.kill(container, signal.SIGTERM)
            if not await_end(supervisor, int(SHUTDOWN_SECONDS * 1000)):
                self.cgroup.kill()
        self._forget()

    def cut_power(self) -> None:
        """Everything not yet on the disk is lost: the file system is shut without its log, then every process is killed."""
        supervisor = self.supervisor
        if supervisor:
            self._shut_file_system()
            self.cgroup.kill()
            await_end(supervisor, int(POWER_CUT_SECONDS * 1000))
        self._forget()

    def destroy(self) -> None:
        """Switch it off at once and remove all of it, whatever an interrupted run left."""
        self.cgroup.kill()
        supervisor = self.supervisor
        if supervisor:
            await_end(supervisor, int(POWER_CUT_SECONDS * 1000))
        self._forget()
        shutil.rmtree(self.paths.directory, ignore_errors=True)

    def command(self, *words: str) -> list[str]:
        """The words that run a command inside as root without the network, also while the machine is cut off or frozen.

        Raises:
            HostError: the machine is off.
        """
        leader = self.leader
        if leader is None:
            raise HostError(self.name, "the machine is off")
        environment = (f"{name}={value}" for name, value in _INSIDE.items())
        return [
            "nsenter",
            "-t",
            str(leader),
            "-m",
            "-u",
            "-i",
            "-n",
            "-p",
            "-C",
            "--",
            "env",
            "-i",
            *environment,
            *words,
        ]

    def sh(self, script: str, *, stdin: bytes = b"", timeout_seconds: float = 60) -> str:
        """Run a shell script inside as root; give what it printed.

        Raises:
            HostError: the machine is off, the script failed or took too long.
        """
        try:
            done = subprocess.run(
                self.command("sh", "-euc", script),
                input=stdin,
                capture_output=True,
                timeout=timeout_seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise HostError(self.name, f"a script took longer than {timeout_seconds:g} s") from error
        if done.returncode:
            evidence = shorten(done.stderr.decode("utf-8", "replace"))
            raise HostError(self.name, f"a script ended with {done.returncode}", evidence=evidence)
        return done.stdout.decode("utf-8", "replace")

    def disk_inside(self) -> Path:
        """The machine's own disk, as a path outside.

        Raises:
            HostError: the machine is off.
        """
        supervisor = self.supervisor
        if supervisor is None:
            raise HostError(self.name, "the machine is off")
        return Path(f"/proc/{supervisor}/root") / str(self.paths.disk).lstrip("/")

    def _start(self) -> None:
        self.cgroup.create()
        lower = (self.paths.seed, self.layout.layer, self.layout.base)
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
            "NOTIFY_SOCKET": str(self.paths.notify),
            "CGROUPS": " ".join(map(str, self.cgroup.paths)),
            "IMAGE": str(self.paths.image),
            "DISK": str(self.paths.disk),
            "ROOT": str(self.paths.root),
            "NAME": self.name,
            "LOWER": ":".join(map(str, lower)),
        }
        words = ["unshare", "-m", "--propagation", "private", "sh", str(_SUPERVISOR), *self._container()]
        Process.of(spawn(words, environment, self.paths.console)).save(self.paths.supervisor)

    def _container(self) -> list[str]:
        return [
            *("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--boot", "--notify-ready=yes"),
            *("--link-journal=no", "--resolv-conf=off", "--timezone=off", "--console=pipe"),
            *("--capability=CAP_NET_ADMIN", "--rlimit=RLIMIT_NOFILE=1024:524288", "--rlimit=RLIMIT_CORE=0:infinity"),
            f"--directory={self.paths.root}",
            f"--machine={self.layout.name}-{self.name}",
            f"--hostname={self.name}",
            f"--uuid={layer.machine_id(self.layout, self.number)}",
            f"--network-namespace-path={namespace_path(self.layout.namespace(self.number))}",
        ]

    def _await_ready(self, ready: ReadySignal, timeout_seconds: float) -> None:
        deadline = monotonic() + timeout_seconds
        while not ready.received():
            if monotonic() > deadline or not self.supervisor:
                console = self.paths.console.read_text("utf-8", "replace")
                raise HostError(self.name, "the machine did not come up", evidence=console[-400:])
        while not self._greets():
            if monotonic() > deadline:
                raise HostError(self.name, "sshd does not answer on the machine itself")
            sleep(_PAUSE_SECONDS)

    def _greets(self) -> bool:
        own = self.layout.namespace(self.number)  # its own side: a cut network is no reason not to be up
        try:
            with network.connect(own, "127.0.0.1", SSH_PORT, _GREETING_SECONDS) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False

    def _shut_file_system(self) -> None:
        descriptor = os.open(self.disk_inside(), os.O_RDONLY)
        try:
            with contextlib.suppress(OSError):  # already shut, or turned read-only by an error
                fcntl.ioctl(descriptor, _EXT4_SHUTDOWN, _WITHOUT_LOG_FLUSH)
        finally:
            os.close(descriptor)

    def _forget(self) -> None:
        reap(self.paths.supervisor)
        self.cgroup.remove()
