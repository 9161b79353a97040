"""Whether what a run was frozen from says something else now: an approval is one of exactly what was shown."""

from __future__ import annotations

from typing import Any

from tasks.prepare_run import prepare
from upkeep.domain.drift import difference
from upkeep.domain.record import RunRecord
from upkeep.errors import UpkeepError
from upkeep.wiring import Site


def drift(site: Site, record: RunRecord) -> str:
    """What differs between the run and its files as they are now, in words; empty when nothing. What cannot be read differs."""
    if record.asked is None:
        return ""
    try:
        now = prepare(site, record.runbook, record.asked, with_archives=False).record
    except UpkeepError as error:
        return f"what the run was made from cannot be read any more: {error}"
    if now.plan_hash == record.plan_hash:
        return ""
    return "; ".join(difference(_subject(record), _subject(now))) or "a masked value"


def _subject(record: RunRecord) -> dict[str, Any]:
    """What the plan hash covers."""
    return {
        "plan": record.plan.model_dump(mode="json"),
        "profile": record.profile.model_dump(mode="json"),
        "release": record.release.model_dump(mode="json") if record.release else None,
        "hosts": [host.model_dump(mode="json") for host in record.targets],
    }
