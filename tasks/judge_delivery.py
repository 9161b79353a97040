"""What can be known of a delivery before any host is touched: can hosts pull at all, and in time?"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from urllib.parse import urljoin

from tasks.deliveries import Archive
from upkeep.domain.delivery import Delivery, too_slow
from upkeep.domain.plan import Plan
from upkeep.domain.release import Artifact
from upkeep.errors import ArtifactError, BadInput
from upkeep.hosts.ssh_target import SshTarget
from upkeep.services.releases import TrustedRelease
from upkeep.services.web import public
from upkeep.wiring import Site


def judge_delivery(site: Site, plan: Plan, archives: Sequence[Archive], targets: Mapping[str, SshTarget]) -> None:
    """Refuse a delivery that cannot work.

    Raises:
        BadInput: the relay has no address hosts can reach or cannot listen there, or the limits are too low for the time allowed.
    """
    delivery, at_once = plan.delivery, min(plan.at_once, len(targets))
    address = site.relay_address(delivery)
    if archives and delivery.how == "relay":
        _judge_relay(site, delivery, address, targets)
    for archive in archives:
        if why := too_slow(delivery, size_bytes=archive.artifact.size_bytes, hosts_at_once=at_once):
            raise BadInput(
                f"the limits on bandwidth are too low: {why}",
                remedy="raise delivery.timeout or the limits, or lower at_once",
            )


def pull_url(trusted: TrustedRelease, artifact: Artifact, delivery: Delivery) -> str:
    """Where hosts pull an archive from: the plan's URL, else the release's own.

    Raises:
        BadInput: the plan wants hosts to pull from the site, and there is no URL.
    """
    url = delivery.url or urljoin(trusted.location, artifact.url)
    if delivery.how == "site" and not url.startswith(("http://", "https://")):
        raise BadInput(
            "delivery.how is site, but the archive has no http(s) address",
            found=public(url) if "://" in url else url,
            remedy="give delivery.url, or use how: push or relay",
        )
    return url


def _judge_relay(site: Site, delivery: Delivery, address: str, targets: Mapping[str, SshTarget]) -> None:
    far = sorted(target.name for target in targets.values() if not _on_this_machine(target))
    if not address and far:
        raise BadInput(
            "delivery.how is relay, but no address is named at which hosts reach this controller",
            found=f"loopback only, and {far[0]} is another machine",
            allowed="ADDRESS or ADDRESS:PORT in delivery.relay or UPKEEP_RELAY",
            remedy="name this controller's address in the hosts' network",
        )
    try:
        site.relay(delivery).close()
    except ArtifactError as error:
        raise BadInput(str(error)) from error


def _on_this_machine(target: SshTarget) -> bool:
    try:
        return ipaddress.ip_address(target.address).is_loopback and not target.jump
    except ValueError:
        return target.address == "localhost" and not target.jump
