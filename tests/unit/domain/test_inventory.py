"""Inventory: layering, addresses, duplicates (faults 2, 4)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from upkeep.domain.inventory import Inventory, checked_address
from upkeep.domain.template import MissingVariable, fill


def inventory(**parts: object) -> Inventory:
    return Inventory.model_validate(parts)


def test_the_host_wins_over_its_groups_and_these_over_the_defaults() -> None:
    host = inventory(
        defaults={"user": "ops", "labels": {"env": "prod", "zone": "a"}, "vars": {"n": 1}},
        groups={"g": {"port": 2222, "labels": {"zone": "b"}}},
        hosts={"h1": {"address": "10.0.0.1", "groups": ["g"], "labels": {"rack": 7}}},
    ).host("h1")
    assert (host.reach.user, host.reach.port) == ("ops", 2222)
    assert host.labels == {"env": "prod", "zone": "b", "rack": "7"}
    assert host.variables()["host"] == "h1"


@pytest.mark.parametrize("address", ["10.0.0.1", "::1", "fe80::1%eth0", "host.example.org", "münchen.example"])
def test_addresses_names_and_ipv6_are_taken(address: str) -> None:
    assert checked_address(address)


@pytest.mark.parametrize(
    "address",
    ["", "10.0.0.1:22", "host;rm -rf /", "$(id)", "a b", "-oProxyCommand=x", "999.1.1.1", "h/../x", "user@host"],
)
def test_what_a_shell_or_resolver_could_misread_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="not an address"):
        checked_address(address)


@given(st.text(max_size=40))
def test_an_accepted_address_holds_no_shell_metacharacter(text: str) -> None:
    try:
        accepted = checked_address(text)
    except ValueError:
        return
    assert not set(accepted) & set(" \t\n;&|$`'\"\\<>(){}*?!#~=@/")


def test_two_names_for_one_machine_are_refused() -> None:
    with pytest.raises(ValidationError, match="'h1' and 'h2' are the same machine"):
        inventory(hosts={"h1": {"address": "10.0.0.1"}, "h2": {"address": "10.0.0.1"}})


def test_an_unknown_group_is_named_with_those_that_exist() -> None:
    with pytest.raises(ValidationError, match="'nope', which is not under groups; allowed: web"):
        inventory(groups={"web": {}}, hosts={"h1": {"groups": ["nope"]}})


def test_a_placeholder_without_a_value_says_which() -> None:
    with pytest.raises(MissingVariable) as caught:
        fill("{{ root }}/etc", {})
    assert caught.value.name == "root"


@given(st.text())
def test_what_is_put_into_a_template_is_not_read_again(value: str) -> None:
    assert fill("a{{ x }}b", {"x": value, "y": "!"}) == f"a{value}b"
