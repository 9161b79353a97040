"""Ten real Linux hosts on this machine: systemd as PID 1, sshd, journald, own disk and network (the script `hosts` beside this file)."""

from __future__ import annotations

import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("UPKEEP_CACHE") or Path.home() / ".cache" / "upkeep")


@dataclass(frozen=True)
class Machines:
    """Hosts h1 to hN, reached from here as 127.0.77.1 to 127.0.77.N."""

    name: str
    state: Path

    @property
    def base(self) -> Path:
        """The read-only root filesystem of all hosts; built once and kept."""
        return CACHE / "machines" / "base"

    def do(self, *words: str) -> str:
        """Call `hosts` and hand out what it printed."""
        environ = {**os.environ, "HOSTS_LAB": self.name, "HOSTS_STATE": str(self.state), "HOSTS_BASE": str(self.base)}
        done = subprocess.run(
            [HERE / "hosts", *words], env=environ, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
        )
        assert done.returncode == 0, f"hosts {' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout

    def up(self, number: int) -> None:
        """Build the base if it is missing and boot the hosts."""
        if not (self.base / "usr/lib/systemd/systemd").exists():
            self.base.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run([HERE / "mkbase", self.base], check=True, capture_output=True)
        self.do("up", str(number), "--loopback", "22")

    def sh(self, host: str, script: str) -> str:
        """Run a script on a host as root, without the network."""
        return self.do("sh", host, "--", "sh", "-c", script)

    def sh_all(self, script: str) -> None:
        """The same on every host, side by side."""
        with ThreadPoolExecutor(max_workers=5) as pool:
            list(pool.map(lambda host: self.sh(host, script), self.names()))

    def names(self) -> list[str]:
        """All hosts."""
        return [row["name"] for row in json.loads(self.do("list", "--json"))]

    def inventory(self) -> dict[str, object]:
        """The hosts as an inventory: user ops with sudo, keys and host keys of this set."""
        reach = {
            "user": "ops",
            "key": str(self.state / "id_ed25519"),
            "known_hosts": str(self.state / "known_hosts"),
            "become": "sudo",
        }
        rows = json.loads(self.do("list", "--json"))
        return {"defaults": reach, "hosts": {row["name"]: {"address": row["loopback"]} for row in rows}}
