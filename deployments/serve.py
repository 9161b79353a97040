"""Serve every runbook from this process; `upkeep up` starts it."""

from __future__ import annotations

from prefect import serve
from prefect.deployments.runner import EntrypointType

from deployments.services import in_background
from flows.backup import backup
from flows.maintenance import maintenance
from flows.pre_update_check import pre_update_check
from flows.prestage import prestage
from flows.release_watch import release_watch
from flows.rollback import rollback
from flows.staged_upgrade import staged_upgrade
from flows.verification import verification

RUNBOOKS = (maintenance, pre_update_check, backup, staged_upgrade, verification, rollback, prestage, release_watch)


def main() -> None:
    """Register the runbooks as deployments named `manual`, run what is asked for, and look after what must not be forgotten."""
    in_background()
    module = EntrypointType.MODULE_PATH
    serve(*(runbook.to_deployment("manual", entrypoint_type=module) for runbook in RUNBOOKS), pause_on_shutdown=False)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
