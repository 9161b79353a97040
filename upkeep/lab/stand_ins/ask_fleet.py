"""`systemctl` and `journalctl` of a lab host: hands the command line to the fleet process and prints its answer.

Arguments: the lab's directory, the host, the command, its arguments. Imports next to nothing, because it is started often.
"""

import os
import sys
from _socket import AF_UNIX, SHUT_WR, SOCK_STREAM, socket

UNAVAILABLE = 1


def main(arguments: list[str]) -> int:
    """Ask and print; the exit code of the command."""
    here = os.open(".", os.O_RDONLY) if os.access(".", os.R_OK) else -1
    connection = socket(AF_UNIX, SOCK_STREAM)
    try:
        os.chdir(arguments[0])
        connection.connect("control.sock")
    except OSError as error:
        sys.stderr.write(f"{arguments[2]}: the lab is not running ({error.strerror})\n")
        return UNAVAILABLE
    if here >= 0:
        os.fchdir(here)
    connection.sendall("\0".join(arguments[1:]).encode("utf-8", "surrogateescape"))
    connection.shutdown(SHUT_WR)
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    head, _, rest = b"".join(parts).partition(b"\n")
    if not head:
        sys.stderr.write(f"{arguments[2]}: the lab stopped before it answered\n")
        return UNAVAILABLE
    code, length = (int(word) for word in head.split())
    os.write(1, rest[:length]) if length else None
    sys.stderr.write(rest[length:].decode("utf-8", "replace"))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
