"""The agent's configuration file: flat `key: value` lines."""

from __future__ import annotations

from .build import VARIANT, VERSION

REQUIRED = ("server", "tls_ca", "agent_id", "listen", "state_dir")
DEFAULTS = {"heartbeat_interval": "30", "log_level": "INFO", "role": "node", "tls_verify": "true"}
LAB_KEYS = {"lab_fault": "", "lab_fault_from": "0", "lab_fault_after": "20"}
LEVELS = ("DEBUG", "INFO", "WARN", "ERROR", "FATAL")
LATEST_PORT, LONGEST_HEARTBEAT_SECONDS = 65535, 3600

Config = dict[str, str]


def read_config(path: str) -> Config:
    """Read `key: value` lines; raises ValueError with the place of what is wrong."""
    config = {**DEFAULTS, **LAB_KEYS}
    with open(path, encoding="utf-8") as file:  # noqa: PTH123 - pathlib would double the start of --version
        for number, line in enumerate(file, 1):
            text = line.strip()
            if not text or text.startswith("#"):
                continue
            key, colon, value = text.partition(":")
            if not colon or key not in {*REQUIRED, *config}:
                message = f"{path}:{number}: '{key}' is not a key; allowed: {', '.join((*REQUIRED, *DEFAULTS))}"
                raise ValueError(message)
            config[key] = value.strip().strip("\"'")
    check_values(config, path)
    return config


def check_values(config: Config, path: str) -> None:
    """Raise ValueError for a configuration that cannot work."""
    problem = ""
    port = config.get("listen", "").rpartition(":")[2]
    interval = config["heartbeat_interval"]
    if missing := [key for key in REQUIRED if not config.get(key)]:
        problem = f"missing: {', '.join(missing)}"
    elif not port.isdigit() or not 0 < int(port) <= LATEST_PORT:
        problem = f"listen: '{config['listen']}' is not address:port"
    elif not interval.isdigit() or not 0 < int(interval) <= LONGEST_HEARTBEAT_SECONDS:
        problem = f"heartbeat_interval: '{interval}' is not a number of seconds from 1 to {LONGEST_HEARTBEAT_SECONDS}"
    elif config["log_level"] not in LEVELS:
        problem = f"log_level: '{config['log_level']}' is none of {', '.join(LEVELS)}"
    elif not config["server"].startswith("https://"):
        problem = f"server: '{config['server']}' is not an https:// address"
    elif fault_of(config) == "config-rejected":
        problem = f"heartbeat_interval: since {VERSION} it is written with a unit"
    if problem:
        message = f"{path}: {problem}"
        raise ValueError(message)


def fault_of(config: Config) -> str:
    """The misbehaviour in force: built in, or asked of this host from a version on."""
    if VARIANT:
        return VARIANT
    due = _numbers(VERSION) >= _numbers(config["lab_fault_from"])
    return config["lab_fault"] if due else ""


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.partition("-")[0].split(".")]
