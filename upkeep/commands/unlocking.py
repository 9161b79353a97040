"""`upkeep unlock`: hosts whose lock nobody will give back."""

from __future__ import annotations

import getpass
import secrets
from datetime import UTC, datetime

from upkeep.console.screen import screen
from upkeep.domain.record import Actor, RunRequest
from upkeep.errors import HostError
from upkeep.project import put_on_path


def unlock(request: RunRequest) -> int:
    """Free the plan's hosts one after the other; 1 when one of them could not be asked.

    Raises:
        BadInput: no reason, or documents that cannot be used; no host was asked.
    """
    put_on_path()
    from tasks.force_unlock import force_unlock, refuse_without_reason  # noqa: PLC0415 - on the path only now
    from tasks.prepare_run import prepare  # noqa: PLC0415
    from upkeep.wiring import site  # noqa: PLC0415 - opens nothing until a command needs it

    refuse_without_reason(request.reason)
    prepared = prepare(site(), "health_inspection", request, with_archives=False)
    actor = Actor(name=request.requested_by or getpass.getuser())
    by, bad = f"unlock-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}", 0
    for host in prepared.record.targets:
        transport = site().transport(prepared.targets[host.name])
        change = site().change(transport, site().profile_for(prepared.record.profile, host))
        try:
            said = force_unlock(site().history, change, host.name, actor, request.reason, by=by)
        except HostError as error:
            said, bad = str(error), 1
        finally:
            transport.close()
        screen().print(f"{host.name}: {said}", markup=False, soft_wrap=True)
    return bad
