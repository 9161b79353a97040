"""Who guesses tokens is slowed down, and nobody else (issue 5: 5, Bad input; R4; fault 53)."""

from __future__ import annotations

import pytest
from fastapi import HTTPException

from upkeep.webhook.guessing import FORGOTTEN_SECONDS, FREE, LONGEST_SECONDS, MOST_ADDRESSES, Guessing


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def guessed(guessing: Guessing, address: str, times: int) -> None:
    for _ in range(times):
        guessing.wrong(address)


def test_a_few_mistakes_cost_nothing_and_each_further_one_doubles_the_wait_up_to_five_minutes() -> None:
    clock = Clock()
    guessing = Guessing(clock)
    guessed(guessing, "10.0.0.1", FREE - 1)
    guessing.refuse("10.0.0.1")
    waits = []
    for _ in range(12):
        guessing.wrong("10.0.0.1")
        waits.append(guessing.wait("10.0.0.1"))
    assert waits[:4] == [2, 4, 8, 16]
    assert waits[-1] == LONGEST_SECONDS
    clock.now += LONGEST_SECONDS
    guessing.refuse("10.0.0.1")


def test_the_refusal_says_how_long_and_other_addresses_are_not_touched() -> None:
    guessing = Guessing(Clock())
    guessed(guessing, "10.0.0.1", FREE + 1)
    with pytest.raises(HTTPException) as refused:
        guessing.refuse("10.0.0.1")
    assert (refused.value.status_code, refused.value.headers) == (429, {"Retry-After": "4"})
    guessing.refuse("10.0.0.2")


def test_an_ipv6_network_counts_as_one_address() -> None:
    guessing = Guessing(Clock())
    for last in range(FREE):
        guessing.wrong(f"2001:db8::{last:x}")
    assert guessing.wait("2001:db8::ffff") == 2
    assert guessing.wait("2001:db8:0:1::1") == 0


def test_a_right_token_and_a_quiet_quarter_of_an_hour_are_a_new_beginning() -> None:
    clock = Clock()
    guessing = Guessing(clock)
    guessed(guessing, "a", FREE)
    guessing.right("a")
    guessed(guessing, "a", FREE - 1)
    clock.now += FORGOTTEN_SECONDS + 1
    guessing.wrong("a")
    assert guessing.wait("a") == 0


def test_a_flood_of_addresses_fills_no_memory() -> None:
    guessing = Guessing(Clock())
    for number in range(MOST_ADDRESSES + 50):
        guessing.wrong(str(number))
    assert len(guessing._known) == MOST_ADDRESSES


def test_the_sign_in_page_answers_429_with_retry_after_and_looks_at_nothing_meanwhile(people, visit) -> None:
    browser = visit()
    for _ in range(FREE):
        assert browser.post("/sign-in", data={"token": "upkeep_wrong"}).status_code == 403
    for token in ("upkeep_wrong", people.by_name["ann"]):
        answer = browser.post("/sign-in", data={"token": token})
        assert (answer.status_code, int(answer.headers["retry-after"])) == (429, 2)
        assert "too many wrong tokens" in answer.text


def test_forged_approval_links_are_slowed_down_as_well(visit) -> None:
    browser = visit()
    codes = [browser.get("/approvals/link", params={"code": f"forged{n}"}).status_code for n in range(FREE + 1)]
    assert codes == [403] * FREE + [429]


class TestBehindTheSitesProxy:
    @pytest.fixture
    def environ(self) -> dict[str, str]:
        return {"UPKEEP_TRUSTED_PROXIES": "10.1.0.0/24", "UPKEEP_PROXY_HEADER": "X-Remote-User"}

    def test_the_address_is_that_of_who_asks_the_proxy(self, people, visit) -> None:
        browser = visit("", "10.1.0.7")
        for _ in range(FREE + 1):
            browser.post("/sign-in", data={"token": "x"}, headers={"X-Forwarded-For": "1.1.1.1, 192.0.2.9"})
        other = {"X-Forwarded-For": "192.0.2.9, 192.0.2.10"}
        assert browser.post("/sign-in", data={"token": people.by_name["ann"]}, headers=other).status_code == 303

    def test_what_anybody_else_says_of_their_address_is_not_believed(self, visit) -> None:
        browser = visit("", "192.0.2.1")
        answers = [
            browser.post("/sign-in", data={"token": "x"}, headers={"X-Forwarded-For": f"192.0.2.{n}"}).status_code
            for n in range(FREE + 1)
        ]
        assert answers[-1] == 429
