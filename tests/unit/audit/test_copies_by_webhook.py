"""Copies of checkpoints sent to a webhook: sent once each, tried again when it does not take them (issue 6: 2; fault 55)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from tests.unit.audit.conftest import run_record
from upkeep.audit.checkpoint import read_checkpoint
from upkeep.audit.copies import Copies
from upkeep.audit.history import History
from upkeep.audit.signing import KeyFolder
from upkeep.audit.verifying import verify_history
from upkeep.domain.change import RunOutcome


class Keeper(BaseHTTPRequestHandler):
    """Keeps what it is sent, by name; says no while it is told to."""

    kept: ClassVar[dict[str, bytes]] = {}
    answer: ClassVar[int] = 201

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if Keeper.answer < 400:
            Keeper.kept[self.headers["Idempotency-Key"]] = content
        self.send_response(Keeper.answer)
        self.end_headers()

    def log_message(self, *_words: object) -> None:
        """Say nothing."""


@pytest.fixture
def keeper(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(Keeper, "kept", {})
    monkeypatch.setattr(Keeper, "answer", 201)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Keeper)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"webhook+http://upkeep:hunter2222@127.0.0.1:{server.server_port}/checkpoints"
    server.shutdown()
    server.server_close()


def test_each_checkpoint_is_sent_and_what_was_not_taken_comes_with_the_next(
    history: History, keeper: str, tmp_path: Path
) -> None:
    sealed = history.seal(KeyFolder(tmp_path / "keys"), Copies(keeper))
    Keeper.answer = 503
    history.close_run("r1", RunOutcome.SUCCEEDED, "all well")
    assert (Keeper.kept, [row.exported_to for row in history.checkpoint_rows()]) == ({}, [""])
    Keeper.answer = 201
    history.open_run(run_record("r2"))
    history.close_run("r2", RunOutcome.SUCCEEDED, "all well")
    kept = [read_checkpoint(content) for _, content in sorted(Keeper.kept.items())]
    assert kept == history.checkpoints()
    assert all("hunter2222" not in row.exported_to for row in history.checkpoint_rows())
    for name, content in Keeper.kept.items():
        (tmp_path / name).write_bytes(content)
    here = verify_history(history, sealed.copies, sealed.keys.publics())
    assert (here.ok, "--checkpoints DIR" in here.notes[0], "hunter2222" in here.notes[0]) == (True, True, False)
    assert verify_history(history, Copies(str(tmp_path)), sealed.keys.publics()).notes == ()
