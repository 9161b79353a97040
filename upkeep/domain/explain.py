"""A plan read back as sentences, with the numbers of one fleet: what starts when, what stops it, what comes back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from upkeep.domain.approval_rule import EVERY, LATER
from upkeep.domain.document import words
from upkeep.domain.failure import StopRule
from upkeep.domain.gate import failure_rate_bound
from upkeep.domain.plan import Plan, Trigger
from upkeep.domain.release import Release
from upkeep.domain.stages import PlannedStage, StagePlan
from upkeep.domain.stopping import down_allowed

_UNDO = {
    "keep": "hosts already committed keep the new version until a person decides",
    "roll back stage": "the committed hosts of that stage go back by themselves",
    "roll back all": "every committed host goes back by itself",
}


def explain(plan: Plan, stages: StagePlan, *, release: Release | None, fleet_size: int) -> list[str]:
    """The plan's sentences for a fleet of `fleet_size` targets sorted into `stages`."""
    return [
        *_what(plan, release, fleet_size),
        *_order(stages),
        *_one_host(plan),
        *_limits(plan, stages, fleet_size),
        *_people(plan),
        *_isolation(plan, fleet_size),
        *(_trigger(trigger) for trigger in plan.triggers),
        *_way_back(plan, release),
        _duration(plan, stages, fleet_size),
        *(f"Note: {note}." for note in stages.notes),
    ]


def shortest_duration(plan: Plan, stages: StagePlan, fleet_size: int) -> timedelta:
    """What the waiting alone takes: healthy times in turns of the down-budget, and soak times."""
    at_once = min(down_allowed(fleet_size, plan.down_budget_pct), plan.at_once)
    turns = sum(-(-len(stage.hosts) // at_once) for stage in stages.stages)
    return turns * plan.healthy_time + sum((stage.soak for stage in stages.stages), timedelta())


def _people(plan: Plan) -> Iterator[str]:
    for rule in plan.approvals:
        which = {EVERY: "every stage", LATER: "every stage but the first"}.get(rule.stage, f"stage '{rule.stage}'")
        yield f"Before {which} the run waits, for {words(rule.expires)} at most, for {rule.told()} to approve, never whoever asked for it."


def _isolation(plan: Plan, fleet_size: int) -> Iterator[str]:
    rules = plan.isolation
    if rules is not None:
        yield (
            f"An inspection takes failing hosts out of service, at most {_hosts(rules.most(fleet_size))} at once, "
            f"and puts those back that have been healthy for {words(rules.healthy_for)}."
        )


def _what(plan: Plan, release: Release | None, fleet_size: int) -> Iterator[str]:
    target = f"{release.product} {release.version}" if release else plan.release
    yield f"Plan '{plan.name}' takes {_hosts(fleet_size)} ({plan.targets}) to {target}."
    yield "Every target is checked before the first one is changed, and once more right before its turn."


def _order(stages: StagePlan) -> Iterator[str]:
    for number, stage in enumerate(stages.stages, 1):
        yield f"Stage {number}, {stage.name}: {_hosts(len(stage.hosts))} ({_names(stage)}), then watched for {words(stage.soak)}."
        if stage.is_canary:
            clean = len(stage.hosts)
            yield (
                f"The canary holds {len(stage.cohorts)} of the fleet's cohorts; {clean} clean hosts mean the failure rate may still be "
                f"up to {failure_rate_bound(clean):.0%} (95 %)."
            )
    if any(stage.is_canary for stage in stages.stages) is False and stages.stages:
        yield "There is no canary stage: the first stage is not chosen by cohort."


def _one_host(plan: Plan) -> Iterator[str]:
    yield (
        f"A host counts as changed after {words(plan.healthy_time)} without a restart, at the latest {words(plan.healthy_deadline)} after "
        f"the switch; without a commit within {words(plan.dead_man)} it goes back by itself, also when nobody can reach it."
    )


def _limits(plan: Plan, stages: StagePlan, fleet_size: int) -> Iterator[str]:
    allowed = down_allowed(fleet_size, plan.down_budget_pct)
    yield (
        f"At most {_hosts(allowed)} {'is' if allowed == 1 else 'are'} down at once, counting hosts that were down before, are set aside "
        f"or failed in this run; when these use up the budget, no further host is started and the run is held."
    )
    canary = next((len(stage.hosts) for stage in stages.stages if stage.is_canary), 0)
    rules = plan.failures
    if canary:
        yield f"In the canary the run stops at the {_ordinal(rules.canary.stops_at(canary))} failed host."
    yield f"Later it stops {_later(rules.later, fleet_size)}; {_UNDO[plan.on_stop]}."
    yield f"Unreachable hosts are set aside for later; the run {_stops(rules.unreachable, fleet_size, 'targets')}."
    yield f"Hosts that fail the pre-update check are left out; the run {_stops(rules.precheck, fleet_size, 'targets')}."
    yield f"Hosts lacking disk, memory or network are left out; the run {_stops(rules.environment, fleet_size, 'targets')}."
    yield "A host whose rollback fails is quarantined and stops the run at once."


def _later(rule: StopRule, of: int) -> str:
    share = f"at least {rule.at_pct:g} %" if rule.at_pct is not None else f"more than {rule.over_pct or 0:g} %"
    first, last = rule.at_least, rule.stops_at(of)
    until = next((n - 1 for n in range(first, of + 1) if not rule.stops(first, n)), of)
    numbers = f"at the {_ordinal(first)} failure"
    if last > first and until >= first:
        numbers += f" while up to {until} hosts are finished, at the {_ordinal(last)} when all {of} are"
    return f"when at least {first} and {share} of the hosts finished so far failed: {numbers}"


def _stops(rule: StopRule, of: int, what: str) -> str:
    at = rule.stops_at(of)
    share = f"at least {rule.at_pct:g} %" if rule.at_pct is not None else f"more than {rule.over_pct or 0:g} %"
    if at > of:
        return f"never stops for them alone ({at} needed, there are {of})"
    return f"stops at the {_ordinal(at)} of {of} {what} (at least {rule.at_least} and {share})"


def _trigger(trigger: Trigger) -> str:
    side = f"above {trigger.above:g}" if trigger.above is not None else f"below {trigger.below:g}"
    side += " a second" if trigger.counter else ""
    lasting = f" for {words(trigger.lasting)}" if trigger.lasting else ""
    return f"While hosts are watched: when '{trigger.name}' is {side}{lasting}, {trigger.then}; when its source is silent, hold."


def _way_back(plan: Plan, release: Release | None) -> Iterator[str]:
    data = release.data_change if release else "none"
    extra = {"one-way": ", and the agent's data, which this release changes one way,", "reversible": "", "none": ""}[
        data
    ]
    window = words(plan.rollback_window)
    yield f"A rollback puts back binary and configuration{extra} from the backup taken minutes before; it stays possible for {window}."


def _duration(plan: Plan, stages: StagePlan, fleet_size: int) -> str:
    return f"Waiting alone takes {words(shortest_duration(plan, stages, fleet_size)) or '0 s'}; the work on each host comes on top."


def _hosts(number: int) -> str:
    return "1 host" if number == 1 else f"{number} hosts"


def _names(stage: PlannedStage, limit: int = 6) -> str:
    more = f", … {len(stage.hosts) - limit} more" if len(stage.hosts) > limit else ""
    return ", ".join(stage.hosts[:limit]) + more


def _ordinal(number: int) -> str:
    suffix = "th" if number % 100 in {11, 12, 13} else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"
