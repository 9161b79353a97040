"""Planted secrets go through a whole run with failures, and not one byte of them is where people or programs read (issue 6; R5, D10)."""

from __future__ import annotations

import base64
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml
from fastapi.testclient import TestClient

from tests.e2e.lab.controller import Controller, outcomes
from tests.unit.tasks.test_notify import HTTP_SECRET, Hook
from upkeep.audit.history import History
from upkeep.audit.rebuilding import rebuild
from upkeep.lab.lab import Lab
from upkeep.settings import Settings
from upkeep.webhook.app import create_app
from upkeep.wiring import Site

SUDO, PROXY, CONFIG, LOGIN = (f"canary-{name}-7f3a9c" for name in ("sudo", "proxy", "config", "login"))
SUDO_STAND_IN = f"""#!/bin/sh
# asks as sudo does; on a host called 'loud' it repeats what it was given, as careless wrappers do
while [ "$1" != -- ]; do shift; done
shift
printf 'upkeep-password:' >&2
IFS= read -r given
[ "$given" = {SUDO} ] || exit 1
if [ -e "${{0%/*}}/loud" ]; then echo "sorry, $given is not enough; Authorization: Bearer {LOGIN}" >&2; exit 1; fi
exec "$@"
"""
BESIDE = ("keys", "backup-keys")
"""What nobody but the controller reads, and which holds keys because that is what it is for."""


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """Four hosts that ask for a sudo password, with a proxy's password in their environment and a secret in their configuration."""
    monkeypatch.setenv("https_proxy", f"http://proxy-user:{PROXY}@127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.0/8,localhost,127.0.0.1")
    lab = Lab(tmp_path / "lab")
    lab.up(hosts=4)
    inventory = yaml.safe_load(lab.inventory_path.read_text())
    inventory["defaults"] |= {"become": "sudo", "sudo_password_env": "CANARY_SUDO"}
    lab.inventory_path.write_text(yaml.safe_dump(inventory))
    for host in lab.status():
        paths = lab.paths.host(host.name)
        with paths.config.open("a") as config:
            config.write(f"# the old password: {CONFIG}\n")
        stand_in = paths.root.parent / "bin" / "sudo"
        stand_in.write_text(SUDO_STAND_IN)
        stand_in.chmod(0o755)
    yield lab
    lab.remove()


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook()
    yield made
    made.server.shutdown()
    made.server.server_close()


def holding(name: str, content: bytes, canaries: dict[str, bytes]) -> list[str]:
    return [
        f"{name} holds the {what}"
        for what, secret in canaries.items()
        if any(form in content for form in forms(secret))
    ]


def forms(secret: bytes) -> list[bytes]:
    """As it is, and as it stands in base64, wherever in a longer text that began."""
    shifted = [(base64.b64encode(b"\0" * ahead + secret), ahead) for ahead in range(3)]
    return [secret, *(text[4 if ahead else 0 : -4] for text, ahead in shifted)]


def test_no_secret_of_a_run_with_failures_is_in_database_logs_prefect_pages_packs_exports_or_messages(
    planted: Lab, controller: Controller, prefect_server: dict[str, str], tmp_path: Path, hook: Hook
) -> None:
    controller.home.mkdir(parents=True)
    (controller.home / "notify.yaml").write_text("ops: env:OPS_CHAT\n")
    token = controller("people", "add", "bob", "--role", "approver").stdout.strip()
    key_lines = (planted.inventory_path.parent / "keys" / "client_key").read_bytes().splitlines()
    canaries = {
        "sudo password": SUDO.encode(),
        "proxy password": PROXY.encode(),
        "secret of the configuration": CONFIG.encode(),
        "token that a host printed": LOGIN.encode(),
        "private key": key_lines[2],
        "address of the chat": HTTP_SECRET.encode(),
        "token of a person": token.encode(),
    }
    assert token.startswith("upkeep_")
    controller.environ |= {
        "OPS_CHAT": hook.address,
        "CANARY_SUDO": SUDO,
        "https_proxy": f"http://proxy-user:{PROXY}@127.0.0.1:9",
    }
    (planted.paths.host("h4").root.parent / "bin" / "loud").touch()
    planted.break_("h2", "crash-loop")
    planted.break_("h3", "config-rejected")
    done = controller("run", "maintenance", "-i", str(planted.inventory_path), "-p", str(planted.plan_path), "--yes", "--json",
                      "--set", "healthy_time=1s", "--set", "soak.canary=1s", "--set", "soak.other=1s", "--set", "down_budget_pct=75",
                      "--set", "failures.later.at_least=9", "--set", "failures.unreachable.at_least=9", "--reason", "to see what is told")  # fmt: skip
    report = json.loads(done.stdout)
    assert set(outcomes(report).values()) >= {"committed"}, report
    assert len(set(outcomes(report).values())) > 1, "something failed, and was told about"
    found = holding("standard output", done.stdout.encode(), canaries) + holding(
        "standard error", done.stderr.encode(), canaries
    )
    for words in (("history", "show", "last"), ("history", "export", "last", "--out", str(tmp_path / "pack.zip")),
                  ("history", "export", "--since", "2020-01-01"), ("history", "export", "--since", "2020-01-01", "--format", "csv"),
                  ("history", "show", "last", "--host", "h4"), ("status", "last")):  # fmt: skip
        told = controller(*words)
        assert told.returncode == 0, told.stderr
        found += holding(" ".join(words), (told.stdout + told.stderr).encode(), canaries)
    with zipfile.ZipFile(tmp_path / "pack.zip") as pack:
        for name in pack.namelist():
            found += holding(f"the pack's {name}", pack.read(name), canaries)
    for path in (path for path in controller.home.rglob("*") if path.is_file()):
        if path.relative_to(controller.home).parts[0] not in BESIDE:
            found += holding(str(path), path.read_bytes(), canaries)
    assert any(one["title"].endswith(report["outcome"]) for one in hook.got), hook.titles()
    found += holding("messages", json.dumps(hook.got).encode(), canaries)
    found += _at_prefect(prefect_server["PREFECT_API_URL"], canaries)
    found += _on_pages(controller, report["run"], canaries)
    assert not found, "\n".join(found)
    history = History.open(f"sqlite:///{controller.home / 'history.db'}")
    assert any("***" in event.model_dump_json() for event in history.events(report["run"])), (
        "a canary came by and was masked"
    )
    assert all(model.same for model in rebuild(history, keep=False)), (
        "the read models of a real run come from its events alone"
    )
    history.close()


def _at_prefect(api: str, canaries: dict[str, bytes]) -> list[str]:
    found = []
    for what in ("flow_runs", "task_runs", "logs", "artifacts", "flow_run_states", "task_run_states", "events"):
        offset = 0
        while True:
            answer = httpx.post(f"{api}/{what}/filter", json={"limit": 200, "offset": offset}, timeout=60)
            if answer.status_code in {404, 405, 422}:
                break
            answer.raise_for_status()
            found += holding(f"Prefect's {what}", answer.content, canaries)
            rows = answer.json()
            if not isinstance(rows, list) or len(rows) < 200:
                break
            offset += 200
    return found


def _on_pages(controller: Controller, run: str, canaries: dict[str, bytes]) -> list[str]:
    added = controller("people", "add", "vera", "--role", "viewer")
    (token,) = re.findall(r"upkeep_\S+", added.stdout)
    site = Site(Settings.from_environment(controller.environment()), {})
    found = []
    with TestClient(create_app(site), client=("127.0.0.1", 50000)) as client:
        client.post("/sign-in", data={"token": token}).raise_for_status()
        for path in (
            "/history",
            f"/history/runs/{run}",
            f"/history/runs/{run}/live",
            *(f"/history/runs/{run}/hosts/h{n}" for n in range(1, 5)),
            "/history/hosts/h4",
        ):
            page = client.get(path)
            assert page.status_code == 200, path
            found += holding(path, page.content, canaries)
    site.checkpoints.close()
    site.history.close()
    return found
