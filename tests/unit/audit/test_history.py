"""The history (R5, D10): intent before, result after, nothing lost, nothing secret."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.unit.audit.conftest import run_record
from tests.unit.audit.raw_database import RawDatabase
from upkeep.audit.history import History
from upkeep.audit.of_hosts import OfHost, result_of
from upkeep.domain.change import HostOutcome, HostResult, RunOutcome, Step
from upkeep.domain.failure import FailureClass
from upkeep.domain.finding import Finding, Verdict
from upkeep.domain.record import Actor, Event, Happening
from upkeep.errors import AuditError, BackupError, BadInput


def happenings(history: History, run: str = "r1") -> list[tuple[str, str]]:
    return [(event.action, event.happening.value) for event in history.events(run)]


def test_a_step_is_written_before_it_starts_and_after_it_ends(history: History) -> None:
    with history.step("r1", "h1", Step.BACKUP, stage="canary") as step:
        assert happenings(history)[-1] == ("step.backup", "intent")
        step.body["size_bytes"] = 7
    assert happenings(history)[-1] == ("step.backup", "ok")
    detail = history.steps("r1", "h1")[0]
    assert (detail.step, detail.attempt, detail.happening) == (Step.BACKUP, 1, Happening.OK)
    assert history.run("r1").hosts["h1"].stage == "canary"


def test_an_expected_failure_is_failed_and_anything_else_is_unknown(history: History) -> None:
    with pytest.raises(BackupError), history.step("r1", "h1", Step.BACKUP):
        raise BackupError("the disk is full")
    with pytest.raises(ZeroDivisionError), history.step("r1", "h1", Step.BACKUP):
        1 / 0  # noqa: B018 - a defect
    assert [(s.happening, s.attempt) for s in history.steps("r1", "h1")] == [
        (Happening.FAILED, 1),
        (Happening.UNKNOWN, 2),
    ]
    assert history.steps("r1", "h1")[0].reason == "the disk is full"


def test_without_its_intent_in_the_history_a_step_does_not_run(history: History, raw: RawDatabase) -> None:
    raw.execute("DROP TABLE step_attempt")
    raw.commit()
    ran = False
    with pytest.raises(AuditError, match="nothing is changed without it"), history.step("r1", "h1", Step.SWITCH):
        ran = True
    assert not ran


def test_what_came_of_a_host_and_a_run_is_read_back(history: History) -> None:
    result = HostResult(
        outcome=HostOutcome.ROLLED_BACK,
        failure_class=FailureClass.VERIFY,
        from_version="1",
        to_version="1",
        reason="bad",
        remedy="look",
    )
    history.host_result("r1", "h1", result, stage="canary")
    history.stage_opened("r1", "canary", ["h1"])
    history.stage_closed("r1", "canary", "roll back", "1 of 1 failed")
    history.close_run("r1", RunOutcome.ROLLED_BACK, "1 of 1 failed")
    detail = history.run("last")
    assert detail.hosts["h1"].result() == result
    assert (detail.outcome, detail.reason, detail.stages[0].verdict) == (
        RunOutcome.ROLLED_BACK,
        "1 of 1 failed",
        "roll back",
    )
    assert history.runs()[0].host_outcomes == {"rolled back": 1}
    assert history.runs(host="h2") == []


def test_findings_backups_releases_and_stops_are_kept(history: History) -> None:
    finding = Finding(check="host.disk.free", verdict=Verdict.FAIL, reason="full", value=3.5, signatures=("a",))
    history.findings("r1", "h1", "check", [finding])
    history.backup_taken("r1", "h1", path="/b/h1.tar.gz", size_bytes=9, sha256="0" * 64, files=3, verified=True)
    history.note_release("ms-720/stable", "k1", 150, "r1")
    history.note_release("ms-720/stable", "k1", 140, "r1")
    history.request_stop("r1", Actor(name="bob"), "the site burns")
    assert history.findings_of("r1", "h1", "check")[0].finding == finding
    assert history.backups("r1")[0].files == 3
    assert history.release_seq_seen("ms-720/stable", "k1") == 150
    assert history.release_seq_seen("ms-720/stable", "k2") is None
    assert history.stop_requested("r1") == "the site burns"
    assert history.events("r1")[-1].actor.name == "bob"


@pytest.mark.parametrize(
    "text",
    [
        "hunter2-hunter2",
        "password=hunter2-hunter2",
        "Authorization: Bearer hunter2-hunter2",
        "https://me:hunter2-hunter2@host/x",
    ],
)
def test_no_secret_is_written(history: History, database: Path, text: str) -> None:
    history.mask("hunter2-hunter2")
    with pytest.raises(BackupError), history.step("r1", "h1", Step.BACKUP) as step:
        step.body["output"] = [text, {"api_key": text}]
        raise BackupError(text)
    history.findings("r1", "h1", "check", [Finding(check="a.b", verdict=Verdict.FAIL, reason=text, evidence=text)])
    history.host_result("r1", "h1", HostResult(outcome=HostOutcome.FAILED, reason=text))
    history.close_run("r1", RunOutcome.FAILED, text)
    history.close()
    written = b"".join(path.read_bytes() for path in database.parent.iterdir())
    assert b"hunter2" not in written


def test_what_is_told_of_many_hosts_together_is_written_and_heard_in_its_order(history: History) -> None:
    heard: list[Event] = []
    history.listeners.append(heard.append)
    passed = HostResult(outcome=HostOutcome.PASSED, reason="fine")
    names = [f"h{number}" for number in range(300)]
    history.of_hosts(
        "r1", [OfHost("h0", "host.inspected", body={"n": 1}), *(result_of(name, passed) for name in names)]
    )
    assert [(event.host, event.action) for event in heard][:2] == [("h0", "host.inspected"), ("h0", "host.result")]
    written = [event for event in history.events("r1") if event.action in {"host.inspected", "host.result"}]
    assert written == heard
    assert [event.host for event in written] == ["h0", *names]
    assert history.run("r1").hosts["h299"].outcome is HostOutcome.PASSED


def test_of_events_handed_in_together_one_that_cannot_be_kept_takes_no_other_along(history: History) -> None:
    passed = result_of("h1", HostResult(outcome=HostOutcome.PASSED))
    with pytest.raises(AuditError, match="cannot be kept"):
        history.of_hosts(
            "r1", [passed, OfHost("h2", "host.result"), result_of("h3", HostResult(outcome=HostOutcome.PASSED))]
        )
    assert [event.host for event in history.events("r1") if event.action == "host.result"] == ["h1", "h3"]


def test_many_threads_lose_nothing_and_the_chain_has_no_gap(history: History) -> None:
    def work(host: str) -> None:
        for step in (Step.CHECK, Step.BACKUP, Step.SWITCH):
            with history.step("r1", host, step):
                pass

    threads = [threading.Thread(target=work, args=(f"h{n}",)) for n in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    events = history.events("r1")
    assert [event.seq for event in events] == list(range(1, 24 * 6 + 2))
    assert history.verify().ok


def test_two_controllers_write_into_one_history(history: History, address: str) -> None:
    other = History.open(address)
    other.open_run(run_record("r2"))
    for number in range(20):
        (history if number % 2 else other).record("r1" if number % 2 else "r2", "note")
    assert other.verify().ok
    assert len(history.events("r2")) == 11
    other.close()


def test_a_listener_hears_what_was_written_and_cannot_break_a_write(history: History) -> None:
    heard: list[Event] = []

    def bad(_event: Event) -> None:
        raise RuntimeError

    history.listeners += [bad, heard.append]
    written = history.record("r1", "note", reason="hello")
    assert heard == [written]


def test_a_run_is_found_by_its_beginning_and_a_wrong_id_is_explained(history: History) -> None:
    history.open_run(run_record("20261121-1"))
    history.open_run(run_record("20261121-2"))
    assert history.run("r").id == "r1"
    with pytest.raises(BadInput, match="several runs begin with '2026'"):
        history.run("2026")
    with pytest.raises(BadInput, match="there is no run 'x'; allowed: .*20261121-2"):
        history.run("x")
    assert history.find_run("r") is None


def test_a_run_is_opened_once(history: History) -> None:
    with pytest.raises(AuditError, match="opened once"):
        history.open_run(run_record())


@pytest.mark.timeout(60)
def test_an_event_that_nobody_understands_is_refused_and_the_next_one_is_written(history: History) -> None:
    with pytest.raises(AuditError, match="cannot be kept"):
        history.record("r1", "run.resumed")
    assert history.record("r1", "note").seq == history.last_seq()
    assert history.verify().ok
