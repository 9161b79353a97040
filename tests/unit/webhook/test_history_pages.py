"""The history's pages: what they show, whom they show it to, and what they cost (issue 6: 5)."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import event

from tests.unit.audit.conftest import run_record
from tests.unit.webhook.conftest import NASTY, Tokens, tell_large_run, tell_old_runs, tell_small_run
from upkeep.audit.archiving import archive, plan
from upkeep.domain.change import RunOutcome
from upkeep.domain.record import Actor
from upkeep.wiring import Site

Visit = Callable[..., TestClient]


def csrf_in(text: str) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', text)
    assert found, text
    return found[1]


@contextmanager
def counted(site: Site) -> Iterator[list[str]]:
    """The statements sent to the database."""
    statements: list[str] = []
    engine = site.history._engine

    def note(_connection, _cursor, statement, *_rest) -> None:  # type: ignore[no-untyped-def]
        statements.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    yield statements
    event.remove(engine, "before_cursor_execute", note)


def runs_on(client: TestClient, query: str) -> list[str]:
    answer = client.get(f"/history{query}")
    assert answer.status_code == 200, answer.text
    return re.findall(r'<th scope="row"><a href="/history/runs/([^"]+)"', answer.text)


def test_an_empty_history_says_how_to_begin(people: Tokens, visit: Visit) -> None:
    assert "upkeep run maintenance" in visit("ann").get("/history").text


FOUND: list[tuple[str, set[str]]] = [
    ("?plan=PLAN-1&ticket=chg-4", {"old-004", "old-019", "old-034"}),
    ("?host=db-2&since=2026-11-30&until=2026-12-03", {"old-030"}),
    ("?outcome=running", {"r1"}),
    ("?outcome=held&until=2026-11-04", {"old-000", "old-002"}),
    ("?q=old-00", {f"old-00{n}" for n in range(10)}),
    ("?q=web-2", {"r1"}),
    ("?q=100%25", set()),
    ("?person=bob", set()),
]


def test_runs_are_found_by_host_ticket_person_period_outcome_plan_and_any_word(
    site: Site, people: Tokens, visit: Visit
) -> None:
    tell_old_runs(site.history, 40)
    tell_small_run(site.history)
    client = visit("ann")
    for query, expected in FOUND:
        assert set(runs_on(client, query)) == expected, query


def test_runs_come_newest_first_a_page_at_a_time_and_a_search_stays_on_the_next_page(
    site: Site, people: Tokens, visit: Visit
) -> None:
    tell_old_runs(site.history, 60)
    client = visit("ann")
    first = runs_on(client, "?outcome=held")
    assert first[:2] == ["old-058", "old-056"]
    assert len(first) == 25
    assert 'href="/history?outcome=held&amp;page=2"' in client.get("/history?outcome=held").text
    assert runs_on(client, "?outcome=held&page=2") == ["old-008", "old-006", "old-004", "old-002", "old-000"]


def test_a_runs_page_tells_who_why_plan_stages_steps_findings_and_what_to_do_and_lets_no_text_become_a_script(
    site: Site, people: Tokens, visit: Visit
) -> None:
    tell_small_run(site.history, reason=f"why {NASTY}", ticket="CHG-7")
    text = visit("ann").get("/history/runs/r1").text
    for wanted in (
        "ann (person)",
        "CHG-7",
        "Every target is checked",
        "canary",
        "1 committed",
        "1 failed",
        "1 waiting",
        "host.clock",
        "start ntp",
        "free disk space",
        "2 of 3 hosts done",
    ):
        assert wanted in text, wanted
    assert "<script>alert" not in text
    assert "style=" not in text
    assert not re.findall(r"\son\w+=", text)
    assert not re.findall(r'(?:src|href|action)="(?!/|#)', text)


def test_a_hosts_part_in_a_run_shows_steps_evidence_figures_and_backups(
    site: Site, people: Tokens, visit: Visit
) -> None:
    tell_small_run(site.history)
    good = visit("ann").get("/history/runs/r1/hosts/web-1").text
    for wanted in ("baseline", "40", "44", "/b/web-1.tar.gz", "ab" * 32, "1.5"):
        assert wanted in good, wanted
    bad = visit("ann").get("/history/runs/r1/hosts/web-2").text
    for wanted in ("backup", "disk full", "host.clock", "free disk space", "&lt;script&gt;"):
        assert wanted in bad, wanted


def test_a_hosts_life_is_told_across_runs(site: Site, people: Tokens, visit: Visit) -> None:
    tell_old_runs(site.history, 10)
    text = visit("ann").get("/history/hosts/db-1").text
    assert re.findall(r"maintenance (old-\d+)", text) == ["old-009", "old-005", "old-001"]
    assert "3 runs of this host" in text


@pytest.mark.parametrize(
    "path", ["/history/runs/no", "/history/runs/no/pack", "/history/runs/r1/hosts/no", "/history/hosts/no"]
)
def test_what_is_not_there_is_said_on_a_page(site: Site, people: Tokens, visit: Visit, path: str) -> None:
    tell_small_run(site.history)
    answer = visit("ann").get(path)
    assert (answer.status_code, "no" in answer.text, "<h1>Not Found</h1>" in answer.text) == (404, True, True)


def test_odd_questions_never_break_a_page(site: Site, people: Tokens, visit: Visit) -> None:
    tell_small_run(site.history)
    client = visit("ann")
    for query in ("?page=0", "?page=-1", "?page=abc", "?page=99999999999999999999", "?outcome=x", "?q=%00%ff"):
        for path in ("/history", "/history/runs/r1", "/history/hosts/web-1"):
            assert client.get(path + query).status_code == 200, path + query


def test_a_period_that_is_not_a_day_is_refused_with_what_is_allowed(people: Tokens, visit: Visit) -> None:
    answer = visit("ann").get("/history?since=yesterday")
    assert (answer.status_code, "2026-11-01" in answer.text) == (400, True)


def test_the_live_part_is_sent_again_only_after_something_happened_and_says_when_the_run_is_over(
    site: Site, people: Tokens, visit: Visit
) -> None:
    tell_small_run(site.history)
    client = visit("ann")
    first = client.get("/history/runs/r1/live")
    assert (first.status_code, first.headers["x-run-is"]) == (200, "open")
    same = client.get("/history/runs/r1/live", headers={"if-none-match": first.headers["etag"]})
    assert (same.status_code, same.text) == (304, "")
    site.history.close_run("r1", RunOutcome.STOPPED, "enough")
    after = client.get("/history/runs/r1/live", headers={"if-none-match": first.headers["etag"]})
    assert (after.status_code, after.headers["x-run-is"]) == (200, "over")


def test_a_run_whose_stages_are_planned_later_shows_them_from_then_on(site: Site, people: Tokens, visit: Visit) -> None:
    from tests.unit.audit.conftest import run_record
    from upkeep.domain.inventory import Host
    from upkeep.domain.stages import Candidate, plan_stages

    host = Host(name="h1", address="10.0.0.1")
    record = run_record("later", targets=(host,))
    site.history.open_run(record)
    client = visit("ann")
    assert "The stages are planned once every host is checked" in client.get("/history/runs/later").text
    site.history.stages_planned("later", plan_stages(record.plan, [Candidate(host, "c")]))
    assert "Every target is checked before" in client.get("/history/runs/later").text


def test_the_evidence_pack_of_a_run_is_downloaded(site: Site, people: Tokens, visit: Visit) -> None:
    tell_small_run(site.history)
    answer = visit("ann").get("/history/runs/r1/pack")
    assert answer.headers["content-disposition"] == 'attachment; filename="upkeep-r1.zip"'
    assert {"index.html", "events.jsonl", "verify.py"} <= set(zipfile.ZipFile(io.BytesIO(answer.content)).namelist())


def test_the_proof_is_looked_at_when_asked_and_names_what_is_wrong(site: Site, people: Tokens, visit: Visit) -> None:
    tell_small_run(site.history)
    client = visit("ann")
    page = client.get("/history/proof").text
    assert "Not looked at" in page
    assert client.post("/history/proof", data={"csrf": csrf_in(page)}).status_code == 303
    assert "the chain is whole" in client.get("/history/proof").text
    with site.history._engine.begin() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        for name in [
            row[0] for row in connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type='trigger'")
        ]:
            connection.exec_driver_sql(f'DROP TRIGGER "{name}"')
        connection.exec_driver_sql("UPDATE event SET body = replace(body, 'r1', 'r2') WHERE seq = 12")
    client.post("/history/proof", data={"csrf": csrf_in(page)})
    text = client.get("/history/proof").text
    assert "not whole" in text
    assert "event 12" in text


def test_a_thousand_hosts_cost_a_page_the_same_few_queries_as_ten(site: Site, people: Tokens, visit: Visit) -> None:
    tell_large_run(site.history, 10, "small")
    tell_large_run(site.history, 1000)
    client = visit("ann")
    for path in ("", "/live", "/hosts/web-0000"):
        asked = {}
        for run in ("small", "large"):
            client.get(f"/history/runs/{run}{path}")
            with counted(site) as statements:
                assert client.get(f"/history/runs/{run}{path}").status_code == 200
            asked[run] = len(statements)
        assert asked["large"] == asked["small"] <= 12, (path, statements)
    with counted(site) as statements:
        client.get("/history")
    assert len(statements) <= 8, "two of them for starts that were missed, however many there are"


def test_a_thousand_hosts_stay_readable_the_failed_ones_first_a_hundred_at_a_time_and_filtered(
    site: Site, people: Tokens, visit: Visit
) -> None:
    tell_large_run(site.history, 1000)
    client = visit("ann")
    page = client.get("/history/runs/large").text
    listed = re.findall(r'<tr><th scope="row"><a href="/history/runs/large/hosts/([^"]+)"', page)
    assert len(listed) == 100
    assert listed[:10] == [f"web-{number:04}" for number in range(0, 1000, 100)]
    assert len(page) < 250_000
    failed = client.get("/history/runs/large?hosts=failed").text
    assert "10 hosts, those" in failed
    assert "web-0777" in client.get("/history/runs/large?name=0777").text


def test_somebody_asked_to_stop_a_run_is_written_down_with_name_and_reason(
    site: Site, people: Tokens, visit: Visit
) -> None:
    tell_small_run(site.history)
    client = visit("olga")
    csrf = csrf_in(client.get("/history/runs/r1").text)
    assert client.post("/history/runs/r1/stop", data={"csrf": csrf, "reason": " "}).status_code == 400
    assert site.history.stop_requested("r1") is None
    assert client.post("/history/runs/r1/stop", data={"csrf": csrf, "reason": "the site burns"}).status_code == 303
    asked = [one for one in site.history.events("r1") if one.action == "run.stop_requested"]
    assert [(one.actor.name, one.reason) for one in asked] == [("olga", "the site burns")]
    assert "Asked to stop: the site burns" in client.get("/history/runs/r1").text
    site.history.close_run("r1", RunOutcome.STOPPED, "")
    assert client.post("/history/runs/r1/stop", data={"csrf": csrf, "reason": "again"}).status_code == 409


def test_a_missed_start_is_shown_with_its_reason_and_the_next_one(site: Site, people: Tokens, visit: Visit) -> None:
    body = {
        "runbook": "maintenance",
        "plan": "/plans/night.yaml",
        "planned": "2026-11-20T21:00:00+00:00",
        "next": "Friday 22:00 Europe/Berlin",
    }
    site.history.record("missed-1", "run.missed", reason=f"no worker took it {NASTY}", body=body)
    text = visit("ann").get("/history").text
    assert "2026-11-20 21:00:00" in text
    assert "no worker took it &lt;script&gt;" in text
    assert "Friday 22:00 Europe/Berlin" in text
    assert "Starts that were missed" not in visit("ann").get("/history?q=x").text


def test_a_run_that_was_archived_is_not_there_and_the_page_says_where_it_lies(
    site: Site, people: Tokens, visit: Visit, tmp_path: Path
) -> None:
    site.history.open_run(run_record("r9"))
    site.history.close_run("r9", RunOutcome.SUCCEEDED, "")
    (stretch,) = plan(site.history, datetime.now(UTC) + timedelta(days=1)).stretches
    archive(site.history, site.checkpoints, stretch, tmp_path / "archives", actor=Actor(name="ann"), reason="old")
    answer = visit("ann").get("/history/runs/r9")
    assert (answer.status_code, "run r9 was archived" in answer.text, str(tmp_path / "archives") in answer.text) == (
        404,
        True,
        True,
    )
