"""Findings against a host's own baseline: only what got worse is blamed on the change."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from upkeep.domain.finding import Finding, Verdict, blockers, regressions, worst


def finding(verdict: Verdict, check: str = "host.disk.free", *signatures: str) -> Finding:
    return Finding(check=check, verdict=verdict, reason="r", signatures=signatures)


def test_what_was_bad_before_is_not_blamed_on_the_change() -> None:
    sick = finding(Verdict.FAIL)
    assert regressions([sick], [sick]) == ()


def test_what_got_worse_or_is_new_is_blamed() -> None:
    assert regressions([finding(Verdict.PASS)], [finding(Verdict.FAIL)])
    assert regressions([], [finding(Verdict.UNKNOWN)])
    assert regressions([finding(Verdict.UNKNOWN)], [finding(Verdict.FAIL)])


def test_an_error_in_the_log_counts_only_if_its_kind_was_not_there_before() -> None:
    before = finding(Verdict.FAIL, "log.errors", "timeout to <n>")
    assert regressions([before], [finding(Verdict.FAIL, "log.errors", "timeout to <n>")]) == ()
    assert regressions([before], [finding(Verdict.FAIL, "log.errors", "timeout to <n>", "cannot open state")])


def test_nothing_known_is_unknown_and_fails_come_first() -> None:
    assert worst([]) is Verdict.UNKNOWN
    assert [f.verdict for f in blockers([finding(Verdict.UNKNOWN), finding(Verdict.WARN), finding(Verdict.FAIL)])] == [
        Verdict.FAIL,
        Verdict.UNKNOWN,
    ]


@given(st.lists(st.sampled_from(list(Verdict)), min_size=1))
def test_a_pass_overall_means_every_finding_passed(verdicts: list[Verdict]) -> None:
    assert (worst(finding(v) for v in verdicts) is Verdict.PASS) == all(v is Verdict.PASS for v in verdicts)
