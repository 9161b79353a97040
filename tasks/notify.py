"""Telling people: from the history into the outbox, from there to each target by itself; no run waits for it or fails by it."""

from __future__ import annotations

import functools
import logging
import os
import threading
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tasks.notify_targets import Target, targets_of
from upkeep.audit.approval_links import ApprovalLinks, Invitation
from upkeep.audit.approvals import waits_for
from upkeep.audit.notices import recent, sent_since
from upkeep.audit.outbox import Letter
from upkeep.domain.notification import WITHOUT_RUN, Notice, notice_of
from upkeep.domain.record import Event
from upkeep.errors import UpkeepError
from upkeep.services.notifications import address_of, send
from upkeep.wiring import Site

log = logging.getLogger(__name__)

KIND = "notification"
EVERY = timedelta(seconds=10)
AT_ONCE = 8
MOST_A_MINUTE = 20
"""Per target; what is more waits for the next minute."""
LAST_WORDS = timedelta(seconds=15)
"""How long a run that ends waits for its messages to go; what did not go stays in the outbox."""
OLDEST = timedelta(hours=1)
"""What happened before that is no news, e.g. when the first target was just written down."""
GIVEN_UP_AFTER = timedelta(days=1)


class Teller:
    """Looks at what is new in the history each time; what another process put into the outbox already is not put again."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._seen = 0
        self._targets: dict[str, list[Target]] = {}

    def tell(self, now: datetime | None = None) -> int:
        """Put what happened into the outbox, and send what is due; how many messages went."""
        now = now or datetime.now(UTC)
        events, last = recent(self._site.history, after=self._seen, since=now - OLDEST)
        for event in events:
            for target in self._of(event):
                _put(self._site, event, target, now)
        self._seen = last
        return _send_due(self._site, now)

    def _of(self, event: Event) -> list[Target]:
        if event.run not in self._targets:
            self._targets[event.run] = targets_of(self._site, event.run, event.body.get("plan", ""))
        return self._targets[event.run]


@functools.cache
def teller(site: Site) -> Teller:
    """The one of this process."""
    return Teller(site)


@contextmanager
def telling(site: Site) -> Iterator[None]:
    """While a run goes on in this process its messages are sent, also where nothing else does."""
    ended = threading.Event()
    thread = threading.Thread(target=_tell_until, args=(site, ended), name="notifications", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(LAST_WORDS.total_seconds())


def _tell_until(site: Site, ended: threading.Event) -> None:
    here, last = Teller(site), False
    while True:
        try:
            here.tell()
        except UpkeepError as error:
            log.warning("people could not be told (%s); the run goes on", error)
        except Exception:  # a message must never end a run
            log.exception("people could not be told; the run goes on")
        if last:
            return
        last = ended.wait(EVERY.total_seconds())


def _put(site: Site, event: Event, target: Target, now: datetime) -> None:
    notice = notice_of(event, target.subject)
    if notice is None or not target.target.wants(notice.kind):
        return
    body = {
        "kind": notice.kind,
        "run": event.run,
        "stage": event.stage,
        "title": notice.title,
        "text": _text(site, event, notice),
        "url": target.target.url,
        "folder": str(target.folder),
        "person": target.target.person,
    }
    site.outbox.put(KIND, f"{KIND}:{notice.once}:{target.lane}", target.lane, body, now)


def _text(site: Site, event: Event, notice: Notice) -> str:
    unrun = event.action in WITHOUT_RUN
    about = "" if unrun else f"run {event.run}, "
    lines = [event.reason or notice.title, f"{about}{event.at:%Y-%m-%d %H:%M:%S} UTC, by {event.actor.name}"]
    if event.body.get("next"):
        lines.append(f"the next start: {event.body['next']}")
    if notice.kind == "waiting for approval":
        lines.append(f"approve: upkeep approve {event.run}; reject: upkeep reject {event.run}")
    if site.settings.url:
        lines.append(f"{site.settings.url}/history" + ("" if unrun else f"/runs/{event.run}"))
    return "\n".join(lines)


def _send_due(site: Site, now: datetime) -> int:
    lanes: dict[str, list[Letter]] = defaultdict(list)
    for letter in site.outbox.due(now, kinds={KIND}):
        lanes[letter.target].append(letter)
    if not lanes:
        return 0
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="notify") as pool:
        return sum(pool.map(lambda letters: _send_lane(site, letters), lanes.values()))


def _send_lane(site: Site, letters: list[Letter]) -> int:
    """One target's messages in their order; the first that fails keeps the others waiting, and no other target."""
    went = 0
    allowed = MOST_A_MINUTE - sent_since(
        site.history, KIND, letters[0].target, datetime.now(UTC) - timedelta(minutes=1)
    )
    for number, letter in enumerate(letters):
        if number >= allowed or went < number:
            site.outbox.release(letter.id)
            continue
        went += _sent(site, letter)
    return went


def _sent(site: Site, letter: Letter) -> bool:
    body = letter.body
    try:
        address = address_of(body["url"], Path(body["folder"]), os.environ)
        site.history.mask(address)
        send(address, body["title"], body["text"] + _own_link(site, letter))
    except UpkeepError as error:
        now = datetime.now(UTC)
        why = site.history.clean(str(error))
        log.warning("a message to %s did not go: %s", letter.target, why)
        site.outbox.failed(letter.id, str(why), now, final=now - letter.put_at > GIVEN_UP_AFTER)
        return False
    site.outbox.sent(letter.id, datetime.now(UTC))
    return True


def _own_link(site: Site, letter: Letter) -> str:
    """The link of the target's person, made only now so that it is kept nowhere; empty when there is nothing to approve by it."""
    person, run = letter.body["person"], letter.body["run"]
    if not (person and site.settings.url and letter.body["kind"] == "waiting for approval"):
        return ""
    standing = waits_for(site.history, run)
    if standing is None or standing.subject != letter.body["stage"]:
        return ""
    invitation = Invitation(
        person=person, run=run, subject=standing.subject, plan_hash=standing.plan_hash, expires=standing.lapses_at
    )
    return f"\nyours alone: {ApprovalLinks(site.settings.keys).make(site.settings.url, invitation)}"
