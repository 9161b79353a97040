"""Starting deployments at a Prefect server, once per idempotency key however often it is asked."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from pydantic import SecretStr

from upkeep.errors import BadInput, ServiceError, ServiceRefused
from upkeep.services.control_centre import Retries
from upkeep.services.tickets.http import Credentials, JsonApi

_BUSY = Retries(attempts=6)


@dataclass(frozen=True)
class PrefectApi:
    """One server's API."""

    api: JsonApi
    retries: Retries = field(default_factory=lambda: _BUSY)

    @classmethod
    def of(cls, environ: Mapping[str, str] = os.environ) -> PrefectApi:
        """The server that PREFECT_API_URL names, signed in to with PREFECT_API_AUTH_STRING (`user:password`) where it is set.

        Raises:
            BadInput: no server is named.
        """
        url = environ.get("PREFECT_API_URL", "").rstrip("/")
        if not url:
            raise BadInput(
                "no Prefect server is configured",
                allowed="PREFECT_API_URL, e.g. http://127.0.0.1:4200/api",
                remedy="upkeep up, or set it",
            )
        user, colon, password = environ.get("PREFECT_API_AUTH_STRING", "").partition(":")
        credentials = Credentials(user, SecretStr(password)) if colon else Credentials()
        return cls(JsonApi(url, credentials, environ.get("PREFECT_API_SSL_CERT_FILE", "")))

    def start(self, deployment: str, parameters: Mapping[str, Any], idempotency_key: str) -> str:
        """Create a flow run of `flow/deployment`; the id of the run that was created for this key, now or before.

        Raises:
            ServiceError: the server does not answer, is busy for long, has no such deployment (yet: a server that
                begins answers before its runbooks are registered), or refuses the parameters.
        """
        known = self.api.get("/deployments/name/" + "/".join(quote(part, safe="") for part in deployment.split("/", 1)))
        if known is None:
            raise ServiceError(
                f"the Prefect server at {self.api.url} has no deployment {deployment}; "
                "do: start one with upkeep up, or deploy with prefect deploy --all"
            )
        body = {"parameters": json.loads(json.dumps(parameters)), "idempotency_key": idempotency_key}
        return str(self._created(f"/deployments/{known.data['id']}/create_flow_run", body)["id"])

    def _created(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """With its key the question is safe to repeat: a server whose database is locked answers 503."""
        for pause in self.retries.pauses():
            try:
                return dict(self.api.send("POST", path, body))
            except ServiceRefused:
                raise
            except ServiceError:
                self.retries.sleep(pause)
        return dict(self.api.send("POST", path, body))
