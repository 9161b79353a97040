"""Gates: go, hold or roll back, decided from findings and figures. Unknown is never go."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise

from upkeep.domain.document import words
from upkeep.domain.plan import Soak, Trigger


class Decision(StrEnum):
    """What a gate says; `wait` means it cannot tell yet and wants to look again."""

    GO = "go"
    WAIT = "wait"
    HOLD = "hold"
    ROLL_BACK = "roll back"


_ORDER = [Decision.GO, Decision.WAIT, Decision.HOLD, Decision.ROLL_BACK]


@dataclass(frozen=True)
class Judgement:
    """A gate's decision with its reason; `trigger` is set where a trigger decided."""

    decision: Decision
    reason: str
    trigger: Trigger | None = None


@dataclass(frozen=True)
class Sample:
    """One look at a figure; None means the source was silent or gave no number."""

    at: datetime
    value: float | None

    @property
    def figure(self) -> float | None:
        """The value, unless it is missing, NaN or infinite."""
        return self.value if self.value is not None and math.isfinite(self.value) else None


def failure_rate_bound(clean: int, confidence: float = 0.95) -> float:
    """How high the true failure rate may still be, 0 to 1, after `clean` hosts without a failure (exact binomial bound)."""
    return 1.0 if clean <= 0 else 1 - (1 - confidence) ** (1 / clean)


def judge_trigger(trigger: Trigger, samples: Sequence[Sample], soak: Soak, *, over: bool) -> Judgement:
    """Judge one trigger's samples, oldest first; `over` says that the soak time has passed.

    A counter is judged by its increase.
    A breach must last `trigger.lasting`; silence neither ends nor lengthens it. `soak.silent_limit` silent looks in a row hold.
    """
    silent = _trailing_silence(samples)
    if silent >= soak.silent_limit:
        return Judgement(
            Decision.HOLD,
            f"{trigger.name}: the source was silent {silent} times in a row; no data is not good data",
            trigger,
        )
    known = [s for s in samples if s.figure is not None]
    known = per_second(known) if trigger.counter else known
    lasted = _breach(trigger, known)
    if lasted is not None and lasted >= trigger.lasting:
        return Judgement(
            Decision.ROLL_BACK, f"{trigger.name}: {_limit(trigger, known[-1])} for {words(lasted)}", trigger
        )
    if not over:
        return Judgement(Decision.GO, "")
    if lasted is not None:
        return Judgement(
            Decision.WAIT,
            f"{trigger.name}: {_limit(trigger, known[-1])} for {words(lasted)} of {words(trigger.lasting)}",
            trigger,
        )
    if len(known) < soak.samples:
        return Judgement(Decision.HOLD, f"{trigger.name}: {len(known)} figures of {soak.samples} needed", trigger)
    return Judgement(Decision.GO, f"{trigger.name}: within its limit in {len(known)} figures", trigger)


def per_second(counts: Sequence[Sample]) -> list[Sample]:
    """A counter's increase per second between looks; one that is lower than before was reset and has counted from zero since.

    Source: `rate()` of Prometheus treats a reset alike.
    """
    rates: list[Sample] = []
    for before, now in pairwise(counts):
        seconds = (now.at - before.at).total_seconds()
        count, earlier = now.figure or 0.0, before.figure or 0.0
        if seconds > 0:
            rates.append(Sample(now.at, (count if count < earlier else count - earlier) / seconds))
    return rates


def judge_stage(
    triggers: Sequence[Trigger],
    figures: Mapping[str, Sequence[Sample]],
    soak: Soak,
    *,
    over: bool,
    finished: int,
    is_canary: bool,
) -> Judgement:
    """The gate after a stage: the worst of its triggers, hold where no canary host finished, else go with the evidence there is."""
    judged = [judge_trigger(t, figures.get(t.name, ()), soak, over=over) for t in triggers]
    worst = max(judged, key=lambda j: _ORDER.index(j.decision), default=Judgement(Decision.GO, ""))
    if worst.decision is not Decision.GO:
        return worst
    if finished == 0 and is_canary:
        return Judgement(Decision.HOLD, "no canary host runs the new version, so nothing is known about it")
    if finished == 0:
        return Judgement(Decision.GO, "no host of this stage was changed; the failures are within their limits")
    kind = "canary hosts" if is_canary else "hosts"
    return Judgement(
        Decision.GO,
        f"{finished} of {finished} finished {kind} are fine; the failure rate may still be up to {failure_rate_bound(finished):.0%} (95 %)",
    )


def _trailing_silence(samples: Sequence[Sample]) -> int:
    return next((n for n, sample in enumerate(reversed(samples)) if sample.figure is not None), len(samples))


def _breach(trigger: Trigger, known: Sequence[Sample]) -> timedelta | None:
    """How long the latest figures have been beyond the limit; None when the last one is within it."""
    start: datetime | None = None
    for sample in reversed(known):
        if not _beyond(trigger, sample.figure or 0):
            break
        start = sample.at
    return None if start is None else known[-1].at - start


def _beyond(trigger: Trigger, value: float) -> bool:
    return value > trigger.above if trigger.above is not None else value < (trigger.below or 0)


def _limit(trigger: Trigger, sample: Sample) -> str:
    side = f"above {trigger.above:g}" if trigger.above is not None else f"below {trigger.below:g}"
    return f"{sample.figure:g}, {side},"
