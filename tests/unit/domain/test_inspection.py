"""Inspections compared: with last time, with peers, with what a run left, and over weeks (issue 7: 2; U12 D7 R6 R7; peers 35-37)."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upkeep.documents import load_catalogue
from upkeep.domain.check import Catalogue, Check
from upkeep.domain.finding import Finding, Verdict
from upkeep.domain.inspection import (
    COHORT_LEAST,
    Acknowledgement,
    Left,
    Looked,
    compare,
    days_until,
    looked,
    outliers,
    over_time,
)

CATALOGUE = load_catalogue()
NOW = datetime(2026, 11, 21, 3, tzinfo=UTC)
DISK = "host.disk.used:/"


def finding(check: str = "host.disk.used", verdict: Verdict = Verdict.FAIL, subject: str = "/") -> Finding:
    return Finding(check=check, subject=subject, verdict=verdict, reason="full", remedy="free it")


def look(host: str = "h1", *problems: Finding, days_ago: float = 0, **more: object) -> Looked:
    return Looked.model_validate(
        {"host": host, "at": NOW - timedelta(days=days_ago), "cohort": "debian", "problems": problems, **more}
    )


def words(now: Looked, *earlier: Looked, left: Left | None = None) -> list[str]:
    return [f"{f.key}: {f.reason}" for f in over_time(CATALOGUE, now, earlier, left)]


def test_of_good_findings_only_figures_and_fingerprints_are_kept() -> None:
    good = Finding(check="host.disk.used", subject="/", verdict=Verdict.PASS, reason="ok", value=40.0)
    hashed = Finding(check="agent.config.content", verdict=Verdict.PASS, reason="x", signatures=("abc",))
    silent = Finding(check="host.uptime", verdict=Verdict.UNKNOWN, reason="?")
    kept = looked("h1", "c", "1.0", [good, hashed, silent], NOW)
    assert (kept.figures, kept.prints, kept.problems, kept.passed) == (
        {DISK: 40.0},
        {"agent.config.content": "abc"},
        (silent,),
        2,
    )


def test_what_is_new_still_there_and_gone_is_told_apart() -> None:
    old, new, both = finding("agent.state"), finding("host.disk.used"), finding("agent.user")
    changes = compare({"h1": look("h1", old, both)}, {"h1": look("h1", new, both)}, [], NOW)
    assert [[i.finding.check for i in kind] for kind in (changes.new, changes.still, changes.gone)] == [
        ["host.disk.used"],
        ["agent.user"],
        ["agent.state"],
    ]
    assert changes.words() == "1 new, 1 still, 1 gone"
    assert changes.changed


def test_the_same_as_last_time_is_no_change_to_tell() -> None:
    one = {"h1": look("h1", finding())}
    assert not compare(one, one, [], NOW).changed


def test_what_became_unknown_is_not_gone_and_a_silent_host_loses_nothing() -> None:
    before = {"h1": look("h1", finding()), "h2": look("h2", finding())}
    changes = compare(before, {"h1": look("h1", finding(verdict=Verdict.UNKNOWN))}, [], NOW, ["h2"])
    assert (len(changes.still), len(changes.gone), changes.silent) == (1, 0, ("h2",))
    assert "1 hosts did not answer" in changes.words()


@pytest.mark.parametrize(("host", "check", "days", "known"), [("h1", DISK, 1, True), ("all", "host.disk.used", 1, True), ("h2", DISK, 1, False), ("h1", "agent.user", 1, False), ("h1", DISK, 0, False)])  # fmt: skip
def test_a_known_issue_alerts_nobody_until_its_day_is_over(host: str, check: str, days: int, known: bool) -> None:
    acknowledged = Acknowledgement(host=host, check=check, until=NOW + timedelta(days=days))
    changes = compare({}, {"h1": look("h1", finding())}, [acknowledged], NOW)
    assert (len(changes.acknowledged) == 1, changes.changed) == (known, not known)


def test_a_counter_is_judged_by_what_came_since_the_last_look() -> None:
    before = look(days_ago=1, figures={"host.oom.kills": 3})
    assert words(look(figures={"host.oom.kills": 3}), before) == []
    (said,) = words(look(figures={"host.oom.kills": 5}), before)
    assert said.startswith("host.oom.kills: 2 more since 2026-11-20 03:00 UTC (5 processes killed")
    assert words(look(figures={"host.oom.kills": 5})) == [], "a first look has nothing to compare with"
    assert words(look(figures={"host.oom.kills": 1}), before) == [], "a reboot starts the counter anew"


def test_a_disk_that_fills_is_told_with_the_days_left() -> None:
    earlier = [look(days_ago=d, figures={DISK: 80 - 2 * d}) for d in (4, 3, 2, 1)]
    assert words(look(figures={DISK: 80}), *earlier) == [
        "host.disk.used:/ trend: 80 % now; as it goes, 100 % in 10 days"
    ]


@pytest.mark.parametrize(
    "values",
    [[80, 80, 80, 80, 80], [90, 85, 80, 75, 70], [70, 95, 40, 90, 60], [70.0, 70.1, 70.2, 70.3, 70.4]],
    ids=["still", "falling", "up-and-down", "slowly"],
)
def test_a_disk_that_does_not_fill_soon_is_not_told(values: list[float]) -> None:
    *earlier, now = [look(days_ago=4 - n, figures={DISK: value}) for n, value in enumerate(values)]
    assert words(now, *earlier) == []


@given(st.lists(st.floats(0, 100, allow_nan=False), min_size=0, max_size=3), st.integers(1, 30))
def test_few_points_make_no_forecast(values: list[float], days: int) -> None:
    assert days_until(100, [(NOW + timedelta(days=days * n), value) for n, value in enumerate(values)]) is None


def test_points_of_one_afternoon_make_no_forecast() -> None:
    assert days_until(100, [(NOW + timedelta(minutes=n), 50 + n) for n in range(20)]) is None


def test_what_drifted_since_the_last_run_is_told_until_the_next_run_or_till_it_is_back() -> None:
    left = Left(NOW - timedelta(days=3), "1.5.0")
    before_run, after_run = (look(days_ago=d, prints={"agent.config.content": p}) for d, p in ((4, "old"), (2, "good")))
    yesterday = look(days_ago=1, prints={"agent.config.content": "edited"})
    (said,) = words(look(prints={"agent.config.content": "edited"}), before_run, after_run, yesterday, left=left)
    assert "good then (the last run's state, first seen 2026-11-19 03:00 UTC), edited now" in said
    assert words(look(prints={"agent.config.content": "good"}), before_run, after_run, yesterday, left=left) == []
    assert words(look(prints={"agent.config.content": "x"}), before_run, left=left) == [], "the run may have changed it"


def test_a_version_that_no_run_left_is_told() -> None:
    (said,) = words(look(version="1.4.0"), left=Left(NOW - timedelta(days=1), "1.5.0"))
    assert "1.4.0 runs; the last run, of 2026-11-20 03:00 UTC, left 1.5.0" in said
    assert words(look(version="1.5.0"), left=Left(NOW, "1.5.0")) == []


def fleet(odd: float, count: int = 6) -> list[Looked]:
    return [look(f"h{n}", figures={"agent.threads": 20 + n % 2}) for n in range(count)] + [
        look("odd", figures={"agent.threads": odd})
    ]


def test_a_host_that_stands_out_from_those_like_it_is_named() -> None:
    found = outliers(CATALOGUE, fleet(400))
    assert list(found) == ["odd"]
    assert found["odd"][0].reason == "400, while 6 hosts like it have about 21"
    assert found["odd"][0].verdict is Verdict.WARN


@pytest.mark.parametrize(("odd", "count"), [(21, 6), (24, 6), (400, 2)], ids=["alike", "nearly", "too-few"])
def test_hosts_that_are_alike_or_too_few_stand_out_from_nobody(odd: float, count: int) -> None:
    assert outliers(CATALOGUE, fleet(odd, count)) == {}


def test_another_kernel_than_its_cohort_is_named_and_a_fleet_in_transition_is_not() -> None:
    def kernels(*names: str) -> list[Looked]:
        return [look(f"h{n}", prints={"host.system.kernel": name}) for n, name in enumerate(names)]

    found = outliers(CATALOGUE, kernels("6.1", "6.1", "6.1", "6.1", "6.1", "5.10"))
    assert {host: f[0].reason for host, f in found.items()} == {"h5": "5.10, while 5 of 6 hosts like it have 6.1"}
    assert outliers(CATALOGUE, kernels("6.1", "6.1", "6.1", "5.10", "5.10", "5.10")) == {}


def test_a_kind_of_error_that_no_earlier_look_saw_is_told_once() -> None:
    check = Check.model_validate(
        {"id": "agent.log.kind", "asks": "?", "look": "journal", "new": True, "severity": "warn", "says": "{subject}"}
    )
    catalogue = Catalogue((check,))
    old, new = "agent.log.kind:ERROR job # failed", "agent.log.kind:ERROR disk: full"

    def look(*keys: str) -> Looked:
        return Looked(host="h1", at=datetime.now(UTC), figures=dict.fromkeys(keys, 1.0))

    assert over_time(catalogue, look(old), []) == [], "the first look knows nothing of what is new"
    (told,) = over_time(catalogue, look(old, new), [look(old)])
    assert (told.subject, told.verdict, told.reason) == ("ERROR disk: full", Verdict.WARN, "new: ERROR disk: full")
    second = look(old, new).with_problems([told])
    assert over_time(catalogue, look(old, new), [look(old), second]) == []
    changes = compare({"h1": second}, {"h1": look(old, new)}, [], datetime.now(UTC), once={"agent.log.kind"})
    assert not changes.changed, "that it is no news any more is none"


def plain_outliers(fleet: Sequence[Looked]) -> set[tuple[str, str, str]]:
    """Who stands out, found out the slow way: every key of every host, by the words of the docs."""
    found = set()
    for one in fleet:
        crowd = [other for other in fleet if other.cohort == one.cohort]
        for key, value in one.figures.items():
            check, values = CATALOGUE.find(key.partition(":")[0]), [o.figures[key] for o in crowd if key in o.figures]
            if check and check.peers and len(values) >= COHORT_LEAST:
                middle = statistics.median(values)
                spread = 1.4826 * statistics.median(abs(v - middle) for v in values)
                if abs(value - middle) > max(6 * spread, abs(middle) / 2, 5):
                    found.add((one.host, check.id, f"{middle:g}"))
        for key, value in one.prints.items():
            check, said = CATALOGUE.find(key.partition(":")[0]), [o.prints[key] for o in crowd if key in o.prints]
            same = max((v for v in said), key=said.count)
            if check and check.peers and len(said) >= COHORT_LEAST and 100 * said.count(same) >= 80 * len(said):
                found |= {(one.host, check.id, same)} if value != same else set()
    return found


PEERED = [check.id for check in CATALOGUE.checks if check.peers]
FIGURES = st.dictionaries(st.sampled_from([*PEERED[:4], "host.disk.used:/", "no.check"]), st.sampled_from([0, 1, 2, 50, 51, 900]))  # fmt: skip
PRINTS = st.dictionaries(st.sampled_from([*PEERED[:3], "agent.program", "no.check"]), st.sampled_from("aaaaaaaab"))
FLEET = st.lists(st.tuples(st.sampled_from(["x", "x", "x", "y"]), FIGURES, PRINTS), max_size=24)


@settings(max_examples=60, deadline=None)
@given(FLEET)
def test_one_pass_over_a_cohort_finds_whom_comparing_everybody_with_everybody_finds(
    drawn: list[tuple[str, dict[str, float], dict[str, str]]],
) -> None:
    fleet = [look(f"h{n}", cohort=cohort, figures=f, prints=p) for n, (cohort, f, p) in enumerate(drawn)]
    found = {
        (host, one.check, one.reason.rpartition(" have ")[2].removeprefix("about "))
        for host, several in outliers(CATALOGUE, fleet).items()
        for one in several
    }
    assert found == plain_outliers(fleet)


@given(st.lists(st.tuples(st.sampled_from(["h1", "h2", "all"]), st.sampled_from([DISK, "host.disk.used", "agent.user"]), st.integers(-2, 3)), max_size=8))  # fmt: skip
def test_many_known_issues_are_known_as_long_as_the_one_that_lasts_longest(drawn: list[tuple[str, str, int]]) -> None:
    known = [Acknowledgement(host=h, check=c, until=NOW + timedelta(days=d)) for h, c, d in drawn]
    changes = compare({}, {"h1": look("h1", finding())}, known, NOW)
    until = max((one.until for one in known if one.covers("h1", finding(), NOW)), default=None)
    assert [item.known_until for item in (*changes.new, *changes.acknowledged)] == [until]
    assert bool(changes.acknowledged) == (until is not None)


def test_a_cohort_ten_times_as_large_costs_no_hundred_times() -> None:
    """Log lines of a kind of their own on every host: what made comparing quadratic."""

    def looks(count: int) -> list[Looked]:
        figures = [{f"agent.log.kind:{n} {k}": 1.0 for k in range(20)} for n in range(count)]
        return [look(f"h{n}", figures=own) for n, own in enumerate(figures)]

    def seconds(fleet: list[Looked]) -> float:
        began = time.thread_time()
        assert not outliers(CATALOGUE, fleet)
        return time.thread_time() - began

    small, large = looks(150), looks(1500)
    assert min(seconds(large) for _ in range(3)) < 40 * min(seconds(small) for _ in range(3))
