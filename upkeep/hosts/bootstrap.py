"""How a script travels to a host: one fixed command that any login shell takes, the rest on standard input.

Standard input holds, in this order: the sudo password (if there is one), a call line with a random nonce, the script padded to whole
blocks and closed by the nonce, and the script's own data. The bootstrap throws away every line before the call line, so a password
that sudo did not ask for never reaches the script; a script that arrived in part is never run.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Literal

from pydantic import SecretStr

from upkeep.errors import BadInput

Become = Literal["none", "sudo"]

READY = b"upkeep-ready"
SUDO_PROMPT = "upkeep-password:"
NO_CALL_LINE = 97
SCRIPT_CUT = 98
_CALL = "upkeep-call"
MARKER = "upkeep-begins"
_BLOCK_BYTES = 4096

# No quote, backslash, exclamation mark or line break in here: sh, bash, zsh, fish and csh all read '…' around it alike.
# `dd` and not `head -c`: busybox' head reads ahead and would swallow the script's data.
BOOTSTRAP = (
    "export LC_ALL=C LANG=C;umask 022;PATH=${PATH:-/usr/bin:/bin}:/usr/local/sbin:/usr/sbin:/sbin;export PATH;"
    f"echo {READY.decode()};"
    f'while :;do IFS= read -r u||exit {NO_CALL_LINE};case $u in "{_CALL} "*)break;;esac;done;'
    "set -- $u;"
    f"u=$(dd bs={_BLOCK_BYTES} count=$3 iflag=fullblock 2>/dev/null)||u=$(dd bs=1 count=$(($3*{_BLOCK_BYTES})) 2>/dev/null);"
    f'case $u in *"#$2");;*)exit {SCRIPT_CUT};;esac;'
    f'echo "{MARKER}:$2:$$";echo "{MARKER}:$2:$$">&2;'
    'eval "unset u;set --;$u"'
)


@dataclass(frozen=True)
class Call:
    """One script on its way: the command line, the password line (empty without one), call line and script, and the nonce."""

    command: str
    password_line: SecretStr
    lead: bytes
    nonce: bytes
    become: Become = "none"


def encode_call(script: str, *, become: Become = "none", password: SecretStr | None = None) -> Call:
    """What to execute and what to send first so that a host runs `script`; with `password` sudo is given one, else it may not ask.

    Raises:
        BadInput: the script holds a NUL byte, or the password a line break.
    """
    nonce = secrets.token_hex(16)
    asks = password is not None and become == "sudo"
    return Call(
        command=command_line(become, asks_password=asks),
        password_line=_password_line(password) if password is not None and asks else SecretStr(""),
        lead=framed(script, nonce),
        nonce=nonce.encode(),
        become=become,
    )


def marker(nonce: bytes) -> bytes:
    """How the line begins that a host prints on both streams before the script; its process id follows.

    What is sent to a host does not contain it: a login that only echoes its input is not taken for a script that began.
    """
    return MARKER.encode() + b":" + nonce + b":"


def command_line(become: Become, *, asks_password: bool = False) -> str:
    """The command a host's login shell is asked to run; the same for every script."""
    shell = f"/bin/sh -c '{BOOTSTRAP}'"
    if become == "none":
        return f"exec {shell}"
    asking = f"-S -p {SUDO_PROMPT}" if asks_password else "-n"
    return f"exec env LC_ALL=C sudo {asking} -- {shell}"


def _password_line(password: SecretStr) -> SecretStr:
    text = password.get_secret_value()
    if "\n" in text or text.startswith(f"{_CALL} "):
        raise BadInput("the sudo password cannot be sent", allowed=f"one line that does not begin with '{_CALL} '")
    return SecretStr(f"{text}\n")


def framed(script: str, nonce: str, kind: str = "") -> bytes:
    """A call line and the script behind it, in whole blocks that end with the nonce.

    Raises:
        BadInput: the script holds a NUL byte.
    """
    if "\0" in script:
        raise BadInput("a script holds a NUL byte", allowed="text for /bin/sh")
    body, end = script.encode() + b"\n", f"#{nonce}".encode()
    blocks = -(-(len(body) + len(end)) // _BLOCK_BYTES)
    padding = b"\n" * (blocks * _BLOCK_BYTES - len(body) - len(end))
    return f"{_CALL} {nonce} {blocks} {kind}".strip().encode() + b"\n" + body + padding + end
