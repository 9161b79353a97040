"""A plan, inventory or setting that is not what it was the last time is an event, told by whom it was used (issue 6: 1)."""

from __future__ import annotations

from upkeep.audit.documents_seen import MOST_KEPT, Seen, about_document, note
from upkeep.audit.history import History
from upkeep.domain.record import Actor

ANN, BOB = Actor(name="ann"), Actor(name="bob")


def test_each_change_is_one_event_with_both_digests_and_who_used_it_first(history: History) -> None:
    history.mask("hunter2222")
    first = note(history, Seen("plan", "/p/a.yaml", "soak: 1m"), ANN, "r1")
    assert first
    assert (first.action, first.actor.name, first.body["used_by"]) == ("plan.first_used", "ann", "r1")
    assert note(history, Seen("plan", "/p/a.yaml", "soak: 1m"), BOB, "r2") is None
    changed = note(history, Seen("plan", "/p/a.yaml", "soak: 9m # hunter2222"), BOB, "r3")
    assert changed
    assert (changed.action, changed.actor.name) == ("plan.changed", "bob")
    assert changed.body["sha256_before"] == first.body["sha256"]
    assert changed.body["text"] == "soak: 9m # ***"
    assert note(history, Seen("plan", "/p/a.yaml", "soak: 9m # hunter2222"), ANN, "r4") is None
    assert note(history, Seen("plan", "/p/a.yaml", "soak: 1m"), ANN, "r5"), "back again is a change as well"
    assert len(history.events(about_document("plan", "/p/a.yaml"))) == 3
    assert history.verify().ok


def test_of_a_very_large_document_the_digest_is_kept(history: History) -> None:
    event = note(history, Seen("inventory", "/i", "x" * (MOST_KEPT + 1)), ANN, "r1")
    assert event
    assert "text" not in event.body
    assert len(event.body["sha256"]) == 64
