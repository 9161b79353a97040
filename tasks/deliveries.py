"""What the deliveries of one run share: the way chosen, the limits on bandwidth, and the relay while it is needed."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from pydantic import SecretStr

from upkeep.domain.bandwidth import Bucket, Throttle, bytes_per_second
from upkeep.domain.delivery import Chosen, Delivery, choose
from upkeep.domain.plan import Plan
from upkeep.domain.release import Artifact
from upkeep.services.relay import Relay
from upkeep.wiring import Site

_LEEWAY = timedelta(minutes=1)


@dataclass(frozen=True)
class Archive:
    """A verified archive on the controller; `url` is where hosts may pull it from."""

    artifact: Artifact
    path: Path
    url: str


class Deliveries:
    """How archives go to the hosts of one run; safe to use from many threads."""

    def __init__(self, plan: Plan, hosts: int, site: Site) -> None:
        self.delivery: Delivery = plan.delivery
        self._hosts, self._at_once, self._site = hosts, min(plan.at_once, hosts), site
        total = self.delivery.total_mbit
        self._total = Bucket(bytes_per_second(total)) if total is not None else None
        self._relay: Relay | None = None
        self._lock = threading.Lock()

    def chosen(self, archive: Archive) -> Chosen:
        """The way this archive goes, and why."""
        return choose(
            self.delivery,
            size_bytes=archive.artifact.size_bytes,
            hosts=self._hosts,
            relay=self._site.relay_address(self.delivery),
            site_url=archive.url,
        )

    def throttle(self) -> Throttle:
        """The limits of one more transfer: its own, and the one that all transfers of the run are under together."""
        alone = [Bucket(bytes_per_second(self.delivery.per_host_mbit))] if self.delivery.per_host_mbit else []
        return Throttle((*alone, *([self._total] if self._total else [])))

    def pull_limit(self, *, from_site: bool) -> int | None:
        """Bytes per second a pulling host may ask for: what comes from elsewhere no bucket here can hold back."""
        limit = self.delivery.share(self._at_once) if from_site else self.delivery.per_host
        return None if limit is None else max(1, int(limit))

    def grant(self, host: str, archive: Archive) -> SecretStr:
        """An address at the relay, good once, for one host; the relay starts with the first.

        Raises:
            ArtifactError: the relay cannot listen.
        """
        with self._lock:
            if self._relay is None:
                self._relay = self._site.relay(self.delivery)
            relay = self._relay
        return relay.grant(
            host,
            archive.path,
            archive.artifact.sha256,
            good_for=self.delivery.timeout + _LEEWAY,
            throttle=self.throttle(),
        )

    def close(self) -> None:
        """End the relay."""
        with self._lock:
            relay, self._relay = self._relay, None
        if relay is not None:
            relay.close()
