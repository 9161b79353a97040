"""`GET /metrics` for Prometheus: runs, hosts by outcome, step times, gate verdicts, how long queues wait. No host is named."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from fastapi import APIRouter, HTTPException
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response

from upkeep.audit.figures import OPEN, Counts, Figures
from upkeep.wiring import Site


def router(site: Site) -> APIRouter:
    """Asks for the token of anybody who may sign in, as `Authorization: Bearer …`."""
    routes = APIRouter(include_in_schema=False)
    counts: list[Counts] = []

    @routes.get("/metrics")
    def metrics(request: Request) -> Response:
        """The figures now."""
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or site.people.by_token(token) is None:
            raise HTTPException(
                401, "needs the token of a person (upkeep people add)", headers={"WWW-Authenticate": "Bearer"}
            )
        if not counts:
            counts.append(Counts(site.history))
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Collected(counts[0].at(datetime.now(UTC))))
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return routes


class _Collected(Collector):
    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        """Every figure with its help."""
        figures = self._figures
        ended = CounterMetricFamily("upkeep_runs", "Runs that are over", labels=["runbook", "outcome"])
        running = GaugeMetricFamily("upkeep_runs_open", "Runs without an outcome", labels=["runbook"])
        for (runbook, outcome), count in sorted(figures.runs.items()):
            if outcome == OPEN:
                running.add_metric([runbook], count)
            else:
                ended.add_metric([runbook, outcome], count)
        yield from (ended, running)
        hosts = CounterMetricFamily("upkeep_hosts", "Hosts of runs by outcome", labels=["outcome"])
        for outcome, count in sorted(figures.all.hosts.items()):
            hosts.add_metric([outcome], count)
        gates = CounterMetricFamily("upkeep_gates", "Verdicts of stages' gates", labels=["verdict"])
        for verdict, count in sorted(figures.all.gates.items()):
            gates.add_metric([verdict], count)
        steps = SummaryMetricFamily(
            "upkeep_step_seconds", "Steps on hosts and how long they took", labels=["step", "result"]
        )
        for (step, result), count in sorted(figures.all.steps.items()):
            steps.add_metric([step, result], count, figures.all.seconds[step, result])
        yield from (hosts, gates, steps)
        waiting = GaugeMetricFamily("upkeep_queue_entries", "What waits", labels=["queue"])
        ages = GaugeMetricFamily(
            "upkeep_queue_oldest_seconds", "How long the oldest of it has waited", labels=["queue"]
        )
        for queue, count in figures.waiting.items():
            waiting.add_metric([queue], count)
            ages.add_metric([queue], figures.ages[queue])
        yield from (waiting, ages)
        if figures.checkpoint_age is not None:
            yield GaugeMetricFamily(
                "upkeep_checkpoint_age_seconds", "Since the history was last signed", figures.checkpoint_age
            )
