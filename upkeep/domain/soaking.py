"""Watching a stage for its soak time."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime

from upkeep.domain.gate import Sample
from upkeep.domain.orders import Looked
from upkeep.domain.plan import Plan
from upkeep.domain.stages import PlannedStage


class Watch:
    """One stage being watched: when it is looked at next, whether its soak time is over, what the triggers' figures were."""

    def __init__(self, started: datetime | None = None) -> None:
        self.started = started
        self.looked_at: datetime | None = None
        self.looking = False
        self.figures: dict[str, list[Sample]] = defaultdict(list)

    def next_look(self, stage: PlannedStage, plan: Plan) -> datetime | None:
        """A look right away, then one every `plan.soak.every`, and one when the soak time ends."""
        if self.started is None or self.looked_at is None:
            return self.started
        end = self.started + stage.soak
        regular = self.looked_at + plan.soak.every
        return end if self.looked_at < end < regular else regular

    def due(self, now: datetime, stage: PlannedStage, plan: Plan) -> bool:
        """Whether to look now."""
        at = self.next_look(stage, plan)
        return not self.looking and at is not None and now >= at

    def over(self, now: datetime, stage: PlannedStage) -> bool:
        """Whether the soak time has passed."""
        return self.started is not None and now - self.started >= stage.soak

    def take(self, event: Looked, now: datetime) -> None:
        """Keep what a look found."""
        self.looking, self.looked_at = False, now
        for name, value in event.figures.items():
            self.figures[name].append(Sample(now, value))
