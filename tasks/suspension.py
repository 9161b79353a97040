"""Whether the flow run was suspended (Pause in Prefect's UI): Prefect itself heeds it only where a task of its own begins or ends."""

from __future__ import annotations

from prefect.context import FlowRunContext
from prefect.exceptions import Pause


def suspension() -> Pause | None:
    """What Prefect would raise here, if the flow run this code belongs to was suspended."""
    context = FlowRunContext.get()
    state = context.flow_run_suspension_request.get_state() if context is not None else None
    return None if state is None else Pause(state=state)
