"""Try it: which features a typed text activates, and what changing one does to what the host says next."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field

from pellucid.core.config import Config, build
from pellucid.core.errors import PellucidError
from pellucid.features.steering import Edit, Steerable, active_features, generate, next_tokens, tokenize
from pellucid.hosts import Host
from pellucid.web.text import chip, in_line

MAX_TOKENS = 256
"""Longest text, in tokens; a page answers in seconds up to there."""
MAX_CHARACTERS = 16 * MAX_TOKENS
MAX_NEW_TOKENS = 40
TOP = 12
"""Features shown for a token, and next tokens shown."""
WAITING = 8
"""Requests that may wait for the host; more are turned away."""

T = TypeVar("T")


class Busy(PellucidError):
    """Too many requests wait for the host."""


class Change(Config):
    """One change to a feature."""

    latent: int = Field(ge=0)
    operation: str = "add"
    value: float | None = None


class Ask(Config):
    """What the page asks for."""

    text: str = Field(max_length=MAX_CHARACTERS)
    """The prompt."""
    dictionary: str = Field(max_length=400)
    changes: tuple[Change, ...] = Field(default=(), max_length=8)
    new_tokens: int = Field(default=20, ge=0, le=MAX_NEW_TOKENS)
    """Tokens to generate."""


class Trial:
    """The host, loaded at the first request and used by one request at a time, in a thread of its own."""

    def __init__(self, run: Path, host: Host | None = None) -> None:
        self._run, self._host = run, host
        self._steerable: Steerable | None = None
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="host")
        self._lock = threading.Lock()
        self._waiting = 0

    @property
    def loaded(self) -> bool:
        """True once the host is in memory."""
        return self._steerable is not None

    def active(self, ask: Ask) -> dict[str, Any]:
        """Return the text's tokens, each with its strongest features; raises what `active_features` raises, and Busy."""
        return self._in_turn(lambda: self._active(ask))

    def steer(self, ask: Ask) -> dict[str, Any]:
        """Return next-token probabilities and a continuation, without and with the changes; raises as `active` does."""
        return self._in_turn(lambda: self._steer(ask))

    def close(self) -> None:
        """Let the last request end and free the thread."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _in_turn(self, work: Callable[[], T]) -> T:
        with self._lock:
            if self._waiting >= WAITING:
                raise Busy(f"{WAITING} requests already wait for the host, which takes one at a time. Try again in a moment.")
            self._waiting += 1
        try:
            return self._pool.submit(work).result()
        finally:
            with self._lock:
                self._waiting -= 1

    def _open(self) -> Steerable:
        if self._steerable is None:
            self._steerable = Steerable.open(self._run, self._host)
        return self._steerable

    def _active(self, ask: Ask) -> dict[str, Any]:
        steerable = self._open()
        found = active_features(steerable, tokenize(steerable.host, ask.text, limit=MAX_TOKENS), ask.dictionary, top=TOP)
        tokens = [
            {"text": in_line(one.text), "chip": chip(one.text), "position": one.position, "latents": one.latents}
            for one in found
        ]
        return {"tokens": tokens, "unseen": steerable.exclude_first}

    def _steer(self, ask: Ask) -> dict[str, Any]:
        steerable = self._open()
        tokens = tokenize(steerable.host, ask.text, limit=MAX_TOKENS)
        edits = [_edit(ask.dictionary, change) for change in ask.changes]
        moved = next_tokens(steerable, tokens, edits, top=TOP)
        shown = [{"text": chip(one.text), "before": one.before, "after": one.after} for one in moved.tokens]
        return {
            "next": shown,
            "kl": moved.kl,
            "before": self._written(steerable, tokens, [], ask.new_tokens),
            "after": self._written(steerable, tokens, edits, ask.new_tokens),
            "edits": [edit.describe() for edit in edits],
        }

    def _written(self, steerable: Steerable, tokens: Any, edits: Sequence[Edit], n: int) -> str:
        if n == 0:
            return ""
        found = generate(steerable, tokens, edits, max_new_tokens=n)
        return in_line(found.text) + ("" if not found.ended else " \u25a0")


def _edit(dictionary: str, change: Change) -> Edit:
    values: dict[str, Any] = {"dictionary": dictionary, "latent": change.latent, "operation": change.operation}
    return build(Edit, values | ({} if change.value is None else {"value": change.value}), where="the change")
