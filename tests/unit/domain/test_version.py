"""Versions and version rules (D6, U4)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upkeep.domain.version import Version, VersionRule


def test_versions_are_ordered_as_semver_says() -> None:
    rising = [
        "1.0.0-alpha",
        "1.0.0-alpha.1",
        "1.0.0-alpha.beta",
        "1.0.0-beta.2",
        "1.0.0-beta.11",
        "1.0.0-rc.1",
        "1.0.0",
        "1.9",
        "1.20",
        "2",
    ]
    versions = [Version.parse(text) for text in rising]
    assert sorted(versions[3:] + versions[:3]) == versions


def test_missing_parts_count_as_zero_and_a_leading_v_is_ignored() -> None:
    assert Version.parse("v1.5") == Version.parse("1.5.0")
    assert hash(Version.parse("v1.5")) == hash(Version.parse("1.5.0"))


@pytest.mark.parametrize("text", ["", "abc", "1..2", "1.2.x", "1.2 3", "-1"])
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a version"):
        Version.parse(text)


@pytest.mark.parametrize(
    ("rule", "version", "allowed"),
    [
        (">=1.3.0", "1.4.2", True),
        (">=1.3.0, <2", "2.0", False),
        ("1.4.2", "1.4.2", True),
        ("!=1.4.2", "1.4.2", False),
        ("=1.4", "1.4.0", True),
    ],
)
def test_a_rule_allows_what_all_its_clauses_allow(rule: str, version: str, allowed: bool) -> None:
    assert VersionRule(rule).allows(Version.parse(version)) is allowed


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=6), st.lists(st.integers(0, 10**6), min_size=1, max_size=6))
def test_exactly_one_of_less_equal_greater_holds(left: list[int], right: list[int]) -> None:
    a, b = (Version.parse(".".join(map(str, parts))) for parts in (left, right))
    assert [a < b, a == b, a > b].count(True) == 1
