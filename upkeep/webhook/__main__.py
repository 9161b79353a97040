"""The web application as a process of its own: python -m upkeep.webhook [--host ADDRESS] [--port PORT], until SIGTERM or Ctrl-C."""

from __future__ import annotations

import argparse
import sys

import uvicorn

from upkeep.errors import UpkeepError
from upkeep.project import prefect_settings, put_on_path
from upkeep.webhook.app import create_app
from upkeep.wiring import site

PORT = 4280
DRAIN_SECONDS = 20


def main() -> None:
    """Answer until told to stop; requests in work are answered first."""
    asked = argparse.ArgumentParser(prog="python -m upkeep.webhook", description=__doc__)
    asked.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; put a proxy with TLS before any other"
    )
    asked.add_argument("--port", type=int, default=PORT)
    words = asked.parse_args()
    prefect_settings(quiet=True)
    put_on_path()
    try:
        app = create_app(site())
    except UpkeepError as error:
        sys.exit(f"upkeep: {error}")
    # Who the visitor is hangs on the peer's address: what a header says about it is judged by Access, not by uvicorn.
    uvicorn.run(
        app,
        host=words.host,
        port=words.port,
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )


if __name__ == "__main__":
    main()
