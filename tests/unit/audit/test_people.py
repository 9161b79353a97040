"""People, their roles and tokens (issue 5: 5; R4; U7)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from upkeep.audit.people import People
from upkeep.domain.record import Actor
from upkeep.errors import BadInput

ROOT = Actor(name="root")


@pytest.fixture
def people(history) -> People:
    return People(history)


def test_a_person_signs_in_with_the_token_that_was_shown_once_and_with_no_other(people) -> None:
    token = people.add("bob", ["approver", "Tech-Lead"], ROOT)
    other = people.add("cat", ["viewer"], ROOT)
    bob = people.by_token(token + "\n")
    assert (bob.name, bob.roles) == ("bob", ("approver", "tech lead"))
    assert people.by_token(other).name == "cat"
    for wrong in ("", "bob", token[:-1], token.upper()):
        assert people.by_token(wrong) is None


def test_neither_the_database_nor_an_event_holds_a_token(people, history, database) -> None:
    token = people.add("bob", ["approver"], ROOT, reason="a helpful colleague pasted it here")
    history.record("r1", "note", reason=f"pasted: {token}")
    history.close()
    written = b"".join(path.read_bytes() for path in database.parent.glob("history.db*"))
    assert token.encode() not in written
    assert b"person.added" in written


def test_a_revoked_token_opens_nothing_and_a_new_one_replaces_the_old(people, history) -> None:
    first = people.add("bob", ["approver"], ROOT)
    second = people.add("bob", ["sre"], ROOT)
    assert people.by_token(first) is None
    assert people.by_token(second).roles == ("sre",)
    people.revoke("bob", ROOT, reason="left")
    assert (people.by_token(second), people.by_name("bob")) == (None, None)
    assert [person.name for person in people.everybody()] == ["bob"]
    with pytest.raises(BadInput, match="nobody called 'bob' may sign in"):
        people.revoke("bob", ROOT)
    with history.event_rows() as rows:
        changes = [json.loads(row.body) for row in rows if row.action.startswith("person.")]
    assert [(c["action"], c["actor"]["name"], c["body"]["person"]) for c in changes] == [
        ("person.added", "root", "bob"),
        ("person.added", "root", "bob"),
        ("person.revoked", "root", "bob"),
    ]
    assert changes[-1]["reason"] == "left"
    assert history.verify().ok


@pytest.mark.parametrize(
    ("name", "roles", "logins", "said"),
    [
        ("bob", ["boss"], (), "not a role; found: boss; allowed: viewer, operator, approver, admin, on-call"),
        ("bob; rm", ["approver"], (), "not a name"),
        ("bob", [], (), "at least one role"),
        ("CAT", ["approver"], (), "cat is called that already"),
        ("bob", ["approver"], ("cat",), "cat is called that already"),
        ("bob", ["approver"], ("kit",), "cat is called that already"),
    ],
)
def test_what_is_no_name_no_role_or_taken_is_refused_with_what_is_allowed(people, name, roles, logins, said) -> None:
    people.add("cat", ["approver"], ROOT, logins=["kit"])
    with pytest.raises(BadInput, match=said):
        people.add(name, roles, ROOT, logins=logins)
    assert [person.name for person in people.everybody()] == ["cat"]


def test_the_command_prints_only_the_token_on_standard_output(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("UPKEEP_HOME", str(tmp_path))

    def upkeep(*words: str) -> subprocess.CompletedProcess[str]:
        program = str(Path(sys.executable).parent / "upkeep")
        return subprocess.run([program, "people", *words], capture_output=True, text=True, check=False)

    added = upkeep("add", "bob", "--role", "approver", "--role", "on-call")
    assert (added.returncode, len(added.stdout.split())) == (0, 1), added.stderr
    listed = json.loads(upkeep("list", "--json").stdout)
    assert [(p["name"], p["roles"]) for p in listed] == [("bob", ["approver", "on-call"])]
    assert added.stdout.strip() not in json.dumps(listed) + upkeep("list").stdout
    assert upkeep("revoke", "nobody").returncode == 2
    assert upkeep("revoke", "bob").returncode == 0
