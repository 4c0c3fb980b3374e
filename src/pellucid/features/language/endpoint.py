"""A language model behind any OpenAI-compatible endpoint."""

from __future__ import annotations

import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from pydantic import Field

from pellucid.core.config import Config
from pellucid.core.errors import ConfigError, PellucidError
from pellucid.core.logging import log
from pellucid.features.language.base import LanguageModel

TRY_AGAIN = {408, 409, 429, 500, 502, 503, 504}
MAX_ANSWER = 1 << 20
"""Bytes of an answer that are read."""


class EndpointError(PellucidError, RuntimeError):
    """An endpoint is not there, takes too long, refuses, or answers what is no answer."""


class EndpointConfig(Config):
    """Where a language model is served and how it is asked; the key comes from the environment only."""

    url: str = "http://127.0.0.1:8000/v1"
    """Base address; '/chat/completions' is added."""
    model: str = "default"
    """Name of the model there."""
    key_variable: str = "OPENAI_API_KEY"
    """Environment variable that holds the key; without one, none is sent."""
    timeout: float = Field(60.0, gt=0)
    """Seconds to wait for an answer."""
    retries: int = Field(4, ge=0)
    """Further tries after an error that may pass; each waits twice as long as the one before."""
    backoff: float = Field(1.0, ge=0)
    """Seconds before the first further try."""
    requests_per_minute: float = Field(60.0, gt=0)
    """At most so many requests a minute."""
    prompt_price: float = Field(0.0, ge=0)
    """Price of a million prompt tokens, in your currency."""
    answer_price: float = Field(0.0, ge=0)
    """Price of a million answer tokens."""


class Endpoint(LanguageModel):
    """Asks an endpoint, no faster than its limit, again after errors that may pass, and counts what that costs.

    The key is read from the environment at each request; it is kept in no attribute, file, log line or error message.
    """

    def __init__(self, config: EndpointConfig) -> None:
        if not config.url.startswith(("http://", "https://")):
            raise ConfigError(f"the endpoint's url is '{config.url}', wanted http://... or https://...")
        self.config = config
        self.name = config.model
        self.requests = self.prompt_tokens = self.answer_tokens = 0
        self._next = 0.0

    def complete(self, prompt: str, max_tokens: int = 40) -> str:
        """Return the answer at temperature 0; EndpointError if there is none after all tries."""
        wait = self.config.backoff
        for left in range(self.config.retries, -1, -1):
            try:
                return self._ask(prompt, max_tokens)
            except _MayPass as error:
                if not left:
                    tries = self.config.retries + 1
                    raise EndpointError(
                        f"endpoint {self.config.url} gave no answer in {tries} tries: {error}. Work done so far is kept; "
                        f"check the address and the server, then run the same command again"
                    ) from None
                pause = max(wait, error.after)
                log.info("endpoint %s: %s; trying again in %.1f s, %d tries left", self.config.url, error, pause, left)
                time.sleep(pause)
                wait *= 2
        raise AssertionError("unreachable")

    def yes(self, prompts: Sequence[str], neutral: str) -> Float[np.ndarray, " n"]:
        """Ask each question; 1 where the answer begins with yes, 0 where with no, EndpointError if with neither."""
        words = []
        for prompt in prompts:
            answer = self.complete(prompt, max_tokens=4)
            word = answer.strip().lower().lstrip("*\"'").removeprefix("answer:").strip()[:3]
            if not word.startswith(("yes", "no")):
                raise EndpointError(
                    f"endpoint {self.config.url}, model '{self.name}', was asked for Yes or No and answered {answer[:80]!r}. "
                    f"Work done so far is kept; choose a model that follows instructions"
                )
            words.append(word)
        return np.array([float(word.startswith("yes")) for word in words])

    def cost(self) -> dict[str, float]:
        """Return requests, tokens and what they cost at the configured prices."""
        price = (self.prompt_tokens * self.config.prompt_price + self.answer_tokens * self.config.answer_price) / 1e6
        counts = {"requests": self.requests, "prompt_tokens": self.prompt_tokens, "answer_tokens": self.answer_tokens}
        return {**{name: float(count) for name, count in counts.items()}, "price": price}

    def _ask(self, prompt: str, max_tokens: int) -> str:
        time.sleep(max(0.0, self._next - time.monotonic()))
        self._next = time.monotonic() + 60 / self.config.requests_per_minute
        body = {
            "model": self.config.model,
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": max_tokens,
            "temperature": 0,
        }
        headers = {"Content-Type": "application/json"}
        if key := self._key():
            headers["Authorization"] = f"Bearer {key}"
        url = self.config.url.rstrip("/") + "/chat/completions"
        request = urllib.request.Request(url, json.dumps(body).encode(), headers)
        self.requests += 1
        try:
            with _opener().open(request, timeout=self.config.timeout) as response:
                raw = response.read(MAX_ANSWER + 1)
        except urllib.error.HTTPError as error:
            with error:
                after = error.headers.get("Retry-After", "")
            if error.code in TRY_AGAIN:
                seconds = min(float(after), 300.0) if after.isdigit() else 0.0
                raise _MayPass(f"HTTP status {error.code}", seconds) from None
            hint = f"; set {self.config.key_variable}" if error.code in (401, 403) else ""
            raise EndpointError(f"endpoint {self.config.url} refused with HTTP status {error.code}{hint}") from None
        except TimeoutError:
            raise _MayPass(f"no answer within {self.config.timeout:g} s") from None
        except (urllib.error.URLError, OSError) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, TimeoutError):
                raise _MayPass(f"no answer within {self.config.timeout:g} s") from None
            raise _MayPass(f"cannot be reached ({reason})") from None
        except http.client.HTTPException as error:  # no HTTP at all, or an answer that breaks off
            raise _MayPass(f"what came is no whole HTTP answer ({type(error).__name__})") from None
        return self._read(raw)

    def _key(self) -> str:
        key = os.environ.get(self.config.key_variable, "").strip()
        if not (key.isascii() and key.isprintable()):
            raise ConfigError(f"the key in {self.config.key_variable} holds characters that no header can carry; set it again")
        return key

    def _read(self, raw: bytes) -> str:
        try:
            answer: Any = json.loads(raw)
            text = answer["choices"][0]["message"]["content"]
            usage = answer.get("usage") or {}
            self.prompt_tokens += int(usage.get("prompt_tokens", 0))
            self.answer_tokens += int(usage.get("completion_tokens", 0))
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            raise EndpointError(
                f"endpoint {self.config.url} answered {raw[:80]!r}, which is no chat completion. Work done so far is kept; "
                f"check that the url is the base of an OpenAI-compatible API"
            ) from None
        if not isinstance(text, str) or not text.strip():
            raise EndpointError(f"endpoint {self.config.url} answered without a text ({text!r}); work done so far is kept")
        return text.strip()


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect could carry the key to another machine."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_NoRedirect)


class _MayPass(Exception):
    """An error that another try may not meet."""

    def __init__(self, message: str, after: float = 0.0) -> None:
        super().__init__(message)
        self.after = after
