"""`upkeep run release_watch`: asks for new releases now; writes a plan, starts nothing."""

from __future__ import annotations

import sys

from upkeep.console.screen import screen
from upkeep.domain.record import RunReport, RunRequest
from upkeep.project import prefect_settings, put_on_path


def watch(request: RunRequest, *, as_json: bool) -> int:
    """Run the flow here and now; returns the exit code.

    Raises:
        UpkeepError: the template cannot be used, the control centre does not answer, or its release cannot be trusted.
    """
    prefect_settings(quiet=True)
    put_on_path()
    from flows.release_watch import release_watch  # noqa: PLC0415 - the runbooks are on the path only now

    report = RunReport.model_validate(release_watch(request))
    if as_json:
        sys.stdout.write(report.model_dump_json(indent=2) + "\n")
    else:
        screen().print(report.reason, markup=False, soft_wrap=True)
    return report.outcome.exit_code
