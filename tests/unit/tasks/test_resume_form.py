"""A word typed into Prefect's resume form: whose it is, and that no token is asked for there (issue 5: 5; R4; G3)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tasks import resume_form
from tasks.resume_form import Approval, take_form
from tests.unit.tasks.test_approving import Waiting
from upkeep.audit.approval_links import ApprovalLinks, Invitation
from upkeep.audit.approvals import waits_for
from upkeep.domain.change import RunOutcome
from upkeep.errors import Refused


class Formed(Waiting):
    """A waiting run, and a form that was filled in."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.site = SimpleNamespace(
            history=self.history, people=self.people, settings=SimpleNamespace(keys=folder / "keys")
        )

    def code(self, person: str, **other: Any) -> str:
        standing = waits_for(self.history, "r1")
        assert standing is not None
        facts = {"run": "r1", "subject": standing.subject, "expires": standing.lapses_at} | other
        return ApprovalLinks(self.folder / "keys").make(
            "https://upkeep.example", Invitation(person=person, plan_hash=standing.plan_hash, **facts)
        )

    def typed(self, monkeypatch: pytest.MonkeyPatch, **facts: str) -> bool:
        monkeypatch.setattr(resume_form, "_typed", lambda _: Approval(**facts))
        detail = self.history.run("r1").model_copy(update={"flow_run_id": "f1"})
        return take_form(self.site, detail, "f1")  # type: ignore[arg-type]

    def told(self, action: str) -> list[tuple[str, str]]:
        return [(event.actor.name, event.body["via"]) for event in self.said(action)]


@pytest.fixture
def waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Formed]:
    monkeypatch.setattr("tasks.approving.drift", lambda *_: "")
    made = Formed(tmp_path)
    made.open().wait()
    yield made
    made.history.close()


def test_a_link_or_its_code_counts_as_its_persons_word_and_nothing_is_started_beside_the_run(
    waiting: Formed, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[object] = []
    monkeypatch.setattr("tasks.approving.take_up", lambda *told: started.append(told) or "")
    link = waiting.code("bob")
    assert waiting.typed(monkeypatch, code=link)
    assert waiting.typed(monkeypatch, code=waiting.code("cat").partition("code=")[2], comment="fine")
    assert waiting.told("approval.given") == [("bob", "form"), ("cat", "form")]
    assert started == [], "the flow run that was resumed goes on by itself"


def test_a_token_another_runs_code_and_nonsense_are_nobodys_word(
    waiting: Formed, monkeypatch: pytest.MonkeyPatch
) -> None:
    for code in (waiting.tokens["bob"], waiting.code("bob", run="r2"), "", "https://[", "x" * 4000):
        assert waiting.typed(monkeypatch, code=code)
    assert waiting.told("approval.refused") == [("unknown", "form")] * 5
    assert waiting.told("approval.given") == []


def test_a_rejection_ends_the_run(waiting: Formed, monkeypatch: pytest.MonkeyPatch) -> None:
    assert waiting.typed(monkeypatch, code=waiting.code("bob"), decision="reject", comment="not today")
    over = waiting.history.run("r1")
    assert (over.outcome, "bob rejected" in over.reason) == (RunOutcome.STOPPED, True)


def test_the_form_of_another_flow_run_is_not_read(waiting: Formed, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(_: str) -> Approval:
        raise Refused("read")

    monkeypatch.setattr(resume_form, "_typed", read)
    detail = waiting.history.run("r1").model_copy(update={"flow_run_id": "f1"})
    assert not take_form(waiting.site, detail, "f2")  # type: ignore[arg-type]
    assert not take_form(waiting.site, detail, "")  # type: ignore[arg-type]


def test_every_field_of_the_form_says_what_it_is_for() -> None:
    fields = Approval.model_json_schema()["properties"]
    assert list(fields) == ["code", "decision", "comment"]
    assert all(field["title"] and field["description"] for field in fields.values())
    assert "Never your token" in fields["code"]["description"]
