import base64
import hashlib
import hmac
import os
import subprocess
from pathlib import Path

import pytest

from upkeep.errors import BadInput, HostKeyRejected
from upkeep.hosts.host_keys import Presented, load_known_hosts, marked

ED, RSA = "ssh-ed25519", "ssh-rsa"
KEY, OTHER = b"the host's key", b"another key"


def line(names: str, key: bytes = KEY, key_type: str = ED, marker: str = "") -> str:
    return f"{marker} {names} {key_type} {base64.b64encode(key).decode()} a comment\n".lstrip()


def hashed(name: str) -> str:
    salt = os.urandom(20)
    digest = hmac.digest(salt, name.encode(), hashlib.sha1)
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


def presented(
    address: str = "web-1", port: int = 22, blob: bytes = KEY, key_type: str = ED, via: str = ""
) -> Presented:
    return Presented("w", address, port, key_type, blob, via)


def check(tmp_path: Path, text: str, key: Presented) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(text)
    load_known_hosts([file]).check(key)


ACCEPTED = {
    "a plain name": (line("web-1"), presented()),
    "one of several names": (line("web-1,10.0.0.1"), presented("10.0.0.1")),
    "capital letters": (line("Web-1"), presented("WEB-1")),
    "a port": (line("[web-1]:2222"), presented(port=2222)),
    "a line without port, as ssh does": (line("web-1"), presented(port=2222)),
    "IPv6": (line("2001:db8::1"), presented("2001:db8::1")),
    "IPv6 and a port": (line("[2001:db8::1]:2222"), presented("2001:db8::1", 2222)),
    "a hashed name": (line(hashed("web-1")), presented()),
    "a hashed name with port": (line(hashed("[web-1]:2222")), presented(port=2222)),
    "a pattern": (line("web-*,db-?"), presented()),
    "a pattern with port": (line("[web-*]:2222"), presented(port=2222)),
    "one of several keys": (line("web-1", OTHER) + line("web-1"), presented()),
    "comments and rubbish around": (
        "# note\n\nrubbish\nweb-1 half\n" + line("web-1") + "|1|x|y ssh-rsa AAAA\n",
        presented(),
    ),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_a_known_key_is_accepted_through(case: str, tmp_path: Path) -> None:
    check(tmp_path, *ACCEPTED[case])


REJECTED = {
    "unknown": ("", presented(), "UNKNOWN", "ssh-keyscan -p 22 -t ed25519 web-1 >> "),
    "unknown behind a jump host": (
        "",
        presented(via="ssh://a@gate:22"),
        "UNKNOWN",
        "ssh ssh://a@gate:22 'ssh-keyscan -p 22",
    ),
    "changed": (line("web-1", OTHER), presented(), "CHANGED", "ssh-keygen -R web-1 -f "),
    "changed on a port": (
        line("[web-1]:2222", OTHER),
        presented(port=2222),
        "CHANGED",
        "ssh-keygen -R '[web-1]:2222' -f ",
    ),
    "revoked": (line("web-1") + line("*", marker="@revoked"), presented(), "REVOKED", "do not log in"),
    "revoked and not known": (line("web-1", marker="@revoked"), presented(), "REVOKED", "do not log in"),
    "revoked for the host, known for the port": (
        line("[web-1]:9") + line("web-1", marker="@revoked"),
        presented(port=9),
        "REVOKED",
        "do not log",
    ),
    "known by another type only": (
        line("web-1", OTHER, RSA),
        presented(),
        f"only knows {RSA}",
        "ssh-keyscan -p 22 -t ed25519",
    ),
    "excluded by the pattern": (line("*,!web-1"), presented(), "UNKNOWN", "ssh-keyscan"),
    "only a certificate authority": (
        line("web-*", marker="@cert-authority"),
        presented(),
        "@cert-authority lines are not supported",
        "ssh-keyscan",
    ),
    "another host's": (line("web-2"), presented(), "UNKNOWN", "ssh-keyscan"),
    "another port's": (line("[web-1]:22022"), presented(port=2222), "UNKNOWN", "ssh-keyscan -p 2222"),
}


@pytest.mark.parametrize("case", REJECTED)
def test_any_other_key_is_rejected_with_its_fingerprint_and_the_remedy(case: str, tmp_path: Path) -> None:
    text, key, problem, remedy = REJECTED[case]
    with pytest.raises(HostKeyRejected) as caught:
        check(tmp_path, text, key)
    assert problem in caught.value.problem
    assert remedy in caught.value.remedy
    assert key.fingerprint in str(caught.value)
    assert not caught.value.retryable


def test_the_host_is_asked_for_a_key_of_a_known_type(tmp_path: Path) -> None:
    file = tmp_path / "k"
    file.write_text(line("web-1", key_type=RSA) + line("web-1", marker="@revoked") + line("other"))
    assert load_known_hosts([file]).key_types("web-1", 22) == (RSA,)
    assert load_known_hosts([file]).key_types("unheard-of", 22) == ()


def test_a_file_is_read_once_and_again_when_it_changes(tmp_path: Path) -> None:
    file = tmp_path / "k"
    file.write_text(line("web-1"))
    first = load_known_hosts([file])
    assert load_known_hosts([file]) is first
    file.write_text(line("web-1") + line("web-2"))
    load_known_hosts([file]).check(presented("web-2"))


def test_a_file_that_is_not_there_knows_nobody(tmp_path: Path) -> None:
    with pytest.raises(HostKeyRejected, match="UNKNOWN"):
        load_known_hosts([tmp_path / "none"]).check(presented())


def test_a_file_that_cannot_be_read_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        load_known_hosts([tmp_path])


def test_names_and_fingerprints_are_those_of_openssh(tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "k"], check=True)
    public = (tmp_path / "k.pub").read_text().split()[1]
    printed = subprocess.run(
        ["ssh-keygen", "-lf", tmp_path / "k.pub"], check=True, capture_output=True, text=True
    ).stdout.split()[1]
    assert presented(blob=base64.b64decode(public)).fingerprint == printed
    file = tmp_path / "known_hosts"
    file.write_text(f"{marked('Web-1', 2222)} {ED} {public}\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", file], check=True, capture_output=True)
    assert "web-1" not in file.read_text()
    load_known_hosts([file]).check(presented(port=2222, blob=base64.b64decode(public)))
