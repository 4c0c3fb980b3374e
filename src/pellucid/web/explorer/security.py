"""What a page in another tab could try against a server on this machine, and why it fails."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from typing import Any
from urllib.parse import urlsplit

MAX_BODY = 1 << 17
"""Bytes of a request's body."""
MAX_ADDRESS = 8192
"""Bytes of a request's address."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
"""Content-Security-Policy: nothing inline, nothing from elsewhere, in no other page's frame."""
FILE_POLICY = (
    "default-src 'none'; script-src file: 'self'; style-src file: 'self'; img-src data:; base-uri 'none'; form-action 'none'"
)
"""The same for pages opened from disk."""
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


def is_loopback(host: str) -> bool:
    """Return whether a host name or address stays on this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Guard:
    """ASGI middleware: refuses foreign Host and Origin headers and long requests, and adds the headers above.

    A page elsewhere can point its own name at 127.0.0.1 (DNS rebinding): its requests then carry that name in Host. It can
    also send requests here directly: those carry its Origin.
    """

    def __init__(self, app: Any, hosts: Collection[str]) -> None:
        """Take the application, and names that are accepted beside those of this machine's loopback ('*': any)."""
        self.app, self.hosts = app, frozenset(hosts)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request on, or answer why not."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal:
            await _answer(send, *refusal)
            return

        async def secured(message: Any) -> None:
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message["headers"]}
                more = [(k.encode(), v.encode()) for k, v in HEADERS.items() if k.encode() not in given]
                message["headers"] = [*message["headers"], *more]
            await send(message)

        await self.app(scope, receive, secured)

    def _refusal(self, scope: Any) -> tuple[int, str] | None:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        host = _name(f"//{headers.get(b'host', '')}")
        if not self._known(host):
            return 421, f"This server does not answer to the name '{host}'. Open it by its address on this machine."
        origin = headers.get(b"origin")
        if origin is not None and (urlsplit(origin).netloc != headers.get(b"host") or urlsplit(origin).scheme != "http"):
            return 403, "Requests from other pages are refused."
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > MAX_ADDRESS:
            return 414, f"The address is longer than {MAX_ADDRESS:,} bytes."
        if scope["method"] == "POST":
            length = headers.get(b"content-length", "")
            if not length.isdecimal() or int(length) > MAX_BODY:
                return 413, f"The request is larger than {MAX_BODY:,} bytes, or does not say how large it is."
            if headers.get(b"content-type", "").partition(";")[0].strip() != "application/json":
                return 415, "Wanted application/json."
        return None

    def _known(self, host: str) -> bool:
        return is_loopback(host) or host in self.hosts or "*" in self.hosts


def _name(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


async def _answer(send: Any, status: int, text: str) -> None:
    body = text.encode("utf-8", "replace")
    headers = {**HEADERS, "content-type": "text/plain; charset=utf-8", "content-length": str(len(body)), "connection": "close"}
    sent = [(k.encode(), v.encode()) for k, v in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": sent})
    await send({"type": "http.response.body", "body": body})
