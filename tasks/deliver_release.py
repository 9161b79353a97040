"""Bringing a release onto one host: pushed over the kept connection, or pulled by the host; hashed again there."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tasks.deliveries import Archive
from tasks.session import HostWork, RunSession
from upkeep.audit.history import StepRecord
from upkeep.domain.bandwidth import Throttle
from upkeep.domain.change import Step
from upkeep.domain.delivery import Way
from upkeep.domain.finding import Finding, Verdict
from upkeep.errors import ArtifactError, ChecksumMismatch, CommandTimeout, Unreachable, UpkeepError
from upkeep.hosts.feed import PIECE_BYTES as PACKET_BYTES
from upkeep.hosts.host_change import Order
from upkeep.services.web import public

PIECE_BYTES = 32 * PACKET_BYTES
"""Whole packets only: a rest would be a packet of its own with every piece."""
TRIES = 4
_WAY_CHECK = "delivery.way"


def deliver(session: RunSession, work: HostWork, order: Order, *, stage: str) -> None:
    """Deliver the archive, unpack it beside the old version and let it judge the configuration.

    Raises:
        StepFailed: with ChecksumMismatch, ArtifactError or CommandFailed as cause.
    """
    with session.step(work.host.name, Step.FETCH, stage=stage) as step:
        bring(session, work, order, step)
        work.change.stage(order)


def bring(session: RunSession, work: HostWork, order: Order, step: StepRecord) -> None:
    """Put the archive, whole and proved, where the host unpacks it from; what lies there already is not sent again.

    Raises:
        ChecksumMismatch: it is not the archive of the release; nothing of it stays.
        ArtifactError, HostError: it did not arrive in several tries; what came so far is kept and continued next time.
    """
    archive = session.archive_by_hash(order.artifact_sha256)
    transfer = _Transfer(session, work, order, archive, step)
    chosen = session.deliveries.chosen(archive)
    step.body |= {"way": chosen.way, "why": chosen.why, "size_bytes": archive.artifact.size_bytes}
    step.body["sha256"] = order.artifact_sha256
    try:
        _again_and_again(session, step, transfer.by(chosen.way))
    except ChecksumMismatch:
        raise
    except ArtifactError as error:
        if session.deliveries.delivery.how != "auto" or chosen.way == "push":
            raise
        _note_fallback(session, work, chosen.way, error)
        step.body |= {"way": "push", "instead_of": chosen.way}
        _again_and_again(session, step, transfer.push)


@dataclass(frozen=True)
class _Transfer:
    """One archive on its way to one host."""

    session: RunSession
    work: HostWork
    order: Order
    archive: Archive
    step: StepRecord

    def by(self, way: Way) -> Callable[[], None]:
        return {"push": self.push, "relay": self.pull_from_relay, "site": self.pull_from_site}[way]

    def push(self) -> None:
        offset = self.work.change.partial_size(self.order)
        self.step.body["resumed_at_bytes"] = offset
        sent = pieces(self.archive.path, offset, self.session.deliveries.throttle())
        self.work.change.deliver(self.order, sent, offset=offset)

    def pull_from_relay(self) -> None:
        deliveries = self.session.deliveries
        url = deliveries.grant(self.work.host.name, self.archive).get_secret_value()
        rate, timeout = deliveries.pull_limit(from_site=False), deliveries.delivery.timeout
        self.work.change.fetch(self.order, url, rate_limit=rate, timeout=timeout, one_time=True)

    def pull_from_site(self) -> None:
        deliveries = self.session.deliveries
        self.step.body["url"] = public(self.archive.url)
        rate, timeout = deliveries.pull_limit(from_site=True), deliveries.delivery.timeout
        self.work.change.fetch(self.order, self.archive.url, rate_limit=rate, timeout=timeout)


def _again_and_again(session: RunSession, step: StepRecord, once: Callable[[], None]) -> None:
    """A broken link is gone on with where it broke, as long as half of the time for the delivery is left."""
    began, enough = time.monotonic(), session.deliveries.delivery.timeout.total_seconds() / 2
    for tried in range(1, TRIES + 1):
        step.body["tries"] = tried
        try:
            once()
        except (ArtifactError, Unreachable, CommandTimeout) as error:
            over = tried == TRIES or time.monotonic() - began > enough
            if over or not error.retryable or session.cancelled or _hopeless(error):
                raise
            session.pause(2 ** (tried - 1))
        else:
            return


def _hopeless(error: UpkeepError) -> bool:
    return "neither curl nor wget" in str(error)


def _note_fallback(session: RunSession, work: HostWork, way: str, error: ArtifactError) -> None:
    text = str(error).removeprefix(f"{work.host.name}: ")
    finding = Finding(
        check=_WAY_CHECK,
        subject=way,
        verdict=Verdict.WARN,
        reason=f"the archive is pushed over SSH, because the host could not pull it: {text}",
        remedy="install curl or wget on the host and let it reach the address it is to pull from, or set delivery.how: push",
    )
    session.history.findings(session.record.id, work.host.name, "delivery", [finding])


def pieces(path: Path, offset: int, throttle: Throttle | None = None) -> Iterator[bytes]:
    """A file's bytes from `offset`, no faster than the limits allow."""
    limits, never = throttle or Throttle(), threading.Event()
    size = limits.piece_bytes if limits.binds else PIECE_BYTES
    with path.open("rb") as file:
        file.seek(offset)
        while piece := file.read(size):
            if limits.binds:
                never.wait(limits.reserve(len(piece), time.monotonic()))
            yield piece
