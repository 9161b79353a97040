"""A new release opens a plan and does nothing else (U1; issue 5: 7)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tasks.watch_releases import Template, watch_all, watch_release
from tests.unit.services.publisher import NOW, Publisher
from tests.unit.services.site import Site as Server
from tests.unit.services.site import running
from upkeep.documents import load_plan
from upkeep.errors import BadInput, ServiceError, UntrustedRelease
from upkeep.lab.site_files import builtin_profile
from upkeep.settings import Settings
from upkeep.wiring import Site

TEMPLATE = """\
# How every release of the agent is rolled out.
name: agent-1.4.2
profile: profile.yaml
release: release-1.4.2.json # replaced by release_watch
targets: env=prod
notes: |
  release: this text is not a key
"""


class Centre:
    """A control centre with two nodes, a publisher behind it, and a plans' folder."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.server, self.folder = server, folder / "home" / "plans"
        self.folder.mkdir(parents=True)
        (folder / "vendor").mkdir()
        self.publisher = Publisher(folder / "vendor")
        self.site = Site(Settings.from_environment({"UPKEEP_HOME": str(folder / "home")}))
        self.template = self.folder / "agent.template.yaml"
        self.template.write_text(TEMPLATE)
        hosts = {name: {"address": f"10.0.0.{n}", "labels": {"env": "prod"}} for n, name in enumerate(("h1", "h2"), 1)}
        texts = {"root": "", "agent_address": "127.0.0.1", "agent_port": "1"}
        texts |= {"control_centre_address": "127.0.0.1", "control_centre_port": "1", "control_centre_ca": ""}
        inventory = {"defaults": {"vars": texts}, "hosts": hosts}
        (self.folder / "inventory.yaml").write_text(yaml.safe_dump(inventory))
        keys = [{"id": "a", "file": str(folder / "vendor" / "a.pem")}]
        profile = builtin_profile() | {"control_centre": {"url": server.url}, "trust": {"keys": keys}}
        (self.folder / "profile.yaml").write_text(yaml.safe_dump(profile))
        self.tell_nodes(h1="1.4.2", h2="1.5.0")
        self.offer("1.5.0")

    def tell(self, path: str, told: object) -> None:
        self.server.serve(path, json.dumps(told).encode(), Content_Type="application/json")

    def tell_nodes(self, **versions: str) -> None:
        self.tell("/v1/nodes", [{"id": name, "online": True, "version": text} for name, text in versions.items()])

    def offer(self, offered: str, *, manifest: str | None = None, **facts: object) -> None:
        """The release that the control centre offers, and its manifest."""
        self.publisher.publish(**({"version": offered} | facts))
        for name in ("release.json", "release.json.sig"):
            self.server.serve(f"/releases/{name}", (self.publisher.folder / name).read_bytes())
        url = f"{self.server.url}/releases/release.json" if manifest is None else manifest
        self.tell("/v1/agent/update", {"required": True, "version": offered, "manifest_url": url})

    def watch(self) -> str:
        inventory = self.folder / "inventory.yaml"
        (sentence,) = watch_release(self.site, Template.read(self.template, inventory), NOW)
        return sentence

    def plans(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir() if path.name.startswith("agent-"))

    def events(self) -> list[str]:
        with self.site.history.event_rows() as rows:
            return [row.action for row in rows]


@pytest.fixture
def centre(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Centre]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with running() as server:
        made = Centre(tmp_path, server)
        yield made
        made.site.checkpoints.close()
        made.site.history.close()


def test_a_new_release_becomes_a_plan_that_differs_from_the_template_in_name_and_release_only(centre: Centre) -> None:
    assert "1 of 2 hosts have an older version; plan written to" in centre.watch()
    assert centre.plans() == ["agent-1.5.0.yaml"]
    plan, template = load_plan(centre.folder / "agent-1.5.0.yaml"), load_plan(centre.template)
    assert (plan.name, plan.release) == ("agent-1.5.0", f"{centre.server.url}/releases/release.json")
    assert plan.model_copy(update={"name": template.name, "release": template.release}) == template
    text = (centre.folder / "agent-1.5.0.yaml").read_text()
    assert "# How every release of the agent is rolled out." in text
    assert text.startswith(
        "# Opened on 2026-06-01 12:00 UTC by release_watch from agent.template.yaml. Nothing was started"
    )
    assert centre.template.read_text() == TEMPLATE


def test_it_is_recorded_and_announced_once_and_nothing_is_started(centre: Centre) -> None:
    centre.watch()
    (event,) = centre.site.history.events(
        Template.read(centre.template, centre.folder / "inventory.yaml").id_of("release", "1.5.0")
    )
    assert (event.action, event.body["version"], event.body["key_ids"]) == ("release.found", "1.5.0", ["a"])
    assert "known already" in centre.watch()
    (centre.folder / "agent-1.5.0.yaml").unlink()
    assert "known already" in centre.watch(), "a person took the plan away"
    assert centre.plans() == []
    assert centre.events() == ["release.found"]
    assert centre.site.history.runs() == []


def test_a_plan_that_lies_there_already_is_never_overwritten(centre: Centre) -> None:
    (centre.folder / "agent-1.5.0.yaml").write_text("name: my own\n")
    assert "was there already and is left as it is" in centre.watch()
    assert (centre.folder / "agent-1.5.0.yaml").read_text() == "name: my own\n"
    assert not list(centre.folder.glob(".*")), "no draft is left behind"


@pytest.mark.parametrize("versions", [{"h1": "1.5.0", "h2": "1.5.0"}, {"h1": "1.6.0", "h2": "1.7.0"}])
def test_without_a_newer_release_nothing_happens(centre: Centre, versions: dict[str, str]) -> None:
    centre.tell_nodes(**versions)
    assert centre.watch() == f"no release newer than {min(versions.values())}"
    assert (centre.plans(), centre.events()) == ([], [])


def test_versions_of_hosts_that_are_not_the_plans_do_not_count(centre: Centre) -> None:
    centre.tell_nodes(h1="1.5.0", h2="1.5.0", other="1.0.0")
    assert "no release newer than 1.5.0" in centre.watch()
    centre.tell_nodes(other="1.0.0")
    assert "knows no version of any of the 2 hosts" in centre.watch()


def test_a_forged_release_opens_nothing_and_is_recorded_once(centre: Centre) -> None:
    forged = centre.publisher.manifest.read_bytes().replace(b'"release_seq": 7', b'"release_seq": 8')
    centre.server.serve("/releases/release.json", forged)
    for _ in range(2):
        with pytest.raises(UntrustedRelease, match="the signature is not valid"):
            centre.watch()
    assert (centre.plans(), centre.events()) == ([], ["release.refused"])


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"product": "another"}, "the release is for another agent"),
        ({"expires": "2026-05-01T00:00:00Z"}, "has expired"),
        ({"version": "1.4.9"}, "of another version than the control centre offers"),
    ],
)
def test_a_release_that_no_run_could_use_opens_nothing(centre: Centre, facts: dict[str, object], said: str) -> None:
    centre.offer("1.5.0", **facts)
    with pytest.raises(UntrustedRelease, match=said):
        centre.watch()
    assert centre.plans() == []


@pytest.mark.parametrize("manifest", ["", "/etc/passwd", "file:///etc/passwd"])
def test_only_an_address_of_a_manifest_is_followed(centre: Centre, manifest: str) -> None:
    centre.offer("1.5.0", manifest=manifest)
    with pytest.raises(ServiceError, match="without an address of its manifest"):
        centre.watch()


def test_a_template_that_would_start_by_itself_is_refused(centre: Centre) -> None:
    window = "window: {zone: UTC, rule: FREQ=DAILY, start: 2026-11-20 22:00, duration: 6h}\n"
    centre.template.write_text(TEMPLATE + window + "schedule: maintenance\n")
    with pytest.raises(BadInput, match="a template must not have a schedule"):
        centre.watch()


@pytest.mark.parametrize("release", ["release: >-\n  release.json", "release: &r release.json"])
def test_a_template_that_cannot_be_filled_says_why(centre: Centre, release: str) -> None:
    centre.template.write_text(TEMPLATE.replace("release: release-1.4.2.json # replaced by release_watch", release))
    with pytest.raises(BadInput, match="'release:' must stand on one line of its own"):
        centre.watch()
    assert centre.plans() == []


def test_one_template_that_cannot_be_used_does_not_keep_the_others_from_being_watched(centre: Centre) -> None:
    (centre.folder / "a-bad-one.template.yaml").write_text("name: [\n")
    bad, good = watch_all(centre.site, NOW)
    assert bad.startswith("a-bad-one.template.yaml: ")
    assert "plan written to" in good


def test_a_control_centre_that_is_down_is_said_and_nothing_is_written(centre: Centre) -> None:
    centre.server.answers.clear()
    (said,) = watch_all(centre.site, NOW)
    assert "lists no nodes" in said
    assert (centre.plans(), centre.events()) == ([], [])
