"""Which step carries out which order of the engine."""

from __future__ import annotations

from tasks.batches import Begin, Begun
from tasks.change_host import change_host
from tasks.check_host import check_host
from tasks.look_at_stage import look_at_stage
from tasks.roll_back_host import undo_host
from tasks.session import RunSession
from upkeep.domain.orders import Change, Check, Look, Order


def submitted(session: RunSession, order: Order, begin: Begin) -> Begun:
    """The order's step, begun in this process."""
    if isinstance(order, Check):
        return begin(check_host, session, order.host)
    if isinstance(order, Change):
        return begin(change_host, session, order.host, order.stage)
    if isinstance(order, Look):
        return look_at_stage.submit(session, order.stage, order.hosts)
    return begin(undo_host, session, order.host, order.stage, order.reason, order.failure_class)
