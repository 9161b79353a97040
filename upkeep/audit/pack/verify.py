"""Verify an evidence pack or an archive of Upkeep: python3 verify.py [FILE.zip] [--key PUBLIC.pem] [--checkpoints DIR].

Exit code 0: list and checkpoints are signed, every file is listed, the events are those that were sealed. 1: what is not is named.
If you trust nobody, take this file from Upkeep, not from the pack, and public key (--key) and copies of checkpoints (--checkpoints)
from where nobody of the site can write. Needs openssl 3.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any, Dict

EVENT_DOMAIN = b"upkeep.event.v1\0"
GENESIS = hashlib.sha256(b"upkeep history v1").hexdigest()
PEM = "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n"
ED25519_PREFIX = bytes.fromhex("302a300506032b6570032100")
Files = Dict[str, bytes]  # by name; keys by id
canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


class Bad(Exception):
    """Something is not as it was signed."""


def need(right: object, said: str) -> None:
    if not right:
        raise Bad(said)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pack", nargs="?", type=Path, default=Path(__file__).resolve().parent)
    parser.add_argument("--key", action="append", type=Path, default=[], help="trust only this key and its rotations")
    parser.add_argument("--checkpoints", type=Path, help="copies of checkpoints that were kept elsewhere")
    asked = parser.parse_args()
    try:
        files = read(asked.pack)
        keys, key_note = trusted_keys(files, asked.key)
        manifest = check_files(files, keys)
        checkpoints = check_checkpoints(files, keys)
        lines = check_events(files, checkpoints)
        events = [json.loads(line["body"]) for line in lines if "body" in line]
        check_run(files, manifest, events)
        if asked.checkpoints:
            check_copies(asked.checkpoints, keys, manifest["made_at"], lines, events)
    except (Bad, OSError, LookupError, TypeError, ValueError, AttributeError, zipfile.BadZipFile) as error:
        print("NOT GOOD:", error if isinstance(error, Bad) else f"the pack cannot be read: {error!r}")
        return 1
    told = f"{len(events)} events, sealed by checkpoint {checkpoints[-1]['id']}; {key_note}"
    print(f"good: run {manifest['run']}, {told}" if "run" in manifest else f"good: archive, {told}")
    return 0


def read(pack: Path) -> Files:
    if pack.is_dir():
        return {path.name: path.read_bytes() for path in pack.glob("*.*") if path.suffix != ".zip"}
    with zipfile.ZipFile(pack) as archive:
        names = archive.namelist()
        need(len(names) == len(set(names)), "the pack holds a file twice")
        return {name: archive.read(name) for name in names}


def key_id(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()[:16]


def raw_of(pem: bytes) -> bytes:
    der = base64.b64decode("".join(line for line in pem.decode().splitlines() if not line.startswith("-----")))
    need(der.startswith(ED25519_PREFIX) and len(der) == len(ED25519_PREFIX) + 32, "a public key is not Ed25519")
    return der[len(ED25519_PREFIX) :]


def signed(raw: bytes, text: str, signature: str) -> bool:
    with tempfile.TemporaryDirectory() as name:
        pem = PEM.format(base64.b64encode(ED25519_PREFIX + raw).decode())
        for file, content in (("key", pem.encode()), ("text", text.encode()), ("sig", base64.b64decode(signature))):
            Path(name, file).write_bytes(content)
        command = "openssl pkeyutl -verify -rawin -pubin -inkey key -in text -sigfile sig"
        return subprocess.run(command.split(), cwd=name, capture_output=True, check=False).returncode == 0


def trusted_keys(files: Files, given: list[Path]) -> tuple[Files, str]:
    """By id: the keys given, and those a change signed by both ties to one of them; without --key, the pack's own."""
    raws, note = [raw_of(path.read_bytes()) for path in given], "the key is one you gave"
    if not given:
        raws = [raw_of(content) for name, content in files.items() if name.endswith(".pem")]
        note = "signed with key " + ", ".join(map(key_id, raws)) + ": compare that with the one you were told"
    trusted = {key_id(raw): raw for raw in raws}
    waiting = []
    for rotation in json.loads(files["rotations.json"]):
        facts = {name: rotation[name] for name in ("old_public", "new_public", "at")}
        statement = canonical({**facts, "what": "upkeep history key rotation v1"})
        old, new = base64.b64decode(rotation["old_public"]), base64.b64decode(rotation["new_public"])
        if signed(old, statement, rotation["signed_by_old"]) and signed(new, statement, rotation["signed_by_new"]):
            waiting.append((old, new))
    while tied := [pair for pair in waiting if any(key_id(raw) in trusted for raw in pair)]:
        trusted.update({key_id(raw): raw for pair in tied for raw in pair})
        waiting = [pair for pair in waiting if pair not in tied]
    return trusted, note


def check_files(files: Files, keys: Files) -> Any:
    manifest = json.loads(files["manifest.json"])
    need(manifest["key_id"] in keys, f"manifest.json is signed with {manifest['key_id']}, which is not one to trust")
    changed = [
        f"{name} was changed after the pack was made" if name in files else f"{name} is missing"
        for name, digest in sorted(manifest["files"].items())
        if hashlib.sha256(files.get(name, b"no such file")).hexdigest() != digest
    ]
    changed += [f"{name} was put in" for name in set(files) - {*manifest["files"], "manifest.json", "manifest.sig"}]
    if not signed(keys[manifest["key_id"]], files["manifest.json"].decode(), files["manifest.sig"].decode()):
        changed.append("manifest.json was changed after it was signed")
    if changed:
        try:  # say which event it is, where that can be said
            check_events(files, check_checkpoints(files, keys))
        except (Bad, LookupError, TypeError, ValueError) as bad:
            changed.append(str(bad))
        raise Bad("; ".join(changed))
    return manifest


def check_checkpoints(files: Files, keys: Files) -> list[Any]:
    checkpoints = json.loads(files["checkpoints.json"])
    for before, one in zip([None, *checkpoints], checkpoints):  # noqa: B905 - Python 3.9 has no strict
        check_signature(one, keys)
        follows = not before or (before["sig"], before["upto_seq"]) == (one["prev_sig"], one["upto_seq"] - one["n"])
        need(follows, f"checkpoint {one['id']} does not follow the one before it")
    need(checkpoints, "there is no checkpoint")
    return list(checkpoints)


def check_signature(one: Any, keys: Files) -> None:
    facts = {**{name: value for name, value in one.items() if name != "sig"}, "what": "upkeep history checkpoint v1"}
    need(one["key_id"] in keys, f"checkpoint {one['id']} is signed with key {one['key_id']}, which is not one to trust")
    good = signed(keys[one["key_id"]], canonical(facts), one["sig"])
    need(good, f"checkpoint {one['id']} was changed after it was signed")


def check_copies(folder: Path, keys: Files, made_at: str, lines: list[Any], events: list[Any]) -> None:
    """Copies that were kept elsewhere agree with the events; those of a run without an end were not cut off."""
    ended = any(event["action"] == "run.closed" for event in events)
    copies = [json.loads(path.read_bytes()) for path in folder.glob("checkpoint-*.json")]
    for copy in sorted(copies, key=lambda one: (one["id"], one["at"])):
        check_signature(copy, keys)
        here = lines[0]["seq"] <= copy["upto_seq"] - copy["n"] + 1 and copy["at"] < made_at
        if here and (copy["upto_seq"] <= lines[-1]["seq"] or not ended):
            check_seal([line["hash"] for line in lines], lines[0]["seq"], copy)


def check_events(files: Files, checkpoints: list[Any]) -> list[Any]:
    """Each event's hash, and the chain; returns the lines."""
    first_seq = checkpoints[0]["upto_seq"] - checkpoints[0]["n"] + 1
    lines = [json.loads(line) for line in files["events.jsonl"].decode().split("\n") if line]
    prev = lines[0]["prev_hash"] if first_seq > 1 and lines else GENESIS
    for expected, line in enumerate(lines, first_seq):
        need(line["seq"] == expected, f"event {expected} is missing")
        need(line["prev_hash"] == prev, f"event {expected} does not follow the one before it")
        if "body" in line:
            hashed = hashlib.sha256(EVENT_DOMAIN + f"{expected}\0{prev}\0{line['body']}".encode()).hexdigest()
            need(hashed == line["hash"], f"event {expected} was changed after it was written")
        prev = line["hash"]
    hashes = [line["hash"] for line in lines]
    for one in checkpoints:
        check_seal(hashes, first_seq, one)
    last = checkpoints[-1]["upto_seq"]
    need(len(hashes) == last - first_seq + 1, f"event {last + 1} is covered by no checkpoint")
    return lines


def check_seal(hashes: list[str], first_seq: int, one: Any) -> None:
    first = one["upto_seq"] - one["n"] + 1
    sealed = hashes[first - first_seq : first - first_seq + one["n"]]
    covers = f"is missing: checkpoint {one['id']} covers {one['upto_seq']}"
    need(len(sealed) == one["n"], f"event {first_seq + len(hashes)} {covers}")
    digest = hashlib.sha256("".join(f"{text}\n" for text in sealed).encode()).hexdigest()
    said = f"an event from {first} to {one['upto_seq']} is not one that checkpoint {one['id']} was signed over"
    need(digest == one["hashes_sha256"], said)


def check_run(files: Files, manifest: Any, events: list[Any]) -> None:
    seqs = manifest.get("events") or [*range(manifest["first"], manifest["last"] + 1)]
    need([event["seq"] for event in events] == seqs, "these are not the events the signed list names")
    if "run" in manifest:  # else an archive: every event of its stretch
        for event in events:
            need(event["run"] == manifest["run"], f"event {event['seq']} is not of run {manifest['run']}")
        frozen = events[0]["body"].get("record_sha256", digest := hashlib.sha256(files["run.json"]).hexdigest())
        need(digest == frozen, f"run.json is not what event {events[0]['seq']} says the run was opened with")


if __name__ == "__main__":
    sys.exit(main())
