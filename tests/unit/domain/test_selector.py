"""Selectors over labels, groups, names and globs."""

from __future__ import annotations

import pytest

from upkeep.domain.inventory import Host
from upkeep.domain.selector import Selector

HOSTS = [
    Host(name="web-1", address="10.0.0.1", groups=("web",), labels={"env": "prod", "zone": "a"}),
    Host(name="web-2", address="10.0.0.2", groups=("web",), labels={"env": "prod", "zone": "b"}),
    Host(name="web-3", address="10.0.0.3", groups=("web", "old"), labels={"env": "test", "zone": "a"}),
    Host(name="db-1", address="10.0.0.4", groups=("db",), labels={"env": "prod"}),
]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "db-1 web-1 web-2 web-3"),
        ("all", "db-1 web-1 web-2 web-3"),
        ("env=prod", "db-1 web-1 web-2"),
        ("env=prod,zone!=b", "db-1 web-1"),
        ("env=prod,zone=a|b", "web-1 web-2"),
        ("web-*", "web-1 web-2 web-3"),
        ("web-*,!web-2", "web-1 web-3"),
        ("web-1,db-1", "db-1 web-1"),
        ("@web,env=prod", "web-1 web-2"),
        ("@web,!@old", "web-1 web-2"),
        ("!env=prod", "web-3"),
        ("nothing", ""),
        ("env=pro?", "db-1 web-1 web-2"),
    ],
)
def test_a_selector_picks_exactly_these_hosts(text: str, expected: str) -> None:
    assert " ".join(h.name for h in Selector(text).pick([*HOSTS, *HOSTS])) == expected


@pytest.mark.parametrize("text", [",", "a,,b", "!", "@", "env=prod,"])
def test_an_empty_term_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="empty term"):
        Selector(text)
