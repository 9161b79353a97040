"""Read models come from the events alone: rebuilt, they are the same bytes; changed by hand, they are put right (issue 6: 3; R5, D6)."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.audit.conftest import run_record
from tests.unit.audit.raw_database import RawDatabase
from upkeep.audit.history import History
from upkeep.audit.rebuilding import MODELS, rebuild
from upkeep.domain.change import FailureClass, HostOutcome, HostResult, RunOutcome, Step
from upkeep.domain.finding import Finding, Verdict
from upkeep.domain.record import Actor
from upkeep.errors import AuditError, CommandFailed

ANN = Actor(name="ann")


def told(history: History, run: str = "r1") -> History:
    """Something of every kind."""
    history.mask("hunter2222")
    history.vouch(run, datetime.now(UTC) + timedelta(minutes=1))
    history.note_release("stable", "k1", 7, run)
    history.stage_opened(run, "canary", ["web-01", "web-02"])
    with history.step(run, "web-01", Step.CHECK, stage="canary") as step:
        step.body = {"facts": {"os": "Debian", "password": "hunter2222"}}
    with pytest.raises(CommandFailed), history.step(run, "web-01", Step.BACKUP, stage="canary"):
        raise CommandFailed("web-01", "tar says hunter2222", exit_code=1)
    with history.step(run, "web-01", Step.BACKUP, stage="canary"):
        history.backup_taken(run, "web-01", path="/b", size_bytes=2**40, sha256="ab", files=3, verified=True)
    found = [
        Finding(check="host.disk.free", verdict=Verdict.WARN, reason="hunter2222 is little", value=1.5),
        Finding(check="x", verdict=Verdict.PASS, reason=""),
    ]
    history.findings(run, "web-01", "baseline", found)
    history.host_result(
        run, "web-01", HostResult(outcome=HostOutcome.COMMITTED, from_version="1", to_version="2"), stage="canary"
    )
    failed = HostResult(
        outcome=HostOutcome.FAILED, failure_class=FailureClass.APPLY, reason="no: hunter2222", remedy="look"
    )
    history.host_result(run, "web-02", failed, stage="canary")
    history.stage_closed(run, "canary", "hold", "hunter2222 says hold")
    history.request_stop(run, ANN, "stop, says hunter2222")
    history.resume_run(run, ANN, "boot:1:2", flow_run_id="flow-2", reason="died")
    history.close_run(run, RunOutcome.STOPPED, "enough of hunter2222")
    return history


def test_rebuilt_models_are_the_same_bytes_and_the_run_reads_as_before(history: History, raw: RawDatabase) -> None:
    before = told(history).run("r1").model_dump_json()
    for model in rebuild(history, keep=False):
        assert model.same, model
    assert {model.name for model in rebuild(history)} == set(MODELS)
    assert all(model.same for model in rebuild(history))
    assert history.run("r1").model_dump_json() == before
    assert [step.attempt for step in history.steps("r1", "web-01")] == [1, 1, 2]
    assert raw.rows("SELECT lease_until FROM run")[0][0]
    history.open_run(run_record("r2"))
    assert told(history, "r2").verify().ok


def test_no_read_model_holds_a_secret_that_its_event_does_not_hold(history: History, raw: RawDatabase) -> None:
    told(history)
    for table in ("event", "run", "run_stage", "run_host", "step_attempt", "finding", "backup"):
        assert "hunter2222" not in repr(raw.rows(f"SELECT * FROM {table}")), table  # noqa: S608 - the names above


def test_who_listens_to_the_history_hears_no_secret_that_it_does_not_hold(history: History) -> None:
    heard: list[str] = []
    history.listeners.append(lambda event: heard.append(event.model_dump_json()))
    told(history)
    assert len(heard) == len(history.events("r1")) - 1
    assert "hunter2222" not in "".join(heard)


@pytest.mark.parametrize(
    ("model", "statement"),
    [
        ("runs", "UPDATE run SET outcome = 'succeeded'"),
        ("hosts", "DELETE FROM run_host WHERE host = 'web-02'"),
        ("steps", "UPDATE step_attempt SET happening = 'ok'"),
        ("findings", "INSERT INTO finding (run, host, phase, at, verdict, finding) VALUES ('r1', 'h', 'check', '', 'pass', '{}')"),
        ("backups", "UPDATE backup SET sha256 = 'cd'"),
        ("releases", "UPDATE release_seen SET release_seq = 1"),
        ("stages", "UPDATE run_stage SET verdict = 'go'"),
    ],
)  # fmt: skip
def test_a_model_that_was_changed_by_hand_is_named_and_put_right(
    history: History, raw: RawDatabase, model: str, statement: str
) -> None:
    before = told(history).run("r1").model_dump_json()
    raw.execute(statement)
    raw.commit()
    looked = {one.name for one in rebuild(history, keep=False) if not one.same}
    assert looked == {model}
    assert {one.name for one in rebuild(history) if not one.same} == {model}
    assert all(one.same for one in rebuild(history, keep=False))
    assert history.run("r1").model_dump_json() == before


def test_nothing_is_rebuilt_from_events_that_were_tampered_with(history: History, raw: RawDatabase) -> None:
    told(history)
    raw.drop_triggers()
    raw.execute("UPDATE event SET body = replace(body, 'web-02', 'web-03') WHERE seq = 3")
    raw.commit()
    with pytest.raises(AuditError, match="event 3 was changed"):
        rebuild(history)
    assert history.run("r1").hosts["web-01"].outcome is HostOutcome.COMMITTED


def test_a_run_of_an_older_version_is_rebuilt_from_the_record_it_froze_and_refused_when_that_was_changed(
    history: History, raw: RawDatabase
) -> None:
    """Its opening event held the record's SHA-256 alone."""
    import hashlib

    from upkeep.audit.chain import GENESIS, canonical, chained

    raw.drop_triggers()
    body = json.loads(raw.rows("SELECT body FROM event WHERE seq = 1")[0][0])
    text = run_record().model_dump_json()
    del body["body"]["record"]
    body["body"]["record_sha256"] = hashlib.sha256(text.encode()).hexdigest()
    raw.execute(
        "UPDATE event SET body = :body, hash = :hash", body=canonical(body), hash=chained(1, canonical(body), GENESIS)
    )
    raw.execute("UPDATE run SET record = :text", text=text)
    raw.commit()
    assert next(one for one in rebuild(history) if one.name == "runs").rows == 1
    assert history.record_text("r1") == text
    raw.execute("UPDATE run SET record = replace(record, 'night', 'day')")
    raw.commit()
    with pytest.raises(AuditError, match="r1 cannot be rebuilt"):
        rebuild(history)


STEPS = st.tuples(st.just("step"), st.sampled_from(["a", "b"]), st.sampled_from(list(Step)), st.booleans())
RESULTS = st.tuples(
    st.just("result"), st.sampled_from(["a", "b"]), st.sampled_from(list(HostOutcome)), st.text(max_size=5)
)
FINDINGS = st.tuples(st.just("found"), st.sampled_from(["a", "b"]), st.sampled_from(list(Verdict)), st.text(max_size=5))


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(story=st.lists(st.one_of(STEPS, RESULTS, FINDINGS), max_size=8))
def test_whatever_happens_the_events_alone_make_the_same_models(history: History, story: list[tuple]) -> None:
    for kind, host, what, more in story:
        if kind == "step":
            if more:
                with history.step("r1", host, what):
                    pass
            else:
                history._append("r1", f"step.{what}", happening="intent", host=host, step=what)
        elif kind == "result":
            history.host_result("r1", host, HostResult(outcome=what, reason=more, from_version=more or None))
        else:
            history.findings("r1", host, "check", [Finding(check="c", verdict=what, reason=more, subject=more)])
    assert all(one.same for one in rebuild(history, keep=False))
