"""Issue 7: a run without a Prefect server starts one of its own, which is gone with the run however the run ends."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from upkeep.errors import ServiceError
from upkeep.services import prefect_server
from upkeep.services.prefect_server import OwnServer, none_configured, own_prefect_server

STARTER = """
import sys, time
from pathlib import Path
from upkeep.services.prefect_server import OwnServer
server = OwnServer(Path(sys.argv[1]))
if sys.argv[2] == "go":
    server.go()
print(server._process.pid, server.url, flush=True)
time.sleep(60)
"""
HOME = {"PREFECT_HOME": "/nowhere"}


def _answers(url: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", urlsplit(url).port or 0)) == 0


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_neither_port_nor_process_is_left_when_the_run_is_killed(tmp_path: Path, how: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STARTER, str(tmp_path / "log"), "load"], stdout=subprocess.PIPE, text=True
    ) as starter:
        assert starter.stdout is not None
        pid, url = starter.stdout.readline().split()
        assert _answers(url)
        starter.send_signal(how)
    until = time.monotonic() + 15
    while _lives(int(pid)) and time.monotonic() < until:
        time.sleep(0.02)
    assert not _lives(int(pid))
    assert not _answers(url)


def test_a_refused_run_leaves_nothing_behind_at_once(tmp_path: Path) -> None:
    server = OwnServer(tmp_path / "home" / "log")
    server.stop()
    assert not _answers(server.url)
    assert server._process.returncode is not None


def _stands_in(monkeypatch: pytest.MonkeyPatch, folder: Path, script: str) -> None:
    program = folder / "python"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(prefect_server.sys, "executable", str(program))


def test_a_server_that_cannot_start_is_named_with_its_last_words_and_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "prefect-server.log"
    log.write_text("words of another run\n")
    _stands_in(monkeypatch, tmp_path, "echo 'database is locked' >&2; exit 3")
    server = OwnServer(log)
    server.go()
    with pytest.raises(ServiceError, match=r"ended at its start: database is locked") as caught:
        server.wait(10)
    assert str(log) in str(caught.value)
    assert "PREFECT_API_URL" in str(caught.value)
    assert "another run" not in str(caught.value)


def test_a_server_that_is_too_slow_is_named_and_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefect_server, "END_SECONDS", 0.1)
    _stands_in(monkeypatch, tmp_path, "exec sleep 60")
    server = OwnServer(tmp_path / "log")
    server.go()
    with pytest.raises(ServiceError, match="did not answer within"):
        server.wait(0.1)
    assert server._process.returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    "environ",
    [
        {"PREFECT_API_URL": "http://127.0.0.1:4200/api"},
        {"PREFECT_SERVER_EPHEMERAL_ENABLED": "false"},
        {"PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false"},
        {"PREFECT_PROFILE": "local"},
    ],
)
def test_prefects_own_settings_decide_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str]
) -> None:
    monkeypatch.delitem(sys.modules, "prefect", raising=False)
    assert none_configured(HOME, tmp_path)
    assert not none_configured({**HOME, **environ}, tmp_path)


@pytest.mark.parametrize(
    ("file", "text", "own"),
    [
        ("profiles.toml", 'active = "local"\n[profiles.local]\nPREFECT_API_URL = "http://prefect:4200/api"\n', False),
        ("profiles.toml", 'active = "local"\n', False),
        ("profiles.toml", 'active = "ephemeral"\n', True),
        ("profiles.toml", 'active = "mine"\n[profiles.mine]\nPREFECT_LOGGING_LEVEL = "DEBUG"\n', True),
        ("profiles.toml", "not = [toml", False),
        ("prefect.toml", "", False),
        ("pyproject.toml", '[tool.prefect.api]\nurl = "http://prefect:4200/api"\n', False),
        ("pyproject.toml", '[project]\nname = "mine"\n', True),
        (".env", "PREFECT_API_URL=http://prefect:4200/api\n", False),
    ],
)
def test_prefects_own_settings_decide_in_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, text: str, own: bool
) -> None:
    monkeypatch.delitem(sys.modules, "prefect", raising=False)
    (tmp_path / file).write_text(text)
    assert none_configured({"PREFECT_HOME": str(tmp_path)}, tmp_path) is own


def test_where_no_log_can_be_kept_prefect_starts_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefect_server, "none_configured", lambda: True)
    (tmp_path / "file").write_text("")
    assert own_prefect_server(tmp_path / "file") is None
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
