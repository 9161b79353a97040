"""Where the runbooks lie: the checkout, or `_project` inside an installed wheel (ADR 2)."""

from __future__ import annotations

import os
import sys
from pathlib import Path

PREFECT_ENVIRONMENT = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_CLIENT_MAX_RETRIES": "3",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "300",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_READ_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_SERVICES_TRIGGERS_READ_BATCH_SIZE": "100",
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    "PREFECT_WORKER_QUERY_SECONDS": "2",
    "PREFECT_RUNNER_POLL_FREQUENCY": "2",
}
"""No telemetry; a call to a server that is gone ends after about 14 s, not a minute, while hosts are in work; the batch sizes
that cut the server's cost per task run to a quarter (measured; docs/prefect.md); and a run that was asked for is seen within 2 s."""

QUIET = {
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_ROOT_LEVEL": "ERROR",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
}
"""In-process runs show Upkeep's own progress; Prefect's log lines would only stand between."""


def project_folder() -> Path:
    """The folder that holds `flows`, `tasks` and `deployments`."""
    package = Path(__file__).resolve().parent
    wheel = package / "_project"
    return wheel if wheel.is_dir() else package.parent


def put_on_path() -> None:
    """Make `flows` and `tasks` importable."""
    folder = str(project_folder())
    if folder not in sys.path:
        sys.path.insert(0, folder)


def prefect_settings(*, quiet: bool) -> None:
    """Set Prefect's settings for this process, before Prefect is imported; what the site has set wins."""
    log_as_upkeep_does()
    for key, value in {**PREFECT_ENVIRONMENT, **(QUIET if quiet else {})}.items():
        os.environ.setdefault(key, value)


def log_as_upkeep_does() -> None:
    """Prefect's own lines are JSON too where Upkeep's are, in this process and those it starts."""
    if os.environ.get("UPKEEP_LOG") == "json":
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_FORMATTER", "json")
