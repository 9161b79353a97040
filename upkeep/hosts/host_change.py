"""The transaction on one host: locked, backed up, delivered, staged, switched, committed or rolled back.

Every step is one script in one round trip, may be repeated, and leaves a host that its own dead-man switch can put back.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from upkeep.domain.change import Journal
from upkeep.domain.profile import AgentProfile
from upkeep.errors import BackupError, BadInput
from upkeep.hosts.hidden import secrets_of, without
from upkeep.hosts.host_objection import objection
from upkeep.hosts.host_script import one_line, profile_settings, script
from upkeep.hosts.host_state import Answer, BackupManifest, HostState, Standing, read_answer
from upkeep.hosts.transport import Limits, Transport

_RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_VERSION = re.compile(r"([A-Za-z0-9][A-Za-z0-9._+~-]{0,127})?")
_SHA256 = re.compile(r"([0-9a-f]{64})?")
_URL = re.compile(r"https?://[^\s\x00-\x20\x7f]+")
_HEADER = re.compile(r"[!-9;-~]+: [^\x00-\x1f\x7f]*")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._+~-]")
_SLOWEST_BYTES_PER_SECOND = 1024
_QUIET = timedelta(seconds=120)
_PULL = timedelta(minutes=15)


@dataclass(frozen=True)
class Order:
    """What one run wants of one host; `fence` is what `take_lock` returned.

    `with_state` says that the release changes data one way: the dead-man switch then restores the state as well.
    """

    run: str
    owner: str
    reason: str
    fence: int
    from_version: str
    to_version: str
    artifact_sha256: str
    artifact_size_bytes: int
    lease: timedelta
    dead_man: timedelta
    with_state: bool = False


class HostChange:
    """One host and one agent on it; `profile` is already filled for this host, `become` asks for root."""

    def __init__(self, transport: Transport, profile: AgentProfile, *, become: bool) -> None:
        self._transport, self._become = transport, become
        self._profile = profile_settings(profile)
        starting = profile.service.start_timeout
        self._quick = Limits()
        self._restarting = Limits(total=2 * starting + _QUIET, idle=2 * starting + _QUIET)
        self._restoring = timedelta(minutes=15) + 3 * starting

    def inspect(self) -> HostState:
        """What is on the host; nothing is written there.

        Raises:
            HostError: the host could not be asked or its answer not be read.
        """
        return self._ask("inspect", {}).state()

    def standing(self) -> Standing:
        """How far the last change came, and who owns the host: of what `inspect` tells, what costs the host next to nothing.

        Raises:
            HostError: the host could not be asked or its answer not be read.
        """
        return self._ask("standing", {}).standing()

    def take_lock(self, order: Order, *, take_over: bool = False) -> int:
        """Make the host this run's own and return the fence; the same run comes in again, an expired lock is taken over.

        Raises:
            HostLocked: another run holds it; says who, why, since when and until when.
        """
        return self._do("take_lock", order, {"TAKE_OVER": "yes" if take_over else "no"}).number("fence")

    def extend_lock(self, order: Order) -> None:
        """Hold the host for another lease from now.

        Raises:
            HostLocked: another run holds it by now.
        """
        self._do("extend_lock", order)

    def release_lock(self, order: Order) -> None:
        """Give the host free; nothing happens when nobody holds it.

        Raises:
            HostLocked: another run holds it by now.
        """
        self._do("release_lock", order)

    def back_up(self, order: Order, sink: Callable[[bytes], None]) -> BackupManifest:
        """Back the host up, read the backup back and compare it, and stream the archive (tar.gz) to `sink`.

        The old binary is not in the archive: it lies beside it, see `read_binary`.
        Once the host is switched, the backup from before the switch is streamed again.

        Raises:
            BackupError: a file kept changing or could not be read; it is named. Or the archive did not arrive whole.
        """
        manifest = self._do("back_up", order, limits=_for(order.lease)).backup()
        self._read(order, "read_backup", manifest.sha256, sink)
        return manifest

    def read_binary(self, order: Order, sha256: str, sink: Callable[[bytes], None]) -> None:
        """Stream the old binary, which lies beside the backup's archive, to `sink`.

        Raises:
            BackupError: it did not arrive whole.
        """
        self._read(order, "read_binary", sha256, sink)

    def _read(self, order: Order, phase: str, sha256: str, sink: Callable[[bytes], None]) -> None:
        digest = hashlib.sha256()

        def take(piece: bytes) -> None:
            digest.update(piece)
            sink(piece)

        text = script({**self._profile, **self._order(order)}, phase)
        reply = self._transport.run(text, become=self._become, sink=take, limits=_for(order.lease))
        if reply.exit_code != 0 or digest.hexdigest() != sha256:
            raise BackupError(
                f"{self._transport.host}: the backup did not arrive whole: {one_line(reply.stderr) or 'SHA-256 differs'}"
            )

    def partial_size(self, order: Order) -> int:
        """How many bytes of the archive are on the host already."""
        return self._do("partial_size", order).number("size")

    def deliver(self, order: Order, chunks: Iterable[bytes], *, offset: int) -> None:
        """Push the archive's bytes from `offset` on; size and SHA-256 are checked on the host.

        Raises:
            ArtifactError: not all bytes arrived; deliver again from `partial_size`.
            ChecksumMismatch: it is not the archive of the order; what was there is removed.
        """
        self._do("deliver", order, {"OFFSET": offset}, stdin=chunks, limits=_for(order.lease, idle=_QUIET))

    def fetch(
        self,
        order: Order,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        rate_limit: int | None = None,
        timeout: timedelta = _PULL,
        one_time: bool = False,
    ) -> None:
        """Let the host pull the archive by curl or wget, going on where an earlier pull stopped; `rate_limit` in bytes per second.

        A `one_time` address is the relay's: it is asked directly, whatever proxy the host has, and repeated nowhere.

        Raises:
            ArtifactError: the download failed, or took longer than `timeout`, or came too slowly.
            ChecksumMismatch: it is not the archive of the order; what was there is removed.
        """
        settings = {
            **_download(url, headers or {}, direct=one_time),
            "RATE": rate_limit or 0,
            "DEADLINE": max(1, round(timeout.total_seconds())),
            "SLOWEST": min(_SLOWEST_BYTES_PER_SECOND, max(1, (rate_limit or _SLOWEST_BYTES_PER_SECOND) // 2)),
        }
        hidden = secrets_of(url, (headers or {}).values(), one_time=one_time)
        self._do("fetch", order, settings, limits=_for(2 * timeout + _QUIET), hidden=hidden)

    def stage(self, order: Order) -> None:
        """Unpack the archive beside the old version and let the new binary judge the present configuration.

        Raises:
            UntrustedRelease: a member must not reach a host; it is named.
            ChecksumMismatch: the archive is missing or changed.
            CommandFailed: the new version rejects the configuration.
        """
        self._do("stage", order, limits=_for(order.lease))

    def switch(self, order: Order) -> None:
        """Arm the dead-man switch, put the new version in place in one step, restart, and wait until the unit is active.

        Raises:
            ChecksumMismatch: the unpacked binary was changed. HostError: the old one was, or the change is over.
            BackupError: there is no whole backup on the host.
            CommandFailed: the dead-man switch could not be armed, or the service did not start.
        """
        self._do("switch", order, limits=self._restarting)

    def commit(self, order: Order) -> Journal:
        """Keep the new version and disarm the dead-man switch; the lock stays.

        Raises:
            HostError: the host went back by itself before, or does not run the new version; says what happened.
        """
        return self._do("commit", order, limits=self._restarting).journal()

    def roll_back(self, order: Order, reason: str, *, with_state: bool, of_run: str = "") -> Journal:
        """Put binary, configuration and secrets (and with `with_state` the state) back, restart, and return the journal.

        Safe to repeat and from any state, after the commit as well; a host already back is left alone. `of_run` names the
        run to undo when that need not be the host's latest.

        Raises:
            BackupError: the backup on the host is gone or damaged; see `restore_from`.
            CommandFailed: something could not be restored, or the old version does not start.
            Refused: no such change, or the host has moved on since.
        """
        settings = {
            "WHY": one_line(reason),
            "WITH_STATE": _yes(with_state),
            "OF_RUN": _known(_RUN, of_run, "run") if of_run else "",
        }
        return self._do("roll_back", order, settings, limits=_for(max(self._restoring, order.lease))).journal()

    def restore_from(self, order: Order, chunks: Iterable[bytes]) -> BackupManifest:
        """Bring the controller's archive back to the host, the binary in it again, and compare it; `roll_back` can use it then.

        Raises:
            BackupError: it is not a whole backup.
        """
        return self._do("restore_from", order, stdin=chunks, limits=_for(order.lease)).backup()

    def prune(self, keep: int) -> tuple[str, ...]:
        """Remove all but the newest `keep` unused releases and backups; returns the folders removed.

        Raises:
            Refused: a change is unfinished.
        """
        return self._ask("prune", {"KEEP": max(0, keep)}, limits=_for(_PULL)).all("removed")

    def _do(
        self,
        phase: str,
        order: Order,
        settings: Mapping[str, str | int] | None = None,
        *,
        stdin: Iterable[bytes] = (),
        limits: Limits | None = None,
        hidden: Iterable[str] = (),
    ) -> Answer:
        return self._ask(phase, {**self._order(order), **(settings or {})}, stdin=stdin, limits=limits, hidden=hidden)

    def _ask(
        self,
        phase: str,
        settings: Mapping[str, str | int],
        *,
        stdin: Iterable[bytes] = (),
        limits: Limits | None = None,
        hidden: Iterable[str] = (),
    ) -> Answer:
        text = script({**self._profile, **settings}, phase)
        reply = self._transport.run(text, become=self._become, stdin=stdin, limits=limits or self._quick)
        answer = read_answer(self._transport.host, without(reply, hidden))
        if answer.get("result") != "ok":
            raise objection(answer)
        return answer

    @staticmethod
    def _order(order: Order) -> dict[str, str | int]:
        from_version = one_line(order.from_version)
        return {
            "RUN": _known(_RUN, order.run, "run"),
            "OWNER": one_line(order.owner),
            "REASON": one_line(order.reason),
            "FENCE": order.fence,
            "FROM": from_version,
            "FROM_NAME": _NOT_IN_NAMES.sub("_", from_version).lstrip(".-")[:64] or "unknown",
            "TO": _known(_VERSION, order.to_version, "version"),
            "SHA256": _known(_SHA256, order.artifact_sha256, "SHA-256"),
            "SIZE": order.artifact_size_bytes,
            "LEASE": max(1, round(order.lease.total_seconds())),
            "DEAD_MAN": max(1, round(order.dead_man.total_seconds())),
            "WITH_STATE": _yes(order.with_state),
        }


def _for(total: timedelta, *, idle: timedelta | None = None) -> Limits:
    """Limits of a step that may work in silence; never below the time a short lease would leave."""
    total = max(total, _QUIET)
    return Limits(total=total, idle=idle or total)


def _yes(answer: bool) -> str:  # noqa: FBT001 - it is the whole question
    return "yes" if answer else "no"


def _known(pattern: re.Pattern[str], text: str, what: str) -> str:
    if not pattern.fullmatch(text):
        raise BadInput(f"a {what} that cannot be used on a host", found=text, allowed=pattern.pattern)
    return text


def _download(url: str, headers: Mapping[str, str], *, direct: bool) -> dict[str, str | int]:
    """What curl or wget are told through standard input or a file, because addresses and headers may hold secrets."""
    if not _URL.fullmatch(url):
        raise BadInput("an address hosts cannot pull from", allowed="http:// or https:// without spaces")
    lines = [f"{name}: {value}" for name, value in headers.items()]
    if not all(_HEADER.fullmatch(line) for line in lines):
        raise BadInput("a header that cannot be sent", found=", ".join(headers), allowed="one line each")
    curl = [f'url = "{_escaped(url)}"', *(f'header = "{_escaped(line)}"' for line in lines)]
    wget = [f"header = {line}" for line in lines]
    if direct:
        curl.append('noproxy = "*"')
        wget.append("use_proxy = off")
    return {"URL": url, "CURL_CONFIG": "\n".join(curl), "WGET_CONFIG": "\n".join(wget)}


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
