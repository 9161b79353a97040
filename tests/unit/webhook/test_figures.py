"""`/metrics` says how runs, hosts, steps, gates and queues are, to whoever has a token, and names no host (issue 6: 7; D10)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from tests.unit.webhook.conftest import Tokens, tell_small_run
from upkeep.domain.change import RunOutcome
from upkeep.wiring import Site


def told(client: TestClient, token: str) -> dict[tuple[str, ...], float]:
    answer = client.get("/metrics", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain")
    families = text_string_to_metric_families(answer.text)
    return {(one.name, *sorted(one.labels.values())): one.value for family in families for one in family.samples}


def test_the_figures_follow_a_run_from_its_begin_to_its_end(
    site: Site, people: Tokens, visit: Callable[..., TestClient]
) -> None:
    tell_small_run(site.history)
    client = visit()
    first = told(client, people.by_name["ann"])
    assert first["upkeep_runs_open", "maintenance"] == 1
    assert first["upkeep_hosts_total", "committed"] == 1
    assert first["upkeep_step_seconds_count", "backup", "failed"] == 1
    assert 0 <= first["upkeep_step_seconds_sum", "ok", "verify"] < 60
    site.history.stage_closed("r1", "canary", "hold", "one failed")
    site.history.close_run("r1", RunOutcome.HELD, "")
    tell_small_run(site.history, "r2")
    for _ in range(2):
        then = told(client, people.by_name["ann"])
        assert then["upkeep_runs_total", "held", "maintenance"] == 1
        assert then["upkeep_gates_total", "hold"] == 1
        assert then["upkeep_hosts_total", "failed"] == 2
        assert then["upkeep_step_seconds_count", "backup", "failed"] == 2
    assert then["upkeep_checkpoint_age_seconds",] < 60


def test_what_waits_to_be_sent_is_counted_with_its_age(
    site: Site, people: Tokens, visit: Callable[..., TestClient]
) -> None:
    assert told(visit(), people.by_name["ann"])["upkeep_queue_entries", "outbox"] == 0
    site.outbox.put("message", "k1", "ops", {}, datetime.now(UTC) - timedelta(hours=2))
    then = told(visit(), people.by_name["ann"])
    assert then["upkeep_queue_entries", "outbox"] == 1
    assert 7200 <= then["upkeep_queue_oldest_seconds", "outbox"] < 7300


def test_nobody_without_a_token_reads_the_figures_and_no_host_is_named(
    site: Site, people: Tokens, visit: Callable[..., TestClient]
) -> None:
    tell_small_run(site.history)
    client = visit()
    assert client.get("/metrics").status_code == 401
    assert client.get("/metrics", headers={"Authorization": "Bearer upkeep_wrong"}).status_code == 401
    assert "web-1" not in client.get("/metrics", headers={"Authorization": f"Bearer {people.by_name['ann']}"}).text
