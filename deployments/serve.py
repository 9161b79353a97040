"""Serve every runbook from this process; `upkeep up` starts it."""

from __future__ import annotations

from typing import Any

from prefect import serve
from prefect.deployments.runner import EntrypointType
from prefect.utilities.callables import ParameterSchema

from deployments.forms import form_of
from deployments.services import in_background
from flows.backup import backup
from flows.connection_diagnosis import connection_diagnosis
from flows.health_inspection import health_inspection
from flows.maintenance import maintenance
from flows.pre_update_check import pre_update_check
from flows.prestage import prestage
from flows.release_watch import release_watch
from flows.rollback import rollback
from flows.staged_upgrade import staged_upgrade
from flows.verification import verification
from upkeep.wiring import site

RUNBOOKS = (
    *(maintenance, pre_update_check, backup, staged_upgrade, verification, rollback, prestage, release_watch),
    *(health_inspection, connection_diagnosis),
)


def main() -> None:
    """Register the runbooks as deployments named `manual`, run what is asked for, and look after what must not be forgotten."""
    in_background()
    serve(*map(deployment_of, RUNBOOKS), pause_on_shutdown=False)


def deployment_of(runbook: Any) -> Any:  # noqa: ANN401 - Prefect's flow and its deployment
    """The runbook as a deployment whose form people can fill in."""
    deployment = runbook.to_deployment("manual", entrypoint_type=EntrypointType.MODULE_PATH)
    schema = deployment._parameter_openapi_schema.model_dump(mode="json")  # noqa: SLF001 - serving offers no other way to say it
    if "RunRequest" in schema["definitions"]:
        form = form_of(runbook.name, schema, site().settings)
        deployment._parameter_openapi_schema = ParameterSchema.model_validate(form)  # noqa: SLF001
    return deployment


if __name__ == "__main__":
    main()
