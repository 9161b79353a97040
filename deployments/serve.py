"""Serve every runbook from this process; `upkeep up` starts it."""

from __future__ import annotations

import logging
import threading
import time

from prefect import serve
from prefect.deployments.runner import EntrypointType

from flows.backup import backup
from flows.maintenance import maintenance
from flows.pre_update_check import pre_update_check
from flows.prestage import prestage
from flows.rollback import rollback
from flows.staged_upgrade import staged_upgrade
from flows.verification import verification
from tasks.reconcile_runs import reconcile_runs
from upkeep.errors import UpkeepError
from upkeep.wiring import site

log = logging.getLogger(__name__)

RUNBOOKS = (maintenance, pre_update_check, backup, staged_upgrade, verification, rollback, prestage)


RECONCILED_EVERY_SECONDS = 20


def main() -> None:
    """Register the runbooks as deployments named `manual`, run what is asked for, and look after runs whose controller died."""
    threading.Thread(target=_reconcile, name="reconciliation", daemon=True).start()
    module = EntrypointType.MODULE_PATH
    serve(*(runbook.to_deployment("manual", entrypoint_type=module) for runbook in RUNBOOKS), pause_on_shutdown=False)  # type: ignore[arg-type]


def _reconcile() -> None:
    while True:
        try:
            for orphan in reconcile_runs(site()):
                log.warning("run %s: %s", orphan.run, orphan.done)
        except UpkeepError as error:
            log.warning("runs could not be reconciled: %s", error)
        time.sleep(RECONCILED_EVERY_SECONDS)


if __name__ == "__main__":
    main()
