"""Bringing a release onto one host: pushed over the kept connection, or pulled by the host; hashed again there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tasks.session import HostWork, RunSession
from upkeep.domain.change import Step
from upkeep.hosts.host_change import Order

PIECE_BYTES = 1 << 20


def deliver(session: RunSession, work: HostWork, order: Order, *, stage: str) -> None:
    """Deliver the archive, go on where an earlier try stopped, unpack it beside the old version and let it judge the configuration.

    Raises:
        StepFailed: with ChecksumMismatch, ArtifactError or CommandFailed as cause.
    """
    delivery, archive = session.record.plan.delivery, session.archive_by_hash(order.artifact_sha256)
    with session.step(work.host.name, Step.FETCH, stage=stage) as step:
        if delivery.how == "pull":
            step.body["url"] = archive.url
            work.change.fetch(order, archive.url, rate_limit=delivery.rate_limit, timeout=delivery.timeout)
        else:
            offset = work.change.partial_size(order)
            step.body["resumed_at_bytes"] = offset
            work.change.deliver(order, pieces(archive.path, offset), offset=offset)
        work.change.stage(order)


def pieces(path: Path, offset: int) -> Iterator[bytes]:
    """A file's bytes from `offset`, in pieces of 1 MiB."""
    with path.open("rb") as file:
        file.seek(offset)
        while piece := file.read(PIECE_BYTES):
            yield piece
