"""Verify an evidence pack or an archive of Upkeep: python3 verify.py [FILE.zip] [--key PUBLIC.pem] [--checkpoints DIR].

Exit code 0: list and checkpoints are signed, every file is listed, the events are those that were sealed; 1: what is not is named.
Trusting nobody, take this file from Upkeep, and what --key and --checkpoints name from where nobody of the site writes. Needs openssl 3.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import subprocess
import tempfile
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

ED25519 = bytes.fromhex("302a300506032b6570032100")
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
        hashes, events = check_events(files, checkpoints)
        check_run(files, manifest, events)
        if asked.checkpoints:
            check_copies(asked.checkpoints, keys, manifest["made_at"], hashes, events)
    except (Bad, OSError, LookupError, TypeError, ValueError, AttributeError, zipfile.BadZipFile) as error:
        print("NOT GOOD:", error if isinstance(error, Bad) else f"the pack cannot be read: {error!r}")
        return 1
    told = f"{len(events)} events, sealed by checkpoint {checkpoints[-1]['id']}; {key_note}"
    print(f"good: run {manifest['run']}, {told}" if "run" in manifest else f"good: archive, {told}")
    return 0


def read(pack: Path) -> dict[str, Any]:  # by name, what opens each file
    if pack.is_dir():
        return {path.name: partial(path.open, "rb") for path in pack.glob("*.*") if path.suffix != ".zip"}
    archive = zipfile.ZipFile(pack)
    need(len(names := archive.namelist()) == len(set(names)), "the pack holds a file twice")
    return {name: partial(archive.open, name) for name in names}


def sha256(opening: Any) -> str:
    digest, file = hashlib.sha256(), opening()
    while part := file.read(1 << 20):
        digest.update(part)
    return digest.hexdigest()


def key_id(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()[:16]


def raw_of(pem: bytes) -> bytes:
    der = base64.b64decode("".join(line for line in pem.decode().splitlines() if not line.startswith("-----")))
    need(der.startswith(ED25519) and len(der) == len(ED25519) + 32, "a public key is not Ed25519")
    return der[len(ED25519) :]


def signed(raw: bytes, text: str, signature: str) -> bool:
    with tempfile.TemporaryDirectory() as name:
        pem = f"-----BEGIN PUBLIC KEY-----\n{base64.b64encode(ED25519 + raw).decode()}\n-----END PUBLIC KEY-----\n"
        for file, content in (("key", pem.encode()), ("text", text.encode()), ("sig", base64.b64decode(signature))):
            Path(name, file).write_bytes(content)
        command = "openssl pkeyutl -verify -rawin -pubin -inkey key -in text -sigfile sig"
        return subprocess.run(command.split(), cwd=name, capture_output=True, check=False).returncode == 0


def trusted_keys(files: dict[str, Any], given: list[Path]) -> tuple[dict[str, bytes], str]:
    """By id: the keys given, and those a change signed by both ties to one of them; without --key, the pack's own."""
    raws, note = [raw_of(path.read_bytes()) for path in given], "the key is one you gave"
    if not given:
        raws = [raw_of(opening().read()) for name, opening in files.items() if name.endswith(".pem")]
        note = "signed with key " + ", ".join(map(key_id, raws)) + ": compare that with the one you were told"
    trusted = {key_id(raw): raw for raw in raws}
    waiting = []
    for rotation in json.loads(files["rotations.json"]().read()):
        facts = {name: rotation[name] for name in ("old_public", "new_public", "at")}
        statement = canonical({**facts, "what": "upkeep history key rotation v1"})
        old, new = base64.b64decode(rotation["old_public"]), base64.b64decode(rotation["new_public"])
        if signed(old, statement, rotation["signed_by_old"]) and signed(new, statement, rotation["signed_by_new"]):
            waiting.append((old, new))
    while tied := [pair for pair in waiting if any(key_id(raw) in trusted for raw in pair)]:
        trusted.update({key_id(raw): raw for pair in tied for raw in pair})
        waiting = [pair for pair in waiting if pair not in tied]
    return trusted, note


def check_files(files: dict[str, Any], keys: dict[str, bytes]) -> Any:
    listed, sig = (files[name]().read().decode() for name in ("manifest.json", "manifest.sig"))
    manifest = json.loads(listed)
    need(manifest["key_id"] in keys, f"manifest.json is signed with {manifest['key_id']}, which is not one to trust")
    changed = [
        f"{name} was changed after the pack was made" if name in files else f"{name} is missing"
        for name, digest in sorted(manifest["files"].items())
        if name not in files or sha256(files[name]) != digest
    ]
    changed += [f"{name} was put in" for name in set(files) - {*manifest["files"], "manifest.json", "manifest.sig"}]
    if not signed(keys[manifest["key_id"]], listed, sig):
        changed.append("manifest.json was changed after it was signed")
    if changed:
        try:  # say which event it is, where that can be said
            check_events(files, check_checkpoints(files, keys))
        except (Bad, LookupError, TypeError, ValueError) as bad:
            changed.append(str(bad))
        raise Bad("; ".join(changed))
    return manifest


def check_checkpoints(files: dict[str, Any], keys: dict[str, bytes]) -> list[Any]:
    checkpoints = json.loads(files["checkpoints.json"]().read())
    for before, one in zip([None, *checkpoints], checkpoints):  # noqa: B905 - Python 3.9 has no strict
        check_signature(one, keys)
        follows = not before or (before["sig"], before["upto_seq"]) == (one["prev_sig"], one["upto_seq"] - one["n"])
        need(follows, f"checkpoint {one['id']} does not follow the one before it")
    need(checkpoints, "there is no checkpoint")
    return list(checkpoints)


def check_signature(one: Any, keys: dict[str, bytes]) -> None:
    facts = {**{name: value for name, value in one.items() if name != "sig"}, "what": "upkeep history checkpoint v1"}
    need(one["key_id"] in keys, f"checkpoint {one['id']} is signed with key {one['key_id']}, which is not one to trust")
    good = signed(keys[one["key_id"]], canonical(facts), one["sig"])
    need(good, f"checkpoint {one['id']} was changed after it was signed")


def check_copies(folder: Path, keys: dict[str, bytes], made_at: str, hashes: dict[int, str], events: list[Any]) -> None:
    """Copies that were kept elsewhere agree with the events; those of a run without an end were not cut off."""
    ended = any(action == "run.closed" for _, _, action, _ in events)
    copies = [json.loads(path.read_bytes()) for path in folder.glob("checkpoint-*.json")]
    for copy in sorted(copies, key=lambda one: (one["id"], one["at"])):
        check_signature(copy, keys)
        here = min(hashes) <= copy["upto_seq"] - copy["n"] + 1 and copy["at"] < made_at
        if here and (copy["upto_seq"] <= max(hashes) or not ended):
            check_seal(hashes, copy)


def check_events(files: dict[str, Any], checkpoints: list[Any]) -> tuple[dict[int, str], list[Any]]:
    """Each event's hash, and the chain; of those with a text number, run, action and frozen run: texts are not kept."""
    first, last = checkpoints[0]["upto_seq"] - checkpoints[0]["n"] + 1, checkpoints[-1]["upto_seq"]
    hashes, events, prev = {}, [], hashlib.sha256(b"upkeep history v1").hexdigest()
    for expected, line in enumerate(map(json.loads, files["events.jsonl"]()), first):
        prev = line["prev_hash"] if expected == first > 1 else prev
        need(line["seq"] == expected, f"event {expected} is missing")
        need(line["prev_hash"] == prev, f"event {expected} does not follow the one before it")
        if "body" in line:
            hashed = hashlib.sha256(f"upkeep.event.v1\0{expected}\0{prev}\0{line['body']}".encode()).hexdigest()
            need(hashed == line["hash"], f"event {expected} was changed after it was written")
            event = json.loads(line["body"])
            events.append((event["seq"], event["run"], event["action"], event["body"].get("record_sha256")))
        prev = hashes[expected] = line["hash"]
    for one in checkpoints:
        check_seal(hashes, one)
    need(last + 1 not in hashes, f"event {last + 1} is covered by no checkpoint")
    return hashes, events


def check_seal(hashes: dict[int, str], one: Any) -> None:
    first, last = one["upto_seq"] - one["n"] + 1, one["upto_seq"]
    missing = next((seq for seq in range(first, last + 1) if seq not in hashes), None)
    need(missing is None, f"event {missing} is missing: checkpoint {one['id']} covers {last}")
    digest = hashlib.sha256("".join(f"{hashes[seq]}\n" for seq in range(first, last + 1)).encode()).hexdigest()
    said = f"an event from {first} to {last} is not one that checkpoint {one['id']} was signed over"
    need(digest == one["hashes_sha256"], said)


def check_run(files: dict[str, Any], manifest: Any, events: list[Any]) -> None:
    seqs = manifest.get("events") or [*range(manifest["first"], manifest["last"] + 1)]
    need([seq for seq, _, _, _ in events] == seqs, "these are not the events the signed list names")
    if "run" in manifest:  # else an archive: every event of its stretch
        for seq, run, _, _ in events:
            need(run == manifest["run"], f"event {seq} is not of run {manifest['run']}")
        need(events[0][3] in {None, sha256(files["run.json"])}, f"run.json is not what event {seqs[0]} was opened with")


if __name__ == "__main__":
    raise SystemExit(main())
