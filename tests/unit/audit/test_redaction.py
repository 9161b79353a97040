"""What is only looked at where a text holds a word of it is masked like before: no form slips by the shorter way (D6; issue 6: planted secrets)."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upkeep.audit.chain import canonical
from upkeep.audit.redaction import MASK, Redaction

WORDS = (
    "Authorization",
    "author\u0131zation",
    "proxy-authorization",
    "Password",
    "pa\u017f\u017fword",
    "passwd",
    "secret",
)
MORE = ("Api_Key", "apiKey", "api-key", "toKen", "bearer ", ": ", "=", " ", "'", "12:30", "\0", "\ud800", "ü")
LONGER = ("https://me:", "hunter2222", "@db/x", "-----BEGIN A PRIVATE KEY-----", "-----END A PRIVATE KEY-----")
PIECES = st.sampled_from((*WORDS, *MORE, *LONGER))
TEXTS = st.lists(PIECES | st.text(max_size=6), max_size=6).map("".join)
DATA = st.recursive(
    TEXTS | st.integers() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
WHOLE = (
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    r"(?i)((?:authorization|proxy-authorization)\s*[:=]\s*(?:bearer|basic|token)?\s*)[^\s'\",;]+",
    r"(?i)(\b(?:password|passwd|secret|token|api[_-]?key)\b\s*[=:]\s*)[^\s'\",;]+",
    r"([a-z][a-z0-9+.-]*://[^/\s:@]*:)[^@\s/]+(?=@)",
)


def _the_long_way(text: str) -> str:
    text = re.sub("[\0\ud800-\udfff]", "\ufffd", text)
    for form in WHOLE:
        found = re.compile(form, re.DOTALL if form.startswith("-") else 0)
        text = found.sub(lambda match: (match[1] if match.re.groups else "") + MASK, text)
    return text


@given(st.lists(PIECES | st.text(max_size=6), max_size=12).map("".join))
def test_every_form_of_secret_is_masked_wherever_it_stands(text: str) -> None:
    assert Redaction().text(text) == _the_long_way(text)


@pytest.mark.parametrize("key", ["password", "DB_PASSWORD", "apikey", "api_key", "private_key", "clientSecret"])
def test_what_stands_under_a_secrets_name_is_masked_and_numbers_stay(key: str) -> None:
    assert Redaction().data({key: "hunter2222", "port": 22, "none": None}) == {key: MASK, "port": 22, "none": None}
    assert Redaction().data([{key: ["kept"]}]) == [{key: ["kept"]}]


@given(DATA, st.text('ab"\\\n\tü', min_size=4, max_size=5), st.booleans())
def test_an_event_that_is_written_as_it_came_holds_nothing_that_would_be_masked(
    data: object, secret: str, told: bool
) -> None:
    redaction, event = Redaction(), {"data": data, "told": f"it is {secret}" if told else ""}
    redaction.mask(secret)
    assert redaction.may_change(canonical(event)) or redaction.data(event) == event


def test_an_ordinary_event_is_not_taken_apart() -> None:
    event = {"reason": "all is as it should be", "commands": ["curl http://127.0.0.1:8080/health; echo 12:30 = x"]}
    assert not Redaction().may_change(canonical(event))
