"""OpenTelemetry traces of runs, sent where OTEL_EXPORTER_OTLP_ENDPOINT says; needs `pip install 'upkeep[otel]'`.

One trace a run, whose id follows from the run's: all processes that work on a run write into one trace.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from datetime import datetime

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import NonRecordingSpan, SpanContext, Status, StatusCode, TraceFlags, set_span_in_context

from upkeep.domain.record import Event, Happening

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
_BAD = {Happening.FAILED, Happening.UNKNOWN}
_SECONDS_TO_NS = 1_000_000_000


def trace_id(run: str) -> int:
    """The run's trace: 128 bits of SHA-256 over its id."""
    return int.from_bytes(hashlib.sha256(run.encode()).digest()[:16])


def root_id(run: str) -> int:
    """The span that all of a run's spans hang from."""
    return int.from_bytes(hashlib.sha256(run.encode()).digest()[16:24])


class Traces:
    """A listener of the history: a span for every step when it ends, for every stage and for the run."""

    def __init__(self, version: str = "") -> None:
        self._ids = _Ids()
        resource = Resource.create({"service.name": "upkeep", "service.version": version})
        self._provider = TracerProvider(resource=resource, id_generator=self._ids)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("upkeep")
        self._begun: dict[tuple[str, ...], Event] = {}

    def __call__(self, event: Event) -> None:
        """Note a beginning, or send what ended. Never waits for the receiver."""
        if event.step:
            self._step(event)
        elif event.action in {"run.opened", "stage.opened"}:
            self._begun[_key(event)] = event
        elif event.action == "stage.closed":
            self._end(f"stage {event.stage}", event, {"upkeep.verdict": str(event.body["verdict"])})
        elif event.action == "run.closed":
            outcome = str(event.body["outcome"])
            self._end("run", event, {"upkeep.outcome": outcome}, failed=outcome in {"failed", "stopped"}, root=True)
            self._provider.force_flush(5000)

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()

    def _step(self, event: Event) -> None:
        if event.happening is Happening.INTENT:
            self._begun[_key(event)] = event
        else:
            told = {"upkeep.host": event.host, "upkeep.result": event.happening.value}
            self._end(f"step {event.step}", event, told, failed=event.happening in _BAD)

    def _end(
        self, name: str, event: Event, told: Mapping[str, str], *, failed: bool = False, root: bool = False
    ) -> None:
        begun = self._begun.pop(_key(event), event)
        parent = NonRecordingSpan(
            SpanContext(
                trace_id(event.run), root_id(event.run), is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED)
            )
        )
        with self._ids.of(event.run if root else ""):
            span = self._tracer.start_span(
                name,
                context=None if root else set_span_in_context(parent),
                start_time=_nanoseconds(begun.at),
                attributes={"upkeep.run": event.run, "upkeep.stage": event.stage, **told},
            )
        if failed:
            span.set_status(Status(StatusCode.ERROR, event.reason))
        span.end(_nanoseconds(event.at))


class _Ids(RandomIdGenerator):
    """Random, but for a run's own span."""

    def __init__(self) -> None:
        self._now = threading.local()

    def of(self, run: str) -> _Ids:
        """For the `with` that makes this run's own span."""
        self._now.run = run
        return self

    def __enter__(self) -> None:
        """Nothing further."""

    def __exit__(self, *_: object) -> None:
        self._now.run = ""

    def generate_trace_id(self) -> int:
        """See above."""
        run = getattr(self._now, "run", "")
        return trace_id(run) if run else super().generate_trace_id()

    def generate_span_id(self) -> int:
        """See above."""
        run = getattr(self._now, "run", "")
        return root_id(run) if run else super().generate_span_id()


def _key(event: Event) -> tuple[str, ...]:
    return (event.run, event.host, event.stage if not event.step else "", str(event.step or ""))


def _nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp() * _SECONDS_TO_NS)
