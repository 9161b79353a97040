"""The last look of a whole change: every changed host is verified once more, after all stages."""

from __future__ import annotations

from flows.each_host import for_each_host
from tasks.session import RunSession
from tasks.verify_host import verify_host
from upkeep.domain.change import HostOutcome, RunOutcome
from upkeep.domain.engine import Engine


def final_look(session: RunSession, engine: Engine) -> tuple[RunOutcome, str]:
    """Outcome and reason of the run; failed if a host that was committed is not well any more."""
    outcome, reason = engine.outcome or RunOutcome.FAILED, engine.reason
    if session.cancelled:
        return outcome, reason
    changed = [name for name, result in engine.results.items() if result.outcome is HostOutcome.COMMITTED]
    seen = for_each_host(session, verify_host, changed, keep=lambda result: result.outcome is not HostOutcome.PASSED)
    bad = sorted(name for name, result in seen.items() if result.outcome is not HostOutcome.PASSED)
    if not bad:
        return outcome, reason
    return RunOutcome.FAILED, f"{reason}; not well at the last look: {', '.join(bad)}"
