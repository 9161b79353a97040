"""The evidence pack (R5, D10, fault 55): it tells a run and proves it, without a network and without Upkeep."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.unit.audit.conftest import run_record
from upkeep.audit.chain import canonical, chained
from upkeep.audit.checkpoints import Checkpoints
from upkeep.audit.copies import Copies
from upkeep.audit.evidence import write_pack
from upkeep.audit.history import History
from upkeep.audit.signing import KeyFolder
from upkeep.domain.change import HostOutcome, HostResult, RunOutcome, Step
from upkeep.domain.finding import Finding, Verdict
from upkeep.domain.inventory import Host
from upkeep.domain.record import Actor
from upkeep.domain.stages import Candidate, plan_stages
from upkeep.errors import BackupError

VERIFIER = Path(__file__).parents[3] / "upkeep/audit/pack/verify.py"
NASTY = "<script>alert(1)</script>"


def tell(history: History, run: str) -> None:
    """A run with a host that went well, one that did not, and one that nobody knows about; another run's events lie between."""
    record = history.run(run).record
    history.stages_planned(run, plan_stages(record.plan, [Candidate(host, "c") for host in record.targets]))
    history.stage_opened(run, "canary", ["h1", "h2"])
    for phase, value in (("baseline", 40.0), ("verify", 43.0), ("verify", 44.0)):
        with history.step(run, "h1", Step(phase), stage="canary") as step:
            step.body["command"] = f"df {NASTY}"
            step.body["commands"] = [
                {
                    "command": "change: switch",
                    "as_root": True,
                    "seconds": 0.5,
                    "bytes_out": 9,
                    "exit_code": 7,
                    "stderr": NASTY,
                },
                {"command": "uptime", "as_root": False, "seconds": 0.0, "bytes_out": 0, "ended": "Unreachable: gone"},
            ]
        history.findings(
            run,
            "h1",
            phase,
            [Finding(check="host.disk.free", verdict=Verdict.PASS, reason="enough", value=value, unit="GB")],
        )
    history.record("other", "note", reason="of another run")
    history.backup_taken(run, "h1", path="/b/h1.tar.gz", size_bytes=9, sha256="ab" * 32, files=3, verified=True)
    with pytest.raises(BackupError), history.step(run, "h2", Step.BACKUP, stage="canary"):
        raise BackupError(NASTY)
    history.findings(
        run, "h2", "check", [Finding(check="host.clock", verdict=Verdict.WARN, reason=f"late {NASTY}", remedy="ntp")]
    )
    history.host_result(run, "h1", HostResult(outcome=HostOutcome.COMMITTED, from_version="1", to_version="2"))
    history.host_result(run, "h2", HostResult(outcome=HostOutcome.FAILED, reason=NASTY))
    history.stage_closed(run, "canary", "roll back", "1 of 2 failed")
    history.request_stop(run, Actor(name="bob"), "the site burns")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the pack of one run in a history with others, two keys and four checkpoints."""
    folder = tmp_path_factory.mktemp("told")
    history = History.open(f"sqlite:///{folder / 'history.db'}")
    checkpoints = history.seal(KeyFolder(folder / "keys"), Copies(str(folder / "outside")))
    history.open_run(run_record("other"))
    checkpoints.make()
    targets = (Host(name="h1", address="10.0.0.1"), Host(name="h2", address="10.0.0.2"))
    history.open_run(run_record("told", reason="why <not>", ticket="CHG-1", targets=targets))
    history.record("other", "note")
    checkpoints.make()
    history.rotate_key(checkpoints, Actor(name="ann"), "")
    tell(history, "told")
    history.close_run("told", RunOutcome.ROLLED_BACK, "1 of 2 failed")
    history.record("other", "note")
    write_pack(history, checkpoints, "told", folder / "told.zip")
    history.close()
    return folder


@pytest.fixture
def pack(told: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(told / "told.zip", tmp_path))


def verifier(pack: Path, *words: str) -> tuple[int, str]:
    ended = subprocess.run(
        [sys.executable, "-I", "-S", str(VERIFIER), str(pack), *words], capture_output=True, text=True, check=False
    )
    assert ended.stderr == ""
    return ended.returncode, ended.stdout


Files = dict[str, str]


def files_of(pack: Path) -> Files:
    with zipfile.ZipFile(pack) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def put(pack: Path, files: Files) -> None:
    with zipfile.ZipFile(pack, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def relist(files: Files) -> Files:
    """The list of files as somebody makes it who can reckon SHA-256 but has no key."""
    manifest = json.loads(files["manifest.json"])
    manifest["files"] = {name: hashlib.sha256(files[name].encode()).hexdigest() for name in manifest["files"]}
    return files | {"manifest.json": canonical(manifest)}


def test_the_verifier_in_the_pack_is_short_and_finds_a_good_pack_good_with_any_key_of_the_line(
    pack: Path, told: Path, tmp_path: Path
) -> None:
    assert len(VERIFIER.read_text().splitlines()) < 200
    code, said = verifier(pack)
    assert (code, said.startswith("good: run told, 21 events, sealed by checkpoint 4")) == (0, True), said
    keys = sorted((told / "keys").glob("*.pem"))
    assert len(keys) == 2
    assert [verifier(pack, "--key", str(key))[0] for key in keys] == [0, 0]
    with zipfile.ZipFile(pack) as archive:
        archive.extractall(tmp_path / "unpacked")
    inside = subprocess.run(
        [sys.executable, "-I", "-S", str(tmp_path / "unpacked/verify.py")], capture_output=True, check=False
    )
    assert inside.returncode == 0


def test_a_strangers_key_does_not_verify_the_pack(pack: Path, tmp_path: Path) -> None:
    stranger = KeyFolder(tmp_path / "stranger")
    key = stranger.path / f"{stranger.current().id}.pem"
    code, said = verifier(pack, "--key", str(key))
    assert (code, "not one to trust" in said) == (1, True)


def _lines(change: Callable[[list[dict[str, object]]], object]) -> Callable[[Files], Files]:
    def tamper(files: Files) -> Files:
        lines = [json.loads(line) for line in files["events.jsonl"].splitlines()]
        change(lines)
        return files | {"events.jsonl": "".join(canonical(line) + "\n" for line in lines)}

    return tamper


def _edit(lines: list[dict[str, object]], *, rehash: bool = False) -> None:
    for line in lines:
        if "the site burns" in str(line.get("body", "")):
            line["body"] = str(line["body"]).replace("the site burns", "all is well")
            if rehash:
                line["hash"] = chained(int(str(line["seq"])), str(line["body"]), str(line["prev_hash"]))
                lines[lines.index(line) + 1]["prev_hash"] = line["hash"]
                lines[lines.index(line) + 1].pop("body", None)


def _insert(lines: list[dict[str, object]]) -> None:
    lines.insert(5, dict(lines[4]))


def _reorder(lines: list[dict[str, object]]) -> None:
    lines[4], lines[5] = lines[5], lines[4]


def _hide(lines: list[dict[str, object]]) -> None:
    lines[6].pop("body")


def _checkpoint(files: Files) -> Files:
    return files | {"checkpoints.json": files["checkpoints.json"].replace('"n": 2', '"n": 1')}


TAMPERINGS: dict[str, tuple[Callable[[Files], Files], str]] = {
    "edit an event": (_lines(_edit), r"event \d+ was changed after it was written"),
    "edit an event and mend the chain": (
        _lines(lambda lines: _edit(lines, rehash=True)),
        r"an event from 5 to 25 is not one that checkpoint 4",
    ),
    "delete an event": (_lines(lambda lines: lines.pop(5)), "event 7 is missing"),
    "insert an event": (_lines(_insert), "event 7 is missing"),
    "reorder events": (_lines(_reorder), "event 6 is missing"),
    "cut the tail": (_lines(lambda lines: lines.pop()), r"event \d+ is missing: checkpoint"),
    "hide a body": (_lines(_hide), "manifest.json was changed after it was signed"),
    "edit a checkpoint": (_checkpoint, "checkpoint 2 was changed after it was signed"),
    "edit the page": (
        lambda files: files | {"index.html": "all is well"},
        "manifest.json was changed after it was signed",
    ),
    "edit the run": (
        lambda files: files | {"run.json": files["run.json"].replace("why", "who")},
        "manifest.json was changed",
    ),
    "remove a file": (
        lambda files: {name: text for name, text in files.items() if name != "run.json"},
        "run.json is missing",
    ),
    "put a file in": (lambda files: files | {"new.html": ""}, "new.html was put in"),
    "nothing but rubbish": (lambda files: dict.fromkeys(files, "x"), "the pack cannot be read"),
}


@pytest.mark.parametrize("way", TAMPERINGS)
def test_a_pack_that_was_tampered_with_is_refused_and_the_event_named(pack: Path, way: str) -> None:
    tamper, said = TAMPERINGS[way]
    tampered = tamper(files_of(pack))
    put(
        pack,
        relist(tampered) if tampered.keys() == files_of(pack).keys() and way != "nothing but rubbish" else tampered,
    )
    code, text = verifier(pack)
    assert code == 1
    assert re.search(said, text), text


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_tells_the_run_and_fetches_and_runs_nothing(pack: Path) -> None:
    page = Page()
    source = files_of(pack)["index.html"]
    page.feed(source)
    for said in (
        "CHG-1",
        "why <not>",
        "rolled back",
        "the site burns",
        "bob",
        "h2: step backup ended as failed",
        "+10 %",
        "ab" * 32,
        "Stage 1",
        NASTY,
        "change: switch",
        "exit code 7",
        "Unreachable: gone",
    ):
        assert said in page.text, said
    assert page.text.count("host.disk.free") == 1, "a figure that was read twice is shown once"
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object", "form", "base"}
    addresses = [value for _, attrs in page.tags for name, value in attrs.items() if name in {"src", "href", "action"}]
    assert all(address and address.startswith("#") for address in addresses)
    assert "url(" not in source
    assert "@import" not in source
    assert "default-src 'none'" in source


def test_the_page_names_who_approved_what_and_why_a_freeze_did_not_bind(
    history: History, checkpoints: Checkpoints, tmp_path: Path
) -> None:
    history.open_run(run_record("approved", override="the vendor closes the hole tonight"))
    cat, facts = Actor(name="cat"), {"roles": ["sre"], "via": "page"}
    history.say("approved", "approval.given", actor=cat, stage="canary", reason=f"agreed {NASTY}", body=facts)
    write_pack(history, checkpoints, "approved", tmp_path / "approved.zip")
    page = Page()
    page.feed(files_of(tmp_path / "approved.zip")["index.html"])
    for said in ("the vendor closes the hole tonight", "given", "canary", "cat (sre)", "page", f"agreed {NASTY}"):
        assert said in page.text, said


def test_of_other_runs_nothing_but_hashes_leaves_the_house(pack: Path) -> None:
    lines = [json.loads(line) for line in files_of(pack)["events.jsonl"].splitlines()]
    assert {json.loads(line["body"])["run"] for line in lines if "body" in line} == {"told"}
    others = [line for line in lines if "body" not in line]
    assert len(others) >= 3
    assert {tuple(sorted(line)) for line in others} == {("hash", "prev_hash", "seq")}
    assert "of another run" not in "".join(files_of(pack).values())


def test_a_run_that_is_not_over_is_sealed_by_the_export_and_says_so(
    history: History, checkpoints: Checkpoints, tmp_path: Path
) -> None:
    with history.step("r1", "h1", Step.CHECK):
        write_pack(history, checkpoints, "r1", tmp_path / "r1.zip")
    assert verifier(tmp_path / "r1.zip")[0] == 0
    page = files_of(tmp_path / "r1.zip")["index.html"]
    assert "not ended" in page
    assert "nobody knows what came of step check" in page


def test_no_secret_is_in_the_pack(history: History, checkpoints: Checkpoints, tmp_path: Path) -> None:
    history.mask("hunter2-hunter2")
    history.open_run(run_record("secret", reason="with hunter2-hunter2"))
    with pytest.raises(BackupError), history.step("secret", "h1", Step.BACKUP) as step:
        step.body["output"] = "hunter2-hunter2"
        raise BackupError("hunter2-hunter2")
    history.close_run("secret", RunOutcome.FAILED, "hunter2-hunter2")
    write_pack(history, checkpoints, "secret", tmp_path / "s.zip")
    assert "hunter2" not in "".join(files_of(tmp_path / "s.zip").values())
    assert verifier(tmp_path / "s.zip")[0] == 0
