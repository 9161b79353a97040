"""Taking failing hosts out of service and putting them back, by the site's hooks; every call is written down before and after."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tasks.session import RunSession
from upkeep.audit.isolations import (
    DRAINED,
    DRAINING,
    NOT_DRAINED,
    NOT_RESTORED,
    RESTORED,
    RESTORING,
    drained_by_upkeep,
)
from upkeep.domain.inspection import Looked
from upkeep.domain.isolation import Drained, Hook, Isolation, decide
from upkeep.domain.template import MissingVariable, fill_model
from upkeep.errors import AuditError, ServiceError, UpkeepError, shorten
from upkeep.hosts.local import LocalTransport
from upkeep.hosts.transport import Limits
from upkeep.services.hooks import call_url

_ANSWER_BYTES = 65_536


@dataclass(frozen=True)
class Isolated:
    """What an inspection did about failing hosts, one line each, and what it left."""

    done: tuple[str, ...] = ()
    left: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """All of it."""
        return (*self.done, *self.left)


def isolate(session: RunSession, looks: Mapping[str, Looked], earlier: Mapping[str, Sequence[Looked]]) -> Isolated:
    """Drain and restore as the plan says.

    Raises:
        AuditError: the history cannot be written; no hook is called then.
    """
    rules = session.record.plan.isolation
    if rules is None or session.record.dry_run:
        return Isolated()
    ours = drained_by_upkeep(session.history, set(session.hosts))
    decision = decide(rules, looks, earlier, ours, len(session.hosts))
    done = [_drain(session, rules, host, why) for host, why in decision.drain.items()]
    done += [_restore(session, rules, ours[host]) for host in decision.restore]
    return Isolated(tuple(done), decision.told)


def _drain(session: RunSession, rules: Isolation, host: str, why: str) -> str:
    history, run = session.history, session.record.id
    try:
        if _is_out(session, rules, host):
            return f"{host} is failing and was out of service already; who did that puts it back"
        history.record(run, DRAINING, host=host, reason=why)
        said = _call(session, rules.drain, host)
    except AuditError:
        raise
    except UpkeepError as error:
        return _drain_failed(session, rules, host, str(error))
    history.record(run, DRAINED, host=host, reason=why, body={"hook": _named(rules.drain), "said": shorten(said)})
    return f"{host} was taken out of service: {why}"


def _drain_failed(session: RunSession, rules: Isolation, host: str, why: str) -> str:
    """A hook may fail after it did its work; only one that can be asked tells."""
    try:
        out = _is_out(session, rules, host)
    except UpkeepError:
        out = False
    action = DRAINED if out else NOT_DRAINED
    session.history.record(session.record.id, action, host=host, reason=why, body={"hook": _named(rules.drain)})
    if out:
        return f"{host} was taken out of service, though the hook said: {why}"
    return f"{host} is failing and could not be taken out of service: {why}"


def _restore(session: RunSession, rules: Isolation, drained: Drained) -> str:
    history, run, host = session.history, session.record.id, drained.host
    by = f"run {drained.run} of {drained.by}"
    try:
        if rules.asks is not None and not _is_out(session, rules, host):
            history.record(run, RESTORED, host=host, reason="somebody else put it back", body={"drained_by": by})
            return f"{host}, taken out by {by}, is in service already"
        history.record(run, RESTORING, host=host, reason=f"healthy again; taken out by {by}")
        said = _call(session, rules.restore, host)
    except AuditError:
        raise
    except UpkeepError as error:
        history.record(run, NOT_RESTORED, host=host, reason=str(error), body={"hook": _named(rules.restore)})
        return f"{host} is healthy again and could not be put back into service: {error}"
    body = {"hook": _named(rules.restore), "said": shorten(said), "drained_by": by}
    history.record(run, RESTORED, host=host, reason="healthy again", body=body)
    return f"{host} was put back into service, taken out by {by}"


def _is_out(session: RunSession, rules: Isolation, host: str) -> bool:
    """Whether a host is out of service, as far as anybody can be asked."""
    if rules.asks is None:
        return False
    return re.search(rules.drained, _call(session, rules.asks, host)) is not None


def _named(hook: Hook) -> str:
    return shlex.join(hook.command) if hook.command else f"{hook.method} {hook.url}"


def _call(session: RunSession, hook: Hook, host: str) -> str:
    """Run a hook for one host; what it said.

    Raises:
        ServiceError: it did not succeed.
        HostError: a command did not end in time.
    """
    about = session.hosts[host]
    try:
        filled = fill_model(hook, {**about.variables(), "host": host, "address": about.address})
    except MissingVariable as error:
        raise ServiceError(f"the hook names {{{{ {error.name} }}}}, which {host} does not have") from error
    if filled.url:
        return call_url(filled, os.environ)
    limits = Limits(total=filled.timeout, idle=filled.timeout, output_bytes=_ANSWER_BYTES)
    reply = LocalTransport("controller").run(shlex.join(filled.command), limits=limits)
    if reply.exit_code != 0:
        raise ServiceError(
            f"{filled.command[0]} ended with code {reply.exit_code}: {shorten(reply.stderr or reply.text)}"
        )
    return reply.text
