"""With an endpoint configured, a run is one OpenTelemetry trace at a receiver that speaks OTLP over HTTP (issue 6: 7; D10)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.unit.audit.conftest import run_record
from upkeep.domain.change import RunOutcome, Step
from upkeep.errors import BackupError
from upkeep.services.traces import ENDPOINT, root_id, trace_id
from upkeep.settings import Settings
from upkeep.wiring import Site


@dataclass
class Receiver:
    """A collector: keeps every span it is sent."""

    address: str = ""
    spans: list[Span] = field(default_factory=list)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    kept = Receiver()

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            sent = ExportTraceServiceRequest()
            sent.ParseFromString(self.rfile.read(int(self.headers["content-length"])))
            kept.spans += [span for one in sent.resource_spans for scope in one.scope_spans for span in scope.spans]
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    kept.address = f"http://127.0.0.1:{server.server_port}"
    yield kept
    server.shutdown()
    server.server_close()


def test_a_run_is_one_trace_with_its_stages_and_steps_and_no_secret(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENDPOINT, receiver.address)
    site = Site(Settings.from_environment({"UPKEEP_HOME": str(tmp_path)}), {ENDPOINT: receiver.address})
    history = site.history
    history.mask("hunter2222")
    history.open_run(run_record("r7"))
    history.stage_opened("r7", "canary", ["h1"])
    with history.step("r7", "h1", Step.CHECK, stage="canary"):
        pass
    with pytest.raises(BackupError), history.step("r7", "h1", Step.BACKUP, stage="canary"):
        raise BackupError("hunter2222 is full")
    history.stage_closed("r7", "canary", "roll back", "1 of 1 failed")
    history.close_run("r7", RunOutcome.FAILED, "1 of 1 failed")
    by_name = {span.name: span for span in receiver.spans}
    assert set(by_name) == {"run", "stage canary", "step check", "step backup"}
    assert {int.from_bytes(span.trace_id) for span in receiver.spans} == {trace_id("r7")}
    run = by_name.pop("run")
    assert int.from_bytes(run.span_id) == root_id("r7")
    assert all(span.parent_span_id == run.span_id for span in by_name.values())
    assert run.start_time_unix_nano <= by_name["step backup"].start_time_unix_nano <= run.end_time_unix_nano
    assert by_name["step backup"].status.code == Status.STATUS_CODE_ERROR
    assert by_name["step backup"].status.message == "*** is full"
    site.checkpoints.close()
    history.close()


def test_without_an_endpoint_nobody_listens_and_nothing_is_sent(receiver: Receiver, tmp_path: Path) -> None:
    site = Site(Settings.from_environment({"UPKEEP_HOME": str(tmp_path)}), {})
    site.history.open_run(run_record("r8"))
    site.history.close_run("r8", RunOutcome.SUCCEEDED, "")
    assert receiver.spans == []
    site.checkpoints.close()
    site.history.close()
