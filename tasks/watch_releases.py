"""New releases (U1): the control centre is asked, the manifest is proved, a plan is written from a template; nothing is started."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tasks.open_windows import TEMPLATE
from upkeep.audit.history import History
from upkeep.documents import load_inventory, load_plan, load_profile, profile_path
from upkeep.documents.loading import parse_plan
from upkeep.documents.source import read_text
from upkeep.domain.inventory import Host
from upkeep.domain.plan import Plan
from upkeep.domain.profile import AgentProfile, Trust
from upkeep.domain.release_plan import file_name, plan_name, written_plan
from upkeep.domain.selector import Selector
from upkeep.domain.version import Version
from upkeep.errors import BadInput, Place, ServiceError, UntrustedRelease, UpkeepError
from upkeep.services.control_centre import ControlCentreClient, UpdateOffer
from upkeep.services.releases import TrustedRelease, read_release
from upkeep.wiring import Site


@dataclass(frozen=True)
class Template:
    """A plan whose release is replaced; `inventory` says whose versions count."""

    path: Path
    plan: Plan
    profile: AgentProfile
    hosts: tuple[Host, ...]

    @classmethod
    def read(cls, path: Path, inventory: Path) -> Template:
        """Read and judge it.

        Raises:
            BadInput: it cannot be used, or its plans would start by themselves.
        """
        path = path.absolute()
        plan = load_plan(path)
        if plan.schedule is not None:
            raise BadInput(
                "a template must not have a schedule: a release that was found starts nothing by itself",
                place=Place(str(path), None, "schedule"),
                remedy="remove schedule; add it to a plan after reading it",
            )
        hosts = Selector(plan.targets).pick(load_inventory(inventory).all_hosts())
        if not hosts:
            raise BadInput("targets matches no host", place=Place(str(path), None, "targets"), found=plan.targets)
        return cls(path, plan, load_profile(plan.profile, path), hosts)

    def id_of(self, kind: str, version: str) -> str:
        """Under which the history keeps what was done about a version."""
        about = hashlib.sha256(str(self.path).encode()).hexdigest()[:6]
        return f"{kind}-{self.profile.name}-{version}-{about}"


def templates(site: Site) -> list[tuple[Path, Path]]:
    """The templates in the plans' folders, each with the inventory beside it."""
    found = [path for folder in site.settings.plans for path in sorted(folder.glob(f"*{TEMPLATE}"))]
    return [(path, path.with_name("inventory.yaml")) for path in found]


def watch_release(site: Site, template: Template, now: datetime) -> list[str]:
    """Ask every control centre of the template's hosts; a sentence for each.

    Raises:
        UntrustedRelease: a release is offered that must not be used; it is in the history.
        UpkeepError: the control centre, the manifest or the plan's folder cannot be used.
    """
    return [_asked(site, template, client, versions, now) for client, versions in _centres(site, template)]


def _centres(site: Site, template: Template) -> Iterator[tuple[ControlCentreClient, list[Version]]]:
    """Each control centre with the versions that the template's hosts run, as far as it knows them."""
    nodes: dict[str, set[str]] = {}
    clients: dict[str, ControlCentreClient] = {}
    for host in template.hosts:
        profile = site.profile_for(template.profile, host)
        client = site.centre(profile)
        if client is None or profile.control_centre is None:
            raise BadInput(
                f"profile {profile.name} names no control centre", allowed="control_centre.url", remedy="add it"
            )
        clients.setdefault(client.url, client)
        nodes.setdefault(client.url, set()).add(profile.control_centre.node)
    for url, client in clients.items():
        running = [node.version for node in client.nodes() if node.id in nodes[url] and node.version]
        yield client, [version for text in running if (version := _version(text)) is not None]


def _version(text: str) -> Version | None:
    try:
        return Version.parse(text)
    except ValueError:
        return None


def _asked(site: Site, template: Template, client: ControlCentreClient, versions: list[Version], now: datetime) -> str:
    if not versions:
        return f"{client.url} knows no version of any of the {len(template.hosts)} hosts"
    offer = client.latest(str(min(versions)))
    offered = _version(offer.version or "")
    if offered is None or offered <= min(versions):
        return f"no release newer than {min(versions)}"
    behind = sum(version < offered for version in versions)
    known = site.history.events(template.id_of("release", str(offered)))
    if known:
        return f"{template.profile.name} {offered}: known already, {known[0].reason}"
    return _opened(site, template, offer, now, f"{behind} of {len(template.hosts)} hosts have an older version")


def _opened(site: Site, template: Template, offer: UpdateOffer, now: datetime, behind: str) -> str:
    version = str(offer.version)
    try:
        trusted = _proved(site.history, template, offer, now)
    except UntrustedRelease as error:
        _note_once(site.history, template.id_of("refused", version), "release.refused", str(error), offer)
        raise
    path = template.path.with_name(file_name(template.path.name, version))
    written = _write(path, _draft(template, path, trusted, now))
    what = f"plan written to {path}" if written else f"{path} was there already and is left as it is"
    reason = f"release {template.profile.name} {version} is out: {behind}; {what}; nothing was started"
    body = {
        "product": template.profile.name,
        "version": version,
        "plan": str(path),
        "written": written,
        "manifest": trusted.location,
        "manifest_sha256": trusted.manifest_sha256,
        "key_ids": list(trusted.key_ids),
    }
    site.history.record(template.id_of("release", version), "release.found", reason=reason, body=body)
    return reason


def _proved(history: History, template: Template, offer: UpdateOffer, now: datetime) -> TrustedRelease:
    """The manifest as a run of the new plan will judge it."""
    url = offer.manifest_url or ""
    if not url.startswith(("http://", "https://")):
        raise ServiceError(
            f"the control centre offers {offer.version} without an address of its manifest (found: '{url}')"
        )
    trust, folder = _trust(template)
    name = template.profile.name
    trusted = read_release(
        url,
        template.path,
        trust,
        folder,
        product=name,
        now=now,
        seen_seq=lambda channel, key_id: history.release_seq_seen(f"{name}/{channel}", key_id),
    )
    if trusted.release.version != offer.version:
        raise UntrustedRelease(
            "the manifest is of another version than the control centre offers",
            place=Place(url, None, "version"),
            found=trusted.release.version,
            allowed=str(offer.version),
            remedy="ask the control centre's owner; nothing was written",
        )
    return trusted


def _trust(template: Template) -> tuple[Trust, Path]:
    if template.plan.trust is not None:
        return template.plan.trust, template.path.parent
    if template.profile.trust is not None:
        return template.profile.trust, profile_path(template.plan.profile, template.path).parent
    raise BadInput(
        f"nobody is trusted to sign releases of {template.profile.name}",
        place=Place(str(template.path)),
        allowed="trust: {keys: [{id: …, file: KEY.pem}]} in the template or the profile",
        remedy="add the vendor's public key",
    )


def _draft(template: Template, path: Path, trusted: TrustedRelease, now: datetime) -> str:
    """The new plan's text, which differs from the template in name and release and in nothing else."""
    name = plan_name(template.plan.name, trusted.release.version)
    source = template.path.name
    try:
        text = written_plan(read_text(template.path), name=name, release=trusted.location, source=source, at=now)
    except ValueError as error:
        raise BadInput(str(error), place=Place(str(template.path)), remedy="write it on one line") from error
    if parse_plan(text, str(path)) != template.plan.model_copy(update={"name": name, "release": trusted.location}):
        raise BadInput("the template cannot be filled without changing more than name and release", place=Place(source))
    return text


def _write(path: Path, text: str) -> bool:
    """Write a new file, whole or not at all; False where there is one already."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        return False
    except OSError as error:
        raise BadInput(f"the plan cannot be written: {error.strerror}", place=Place(str(path))) from error
    finally:
        draft.unlink(missing_ok=True)
    return True


def _note_once(history: History, about: str, action: str, reason: str, offer: UpdateOffer) -> None:
    if not any(event.reason == reason for event in history.events(about)):
        history.record(about, action, reason=reason, body={"version": offer.version, "manifest": offer.manifest_url})


def watch_all(site: Site, now: datetime) -> Iterator[str]:
    """Every template in the plans' folders; one that cannot be used does not keep the others from being watched."""
    for path, inventory in templates(site):
        try:
            for sentence in watch_release(site, Template.read(path, inventory), now):
                yield f"{path.name}: {sentence}"
        except UpkeepError as error:
            yield f"{path.name}: {error}"
