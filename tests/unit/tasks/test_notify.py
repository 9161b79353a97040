"""People are told, each target by itself, and no run hangs on it (issue 5: 6; C8; R7; fault 54)."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import apprise
import pytest
from aiosmtpd.controller import Controller as SmtpSink
from aiosmtpd.handlers import Message
from pydantic import ValidationError

import tasks.notify
from tasks.notify import KIND, Teller, telling
from tasks.notify_targets import site_targets
from tests.unit.audit.conftest import run_record
from upkeep.domain.change import HostOutcome, HostResult, RunOutcome
from upkeep.domain.plan import Plan
from upkeep.domain.stopping import Stop, StopKind
from upkeep.errors import AuditError, BadInput, ServiceError
from upkeep.services.notifications import send
from upkeep.settings import Settings
from upkeep.wiring import Site

HTTP_SECRET = "s3cr3t-path-of-the-hook"


class Hook:
    """A web hook that keeps what it was sent; `status` says what it answers, `answering` lets it answer at all."""

    def __init__(self) -> None:
        self.got: list[dict[str, str]] = []
        self.status = 200
        self.answering = threading.Event()
        self.answering.set()
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                hook.answering.wait(30)
                if hook.status == 200:
                    hook.got.append(body)
                self.send_response(hook.status)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"json://127.0.0.1:{self.server.server_port}/{HTTP_SECRET}"

    def titles(self) -> list[str]:
        return [message["title"] for message in self.got]


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook()
    yield made
    made.answering.set()
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(Settings.from_environment({"UPKEEP_HOME": str(tmp_path), "UPKEEP_URL": "https://upkeep.example"}), {})
    yield made
    made.checkpoints.close()
    made.history.close()


def open_run(site: Site, run: str = "r1", **notify: object) -> None:
    plan = Plan.model_validate({"name": "night", "profile": "x", "release": "r", "notify": notify})
    site.history.open_run(run_record(run, plan=plan, plan_dir=str(site.settings.home)))


def ask(site: Site, run: str = "r1", hours: int = 1) -> None:
    lapses = (datetime.now(UTC) + timedelta(hours=hours)).isoformat()
    body = {"rules": [{}], "plan_hash": "h", "requesters": ["ann"], "lapses_at": lapses}
    site.history.record(run, "approval.requested", stage="25 %", reason="waits for 1 person (approver)", body=body)


def test_every_kind_of_event_reaches_its_target_once_in_order_and_says_what_to_do(site, hook, monkeypatch) -> None:
    monkeypatch.setenv("OPS_HOOK", hook.address)
    open_run(site, ops="env:OPS_HOOK")
    history, here = site.history, Teller(site)
    history.host_result("r1", "h1", HostResult(outcome=HostOutcome.ROLLED_BACK, reason="worse"))
    history.host_result("r1", "h2", HostResult(outcome=HostOutcome.ROLLED_BACK, reason="worse"))
    history.stage_opened("r1", "canary", ["h1"])
    history.stage_closed("r1", "canary", "go", "all is well")
    ask(site)
    history.stop_decided("r1", Stop(StopKind.QUARANTINE, "h3 is quarantined: its rollback failed"))
    history.close_run("r1", RunOutcome.HELD, "a person decides")
    assert here.tell() == 5
    assert hook.titles() == [
        "maintenance night: h1 went back to the version it had",
        "maintenance night: stage 'canary' is done",
        "maintenance night waits for the approval of stage '25 %'",
        "maintenance night was stopped: quarantined",
        "maintenance night: held",
    ]
    assert "approve: upkeep approve r1" in hook.got[2]["message"]
    assert "https://upkeep.example/history/runs/r1" in hook.got[4]["message"]
    assert (here.tell(), Teller(site).tell(), len(hook.got)) == (0, 0, 5), "nobody is told twice, also after a restart"
    open_run(site, "r2", ops="env:OPS_HOOK")
    history.stop_decided("r2", Stop(StopKind.WINDOW, "the window closes"))
    history.close_run("r2", RunOutcome.STOPPED, "the window closes")
    assert here.tell() == 2
    assert hook.titles()[5:] == ["maintenance night was stopped: missed window", "maintenance night: stopped"]


def test_a_failing_target_delays_no_other_changes_no_run_and_gets_its_messages_later_in_order(
    site, hook, monkeypatch
) -> None:
    broken = Hook()
    broken.status = 500
    monkeypatch.setenv("GOOD", hook.address)
    monkeypatch.setenv("BAD", broken.address)
    monkeypatch.setenv("NONSENSE", "nonsense://x")
    open_run(site, good="env:GOOD", bad="env:BAD", gone="env:NOT_SET", odd="env:NONSENSE")
    ask(site)
    site.history.close_run("r1", RunOutcome.SUCCEEDED, "all well")
    assert Teller(site).tell() == 2
    assert len(hook.got) == 2
    errors = {
        letter.target: letter.last_error for letter in site.outbox.all(kind=KIND, unsent=True) if letter.last_error
    }
    assert "the target did not take the message" in errors["bad (env:BAD)"]
    assert "env:NOT_SET holds no address" in errors["gone (env:NOT_SET)"]
    assert "allowed: apprise's addresses" in errors["odd (env:NONSENSE)"]
    assert site.history.run("r1").outcome is RunOutcome.SUCCEEDED
    broken.status = 200
    later = datetime.now(UTC) + timedelta(minutes=5)
    assert Teller(site).tell(later) == 2
    assert broken.titles() == [
        "maintenance night waits for the approval of stage '25 %'",
        "maintenance night: succeeded",
    ]
    broken.server.shutdown()
    broken.server.server_close()


def test_a_target_that_hangs_is_given_up_for_now_and_the_run_ends_without_it(site, hook, monkeypatch) -> None:
    hook.answering.clear()
    with pytest.raises(ServiceError, match=r"did not take the message within 0\.3 s"):
        send(hook.address, "t", "x", longest=timedelta(seconds=0.3))
    monkeypatch.setenv("OPS_HOOK", hook.address)
    monkeypatch.setattr(tasks.notify, "LAST_WORDS", timedelta(seconds=0.5))
    open_run(site, ops="env:OPS_HOOK")
    begun = datetime.now(UTC)
    with telling(site):
        ask(site)
    assert datetime.now(UTC) - begun < timedelta(seconds=5)
    hook.answering.set()


def test_a_history_that_is_locked_is_a_line_in_the_log_without_a_traceback_and_ends_no_run(
    site, hook, monkeypatch, caplog
) -> None:
    monkeypatch.setenv("OPS_HOOK", hook.address)
    open_run(site, ops="env:OPS_HOOK")

    def locked(*_: object, **__: object) -> None:
        raise AuditError("the history cannot be used: database is locked")

    monkeypatch.setattr("tasks.notify.recent", locked)
    with telling(site):
        pass
    said = [record for record in caplog.records if "people could not be told" in record.message]
    assert said
    assert "database is locked" in said[0].message
    assert all(record.exc_info is None for record in said)


def test_an_address_is_in_no_message_log_event_or_database(site, hook, monkeypatch, caplog, tmp_path) -> None:
    hook.status = 403
    monkeypatch.setenv("OPS_HOOK", hook.address)
    open_run(site, ops="env:OPS_HOOK")
    ask(site)
    Teller(site).tell()
    letters = site.outbox.all(kind=KIND)
    assert letters[0].last_error
    site.history.close()
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert HTTP_SECRET.encode() not in written
    assert HTTP_SECRET not in caplog.text


def test_too_many_messages_wait_for_the_next_minute_and_none_is_lost(site, hook, monkeypatch) -> None:
    monkeypatch.setattr(tasks.notify, "MOST_A_MINUTE", 3)
    monkeypatch.setenv("OPS_HOOK", hook.address)
    for number in range(5):
        open_run(site, f"r{number}", ops="env:OPS_HOOK")
        site.history.close_run(f"r{number}", RunOutcome.SUCCEEDED, "")
    assert (Teller(site).tell(), Teller(site).tell()) == (3, 0)
    monkeypatch.setattr(tasks.notify, "MOST_A_MINUTE", 9)
    assert Teller(site).tell() == 2


def test_an_e_mail_to_an_approver_holds_a_link_of_their_own_that_is_kept_nowhere(site, tmp_path) -> None:
    got: list[str] = []

    class Mailbox(Message):
        def handle_message(self, message) -> None:
            part = message.get_payload()[0] if message.is_multipart() else message
            got.append(f"{message['Subject']}\n{part.get_payload(decode=True).decode()}")

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    sink = SmtpSink(Mailbox(), hostname="127.0.0.1", port=port)
    sink.start()
    try:
        (tmp_path / "bob.url").write_text(
            f"mailto://127.0.0.1:{port}?from=upkeep@example.org&to=bob@example.org&format=text&mode=insecure\n"
        )
        open_run(site, bob={"url": "file:bob.url", "person": "bob", "events": ["waiting for approval"]})
        ask(site)
        assert Teller(site).tell() == 1, [letter.last_error for letter in site.outbox.all(kind=KIND)]
    finally:
        sink.stop()
    subject, _, text = got[0].partition("\n")
    assert "waits for the approval of stage" in subject
    assert "https://upkeep.example/approvals/link?code=" in text.replace("=\n", "")
    site.history.close()
    assert b"?code=" not in b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_targets_of_the_site_are_told_about_every_run_and_only_what_they_want(site, hook, monkeypatch) -> None:
    monkeypatch.setenv("ALL", hook.address)
    (site.settings.home / "notify.yaml").write_text("everybody: {url: 'env:ALL', events: [finished, missed window]}\n")
    open_run(site)
    ask(site)
    site.history.record("20261120-210000-missed", "run.missed", reason="61 s late", body={})
    site.history.close_run("r1", RunOutcome.SUCCEEDED, "")
    assert Teller(site).tell() == 2
    assert hook.titles() == ["run 20261120-210000-missed missed its start", "maintenance night: succeeded"]


def test_a_missed_start_is_told_to_the_plans_own_targets_with_the_next_start(site, hook, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("OPS_HOOK", hook.address)
    plan = tmp_path / "night.yaml"
    plan.write_text("{name: night, profile: x.yaml, release: r.json, notify: {ops: 'env:OPS_HOOK'}}\n")
    body = {"plan": str(plan), "runbook": "maintenance", "next": "Friday 22:00"}
    site.history.record("missed-1", "run.missed", reason="no worker took it", body=body)
    assert Teller(site).tell() == 1
    assert hook.titles() == ["plan night missed its start"]
    text = hook.got[0]["message"]
    assert "no worker took it" in text
    assert "the next start: Friday 22:00" in text
    assert "https://upkeep.example/history" in text


def test_a_new_release_a_refused_one_and_a_plan_that_cannot_be_read_are_announced_once_each(
    site, hook, monkeypatch
) -> None:
    monkeypatch.setenv("ALL", hook.address)
    (site.settings.home / "notify.yaml").write_text("everybody: env:ALL\n")
    found = {"product": "ms-720", "version": "1.6.0", "plan": "/plans/agent-1.6.0.yaml"}
    site.history.record("release-1", "release.found", reason="release ms-720 1.6.0 is out", body=found)
    site.history.record("refused-1", "release.refused", reason="signed by nobody", body={"version": "1.7.0"})
    for problem in ("finer than daily", "unknown zone"):
        body = {"plan": "/plans/night.yaml"}
        site.history.record("plan-ab12cd", "schedule.unreadable", reason=problem, body=body)
    assert (Teller(site).tell(), Teller(site).tell()) == (4, 0)
    assert hook.titles() == [
        "ms-720 1.6.0 is out, and a plan for it waits to be read",
        "a release 1.7.0 was offered and refused",
        "night.yaml cannot be read and does not start by itself",
        "night.yaml cannot be read and does not start by itself",
    ]
    assert [
        problem in message["message"]
        for problem, message in zip(("out", "nobody", "daily", "zone"), hook.got, strict=True)
    ] == [True] * 4


def test_old_events_are_no_news(site, hook, monkeypatch) -> None:
    monkeypatch.setenv("OPS_HOOK", hook.address)
    open_run(site, ops="env:OPS_HOOK")
    site.history.close_run("r1", RunOutcome.SUCCEEDED, "")
    assert Teller(site).tell(datetime.now(UTC) + timedelta(hours=2)) == 0


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("slack://a/b/c", "where the address is kept"),
        ("https://example.org/hook", "where the address is kept"),
        ("env:", "allowed: env:NAME or file:PATH"),
        ({"url": "env:X", "events": ["done"]}, "waiting for approval"),
        ({"url": "env:X", "evnts": []}, "Extra inputs"),
    ],
)
def test_an_address_in_a_plan_is_refused_because_it_is_a_secret(site, target, said) -> None:
    with pytest.raises(ValidationError, match=said):
        Plan.model_validate({"name": "n", "profile": "x", "release": "r", "notify": {"ops": target}})
    (site.settings.home / "notify.yaml").write_text(json.dumps({"ops": target}))
    with pytest.raises(BadInput, match="notify.yaml: ops"):
        site_targets(site.settings.home / "notify.yaml")


ADDRESSES = {
    "dingtalk://SECRET@ACCESSTOKEN": "NotifyDingTalk",
    "wecombot://693a91f6-7xxx-4bc4-97a0-0ec2sifa5aaa": "NotifyWeComBot",
    "feishu://a6c2d7f1e0b94c38": "NotifyFeishu",
    "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#ops": "NotifySlack",
    "https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ": "NotifySlack",
    "workflows://prod.example.com:443/643e69f83c8944a8/iXKqDgzs1a": "NotifyWorkflows",
    "mailtos://u:p@mail.example.org:465?from=upkeep@example.org&to=ops@example.org": "NotifyEmail",
    "jsons://hooks.example.org/upkeep": "NotifyJSON",
}


@pytest.mark.parametrize("address", ADDRESSES)
def test_every_form_of_address_that_the_guide_shows_is_one_that_messages_can_be_sent_to(address) -> None:
    assert type(apprise.Apprise.instantiate(address)).__name__ == ADDRESSES[address]
    scheme = address.partition("://")[0]
    assert f"{scheme}://" in (Path(__file__).parents[3] / "docs/notifications.md").read_text("utf-8")
