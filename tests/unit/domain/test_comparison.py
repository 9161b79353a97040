"""What was found again and again is told once (U10)."""

from __future__ import annotations

from upkeep.domain.comparison import before_after, told_once
from upkeep.domain.finding import Finding, Verdict


def finding(check: str = "metric.p95", verdict: Verdict = Verdict.PASS, value: float | None = None) -> Finding:
    return Finding(check=check, verdict=verdict, reason=f"{value}", value=value, unit="ms")


def test_a_figure_that_was_read_again_and_again_is_one_row_with_its_first_and_last_value() -> None:
    looks = [finding(value=value) for value in (9.0, 7.0, 5.0)]
    (row,) = before_after([finding(value=4.0)], looks)
    assert row.cells() == ("metric.p95", "4 ms", "9 at first, 5 ms at last (3 looks)", "+25 %", "pass")
    (single,) = before_after([], looks[:1])
    assert single.cells() == ("metric.p95", "", "9 ms", "", "pass")


def test_a_finding_that_stays_as_it_was_is_one_line_with_how_often_and_its_newest_reason() -> None:
    found = [("verify", finding(value=value)) for value in (9.0, 7.0, 5.0)]
    (line,) = told_once([("baseline", finding(value=4.0)), *found])[1:]
    assert (line.when, line.finding.reason) == ("verify, 3 times", "5.0")


def test_every_change_of_a_verdict_stays_visible() -> None:
    verdicts = [Verdict.PASS, Verdict.PASS, Verdict.FAIL, Verdict.PASS, Verdict.PASS]
    lines = told_once(("verify", finding(verdict=verdict)) for verdict in verdicts)
    assert [(line.when, line.finding.verdict.value) for line in lines] == [
        ("verify, 2 times", "pass"),
        ("verify", "fail"),
        ("verify, 2 times", "pass"),
    ]


def test_other_checks_in_between_do_not_break_a_line() -> None:
    lines = told_once(("verify", finding(check)) for check in ("a", "b", "a", "b"))
    assert [(line.finding.check, line.times) for line in lines] == [("a", 2), ("b", 2)]
