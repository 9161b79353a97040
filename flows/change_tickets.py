"""Every minute: what ticket systems sent is judged, and what their tickets are to be told is sent."""

from __future__ import annotations

from prefect import flow

from tasks.attend_tickets import attend_once
from upkeep.wiring import site


@flow(name="change_tickets", log_prints=True)
def change_tickets() -> list[str]:
    """Judge new deliveries, start what may run, send notes; one sentence for each ticket."""
    found = [f"ticket {judged.ref}: {judged.fate}: {judged.reason}" for judged in attend_once(site())]
    for sentence in found:
        print(sentence)  # noqa: T201 - log_prints makes it the flow run's log
    return found
