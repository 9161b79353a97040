"""What the steps of one run share: the frozen record, the history, and one kept connection per host."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from tasks.connections import MOST_KEPT, Connections
from tasks.deliveries import Archive, Deliveries
from tasks.keep_windows import WindowKeeper
from upkeep.audit.history import History, StepRecord
from upkeep.domain.change import HostResult, Step
from upkeep.domain.engine import Interrupted
from upkeep.domain.facts import HostFacts
from upkeep.domain.finding import Finding
from upkeep.domain.inventory import Host
from upkeep.domain.orders import Changed
from upkeep.domain.profile import AgentProfile
from upkeep.domain.record import RunRecord
from upkeep.domain.release import Release
from upkeep.errors import ArtifactError, Cancelled, Refused, StepFailed, UpkeepError
from upkeep.hosts.host_change import HostChange
from upkeep.hosts.host_state import Standing
from upkeep.hosts.ssh_target import SshTarget
from upkeep.hosts.transport import Transport
from upkeep.services.control_centre import ControlCentreClient
from upkeep.services.registration import registration_findings
from upkeep.wiring import Site

_BREAK_OFF_EVERY_SECONDS = 0.2
_NOT_AFTER_CANCEL = {Step.CHECK, Step.BASELINE, Step.BACKUP, Step.FETCH, Step.SWITCH}
CHECK_GOOD_FOR = timedelta(seconds=10)
"""A host whose check is older than this when its change begins is checked again (docs/adr/0008)."""


@dataclass(frozen=True)
class Passed:
    """What a host that may be changed said of itself, and when (monotonic seconds)."""

    facts: HostFacts
    state: Standing
    at_seconds: float


@dataclass(frozen=True)
class HostWork:
    """One host as a run works on it: its filled profile, its connection, its transaction and its control centre."""

    host: Host
    profile: AgentProfile
    transport: Transport
    change: HostChange
    centre: ControlCentreClient | None

    def registration(self, version: str) -> list[Finding]:
        """Whether the agent is back at its control centre with this version; nothing where the profile names no control centre."""
        wanted = self.profile.control_centre
        if wanted is None or self.centre is None:
            return []
        return registration_findings(self.centre, wanted.node, version, wanted.register_within)


class RunSession:
    """One run's shared things; safe to use from many threads."""

    def __init__(
        self,
        site: Site,
        record: RunRecord,
        targets: Mapping[str, SshTarget],
        archives: Sequence[Archive] = (),
        *,
        known: Mapping[str, HostResult] | None = None,
        left: Interrupted | None = None,
        resumed: bool = False,
    ) -> None:
        self.record = record
        self.history: History = site.history
        self.archives = tuple(archives)
        self.deliveries = Deliveries(record.plan, len(record.targets), site)
        self.backups = site.backups_of(record.id)
        self.kept_binaries = site.kept_binaries
        self.backup_keys = site.backup_keys
        self.hosts = {host.name: host for host in record.targets}
        self.known = dict(known or {})
        self.left, self.resumed = left, resumed
        self._site = site
        self._targets = targets
        self._work: dict[str, HostWork] = {}
        self._connections = Connections(max(MOST_KEPT, record.plan.at_once))
        self._well: dict[str, tuple[Finding, ...]] = {}
        self.cancelled = ""
        self._ended = threading.Event()
        self._verifying: set[str] = set()
        self._answers: dict[str, Changed] = {}
        self.passed: dict[str, Passed] = {}
        self._lock = threading.Lock()
        self._keeper: WindowKeeper | None = None

    @property
    def release(self) -> Release:
        """The release the run is about.

        Raises:
            Refused: the run has none.
        """
        if self.record.release is None:
            raise Refused(f"run {self.record.id} is not about a release")
        return self.record.release

    def work(self, host: str) -> HostWork:
        """One host's connection and transaction, made at first use and kept."""
        with self._lock:
            if host not in self._work:
                self._work[host] = self._open(self.hosts[host])
            work = self._work[host]
        self._connections.used(host, work.transport)
        return work

    def _open(self, host: Host) -> HostWork:
        profile = self._site.profile_for(self.record.profile, host)
        transport = self._site.transport(self._targets[host.name])
        return HostWork(host, profile, transport, self._site.change(transport, profile), self._site.centre(profile))

    def archive_for(self, machine: str, libc: str) -> Archive:
        """The archive for a host that reports this `uname -m` and libc.

        Raises:
            ArtifactError: the release has none.
        """
        wanted = self.release.artifact_for(machine, libc)
        for archive in self.archives:
            if archive.artifact == wanted:
                return archive
        raise ArtifactError(f"release {self.release.version} has no archive for {machine} with {libc} libc")

    def archive_by_hash(self, sha256: str) -> Archive:
        """The archive with this SHA-256."""
        return next(archive for archive in self.archives if archive.artifact.sha256 == sha256)

    def remember_well(self, host: str, findings: Sequence[Finding]) -> None:
        """Keep what a host answered when it was committed; soak looks are compared with it."""
        self._well[host] = tuple(findings)

    def well(self, host: str) -> tuple[Finding, ...]:
        """What the host answered when it was committed; from the history when another process committed it."""
        if host not in self._well:
            self._well[host] = self.newest_findings(host, "verify")
        return self._well[host]

    def newest_findings(self, host: str, phase: str) -> tuple[Finding, ...]:
        """What was found on a host when a phase was last asked, from the history."""
        rows = self.history.findings_of(self.record.id, host, phase)
        return tuple(row.finding for row in rows if row.at == rows[-1].at)

    def remember_passed(self, host: str, facts: HostFacts, state: Standing) -> None:
        """Keep what a host that may be changed said of itself just now."""
        self.passed[host] = Passed(facts, state, time.monotonic())

    def just_passed(self, host: str) -> Passed | None:
        """What the host said, if it was looked at so shortly ago that asking again right before its change would tell nothing new."""
        passed = self.passed.pop(host, None)
        fresh = passed is not None and time.monotonic() - passed.at_seconds < CHECK_GOOD_FOR.total_seconds()
        return passed if fresh else None

    @contextmanager
    def step(self, host: str, step: Step, *, stage: str = "") -> Iterator[StepRecord]:
        """One step on one host: intent in the history before, result after.

        Raises:
            StepFailed: the step failed; names host, step and cause.
        """
        if self.cancelled and step in _NOT_AFTER_CANCEL:
            raise StepFailed(host, step.value, Cancelled(f"{self.cancelled} before this step"))
        try:
            with self.history.step(self.record.id, host, step, stage=stage) as record, self._noted(host, step):
                yield record
        except StepFailed:
            raise
        except UpkeepError as error:
            raise StepFailed(host, step.value, error.masked(self.history.clean)) from error

    @contextmanager
    def _noted(self, host: str, step: Step) -> Iterator[None]:
        if step is not Step.VERIFY:
            yield
            return
        self._verifying.add(host)
        try:
            if self.cancelled:
                raise Cancelled(self.cancelled)
            yield
        finally:
            self._verifying.discard(host)

    def answered(self, answer: Changed) -> Changed:
        """Keep what came of a host: a task that ends while its run is suspended loses what it returns."""
        self._answers[answer.host] = answer
        return answer

    def take_answer(self, host: str) -> Changed | None:
        """What `answered` kept, once."""
        return self._answers.pop(host, None)

    def cancel(self, reason: str) -> None:
        """Begin nothing more: hosts that are switched and watched go back now, all others are left as they are."""
        self.cancelled = reason
        threading.Thread(target=self._break_off_watching, name="cancel", daemon=True).start()

    def _break_off_watching(self) -> None:
        """Again and again, because a script that is just about to start would open its connection anew."""
        while watched := tuple(self._verifying):
            for host in watched:
                self._work[host].transport.close()
            self._ended.wait(_BREAK_OFF_EVERY_SECONDS)

    def why_not_now(self, now: datetime) -> str:
        """Why no further host may be begun: the run was stopped or cancelled, or its window does not allow it; empty when one may."""
        with self._lock:
            if self._keeper is None:
                self._keeper = WindowKeeper(self.history, self.record)
            asked = self.cancelled or self.history.stop_requested(self.record.id)
            return asked or self._keeper.may_start(now)

    def pause(self, seconds: float) -> None:
        """Wait, but not beyond the end of the run."""
        self._ended.wait(seconds)

    def close(self) -> None:
        """End every connection."""
        self._ended.set()
        self.deliveries.close()
        with self._lock:
            for work in self._work.values():
                work.transport.close()
            self._work.clear()
