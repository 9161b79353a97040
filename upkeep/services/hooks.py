"""A site's own HTTP hook: one request, any 2xx status is success."""

from __future__ import annotations

from collections.abc import Mapping

import httpx

from upkeep.domain.isolation import Hook
from upkeep.errors import ServiceError, shorten
from upkeep.services.web import public, run_within, trust_store

_TOLD_CHARACTERS = 4000


def call_url(hook: Hook, environ: Mapping[str, str]) -> str:
    """Send the request and return what was answered, bounded.

    Raises:
        ServiceError: no answer in time, or another status than 2xx, or the token is not there.
        BadInput: the CA file cannot be used.
    """
    headers = {}
    if hook.token_env:
        if not environ.get(hook.token_env):
            raise ServiceError(f"{public(hook.url)}: {hook.token_env} holds no token on this controller")
        headers["Authorization"] = f"Bearer {environ[hook.token_env]}"
    if hook.body:
        headers["Content-Type"] = "application/json" if hook.body.lstrip().startswith(("{", "[")) else "text/plain"
    trust = trust_store(hook.ca)

    async def question() -> tuple[int, str]:
        async with httpx.AsyncClient(verify=trust, timeout=hook.timeout.total_seconds()) as client:
            answer = await client.request(hook.method, hook.url, content=hook.body or None, headers=headers)
            return answer.status_code, answer.text[:_TOLD_CHARACTERS]

    status, text = run_within(hook.timeout, hook.url, question)
    if not httpx.codes.is_success(status):
        raise ServiceError(f"{public(hook.url)}: answered {status}: {shorten(text)}")
    return text
