"""Every minute: plans that start by themselves are planned for the instant their window opens; missed starts are written down."""

from __future__ import annotations

from datetime import UTC, datetime

from prefect import flow

from tasks.flow_runs import PrefectFlowRuns
from tasks.open_windows import open_windows
from upkeep.wiring import site


@flow(name="window_opener", log_prints=True)
def window_opener() -> list[str]:
    """Look after the plans in UPKEEP_PLANS; one sentence for everything done or found wrong."""
    done = open_windows(site(), PrefectFlowRuns(), datetime.now(UTC))
    for sentence in done:
        print(sentence)  # noqa: T201 - log_prints makes it the flow run's log
    return done
