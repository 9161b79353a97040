"""Why an earlier run failed on a host: what it failed at, and the way to the host, measured."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta

from tasks.prepare_run import WITHOUT_RELEASE
from tasks.session import HostWork, RunSession
from upkeep.domain.finding import Finding, Verdict
from upkeep.errors import CommandTimeout, HostError
from upkeep.hosts.transport import Limits

CAUSES = "first_aid"
_FLOW_BYTES, _PIECE_BYTES = 1 << 20, 1 << 15
_LONGEST = timedelta(seconds=8)
_SLOW_MBIT, _TOO_SLOW_MBIT = 8.0, 1.0


def failed_run(session: RunSession) -> str:
    """The run whose failures are looked into; empty for a plain diagnosis, also when an earlier one is asked again."""
    of_run = session.record.of_run
    return of_run if of_run and session.history.run(of_run).runbook not in WITHOUT_RELEASE else ""


def aid_findings(session: RunSession, work: HostWork) -> list[Finding]:
    """What the earlier run failed at on this host, and how fast the way to it is."""
    return [_failed(session, work), _bandwidth(work)]


def _failed(session: RunSession, work: HostWork) -> Finding:
    of_run = failed_run(session)
    detail = session.history.run(of_run).hosts.get(work.host.name)
    steps = [step for step in session.history.steps(of_run, work.host.name) if step.reason]
    last = f"; last failed step: {steps[-1].step.value}: {steps[-1].reason}" if steps else ""
    reason = f"run {of_run}: {detail.reason if detail else 'it left no word'}{last}"
    return Finding(check="aid.failed", verdict=Verdict.FAIL, reason=reason, remedy="see the causes below")


def _bandwidth(work: HostWork) -> Finding:
    """A mebibyte sent to the host and thrown away there."""
    sent = 0

    def pieces() -> Iterator[bytes]:
        nonlocal sent
        while sent < _FLOW_BYTES:
            yield b"\0" * _PIECE_BYTES
            sent += _PIECE_BYTES

    began = time.monotonic()
    try:
        work.transport.run("cat >/dev/null", stdin=pieces(), limits=Limits(total=_LONGEST, idle=_LONGEST))
    except CommandTimeout:
        pass
    except HostError as error:
        return Finding(
            check="aid.bandwidth",
            verdict=Verdict.UNKNOWN,
            reason=f"the way to the host cannot be measured: {error.problem}",
            remedy="ask again",
        )
    return judged(sent, time.monotonic() - began)


def judged(sent_bytes: int, seconds: float) -> Finding:
    """What so many bytes in so much time mean."""
    mbit = 8 * sent_bytes / max(seconds, 1e-6) / 1e6
    verdict = Verdict.FAIL if mbit < _TOO_SLOW_MBIT else Verdict.WARN if mbit < _SLOW_MBIT else Verdict.PASS
    reason = (
        f"{sent_bytes} bytes to the host in {seconds:.1f} s: {mbit:.1f} Mbit/s, at least {_SLOW_MBIT:g} is accepted"
    )
    remedy = "look at the way: loss, shaping, a slow VPN" if verdict is not Verdict.PASS else ""
    return Finding(check="aid.bandwidth", verdict=verdict, reason=reason, remedy=remedy, value=mbit, unit="Mbit/s")
