"""What a host says about itself, read from the answers of the transaction's scripts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import ValidationError

from upkeep.domain.change import Journal
from upkeep.errors import CommandFailed, GarbledOutput
from upkeep.hosts.transport import Reply

_LAST_LINE = "end=ok"


@dataclass(frozen=True)
class Lock:
    """Who holds a host; `since` and `until` are seconds since 1970 by the host's clock."""

    run: str
    owner: str
    reason: str
    since: int
    until: int
    fence: int

    def __str__(self) -> str:
        """One sentence for a person."""
        return f"run {self.run} of {self.owner} has held it since {_time(self.since)} until {_time(self.until)}: {self.reason}"


@dataclass(frozen=True)
class Binary:
    """What lies at the agent's path: `form` is link, file, missing or other; `link` as written, `target` the file it leads to."""

    form: str
    link: str
    target: str
    sha256: str


@dataclass(frozen=True)
class Guard:
    """The dead-man switch; `deadline` in seconds since 1970 by the host's clock, `armed` tells whether it can still fire."""

    kind: str
    run: str
    deadline: int
    armed: bool


@dataclass(frozen=True)
class Standing:
    """How far a host's last change came, and who owns the host."""

    journal: Journal
    lock: Lock | None


@dataclass(frozen=True)
class HostState(Standing):
    """A host's own truth about its change; `now` is its clock in seconds since 1970."""

    binary: Binary
    releases: tuple[str, ...]
    backups: tuple[str, ...]
    service: Mapping[str, str]
    guard: Guard | None
    now: int
    boot_id: str


@dataclass(frozen=True)
class BackupManifest:
    """A verified backup on a host: its folder there, and the archive's SHA-256 and size in bytes; `files` counts its entries.

    `binary_sha256` is that of the old binary, which lies beside the archive; empty when there was none.
    """

    run: str
    path: str
    sha256: str
    size_bytes: int
    files: int
    skipped: tuple[str, ...] = ()
    vanished: tuple[str, ...] = ()
    binary_sha256: str = ""


@dataclass(frozen=True)
class Answer:
    """The `key=value` lines of one script, keys may repeat."""

    host: str
    lines: tuple[tuple[str, str], ...]

    def get(self, key: str) -> str:
        """The first value of a key; empty without one."""
        return next((value for name, value in self.lines if name == key), "")

    def number(self, key: str) -> int:
        """A value that is a whole number; 0 without one.

        Raises:
            GarbledOutput: it is something else.
        """
        text = self.get(key) or "0"
        if not text.isdigit():
            raise GarbledOutput(self.host, f"the answer's '{key}' is no number", evidence=text)
        return int(text)

    def all(self, key: str) -> tuple[str, ...]:
        """Every value of a key that may repeat."""
        return tuple(value for name, value in self.lines if name == key)

    def section(self, name: str) -> dict[str, str]:
        """The values whose keys begin with `name.`, without it."""
        return {key.removeprefix(f"{name}."): value for key, value in self.lines if key.startswith(f"{name}.")}

    def journal(self) -> Journal:
        """The host's journal.

        Raises:
            GarbledOutput: it is none.
        """
        try:
            return Journal.model_validate(self.section("journal"))
        except ValidationError as error:
            raise GarbledOutput(
                self.host, "the journal in the host's answer cannot be read", evidence=str(error)
            ) from error

    def lock(self) -> Lock | None:
        """The host's lock, if there is one."""
        lock = self.section("lock")
        if not lock:
            return None
        since, until, fence = (self.number(f"lock.{key}") for key in ("since", "until", "fence"))
        return Lock(lock.get("run", ""), lock.get("owner", ""), lock.get("reason", ""), since, until, fence)

    def guard(self) -> Guard | None:
        """The dead-man switch, if one was armed and not disarmed."""
        guard = self.section("guard")
        if not guard:
            return None
        return Guard(
            guard.get("kind", ""), guard.get("run", ""), self.number("guard.deadline"), guard.get("armed") == "yes"
        )

    def backup(self) -> BackupManifest:
        """The backup the host has made or taken in."""
        size, files = self.number("size_bytes"), self.number("files")
        skipped, vanished = self.all("skipped"), self.all("vanished")
        sha256, binary = self.get("sha256"), self.get("binary_sha256")
        return BackupManifest(self.get("run"), self.get("path"), sha256, size, files, skipped, vanished, binary)

    def standing(self) -> Standing:
        """Everything `standing` asks."""
        return Standing(self.journal(), self.lock())

    def state(self) -> HostState:
        """Everything `inspect` asks."""
        binary = self.section("binary")
        return HostState(
            journal=self.journal(),
            lock=self.lock(),
            binary=Binary(*(binary.get(key, "") for key in ("form", "link", "target", "sha256"))),
            releases=self.all("release"),
            backups=self.all("backup"),
            service=self.section("service"),
            guard=self.guard(),
            now=self.number("now"),
            boot_id=self.get("boot_id"),
        )


def read_answer(host: str, reply: Reply) -> Answer:
    """A script's answer, which must be whole.

    Raises:
        CommandFailed: the script ended with an exit code other than 0.
        GarbledOutput: the answer is cut.
    """
    if reply.exit_code != 0:
        raise CommandFailed(
            host,
            "a step of the change broke off",
            exit_code=reply.exit_code,
            evidence=reply.stderr.strip()[-400:],
            remedy="the host's journal says how far it came; run the step again, or roll the host back",
        )
    lines = [line for line in reply.text.split("\n") if "=" in line]
    if not lines or lines[-1] != _LAST_LINE:
        raise GarbledOutput(
            host, "the answer of a step is cut", evidence=reply.text[-200:], remedy="run the step again"
        )
    pairs = (line.split("=", 1) for line in lines)
    return Answer(host, tuple((key, value) for key, value in pairs))


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(min(seconds, 253402300799), UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
