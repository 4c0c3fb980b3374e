"""Text that a host writes while it is edited."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.core.errors import ConfigError, DataError, raise_all
from pellucid.features.steering.edit import Edit
from pellucid.features.steering.logits import check_finite
from pellucid.features.steering.prompt import context_of
from pellucid.features.steering.steerable import Bound, Steerable

MAX_NEW_TOKENS = 512
"""Longest generation, in tokens."""


@dataclass(frozen=True)
class Generation:
    """What was written after a prompt."""

    tokens: list[int]
    """New tokens; a final end-of-text token is left out."""
    text: str
    """Their text; empty where the host has no tokenizer."""
    log_probabilities: list[float]
    """Of each new token under the edited host, in nats."""
    ended: bool
    """True if the host ended the text by itself."""
    edited: dict[str, list[int]]
    """Absolute positions edited, by site."""


@torch.no_grad()
def generate(
    steerable: Steerable,
    tokens: Int[Tensor, "1 n"],
    edits: Sequence[Edit] = (),
    *,
    max_new_tokens: int = 32,
    temperature: float = 0.0,
    seed: int = 0,
    cache: bool = True,
) -> Generation:
    """Continue a prompt with edits at its positions and at generated ones.

    `temperature` 0 takes the likeliest token; above 0, tokens are drawn from softmax(logits / temperature) by a generator
    of `seed`. With `cache` (where the host's forward has one) keys and values of earlier positions are kept, as edited;
    without it every step runs the whole text again: the same result up to rounding. Raises ConfigError listing settings
    and edits that do not fit, DataError if there is no token, NumericsError if logits are not finite.
    """
    if tokens.shape[0] != 1 or tokens.shape[1] < 1:
        raise DataError(f"tokens have shape {tuple(tokens.shape)}, wanted [1, positions] with one position or more")
    prompt = tokens.shape[1]
    raise_all(_problems(steerable, prompt, max_new_tokens, temperature), ConfigError)
    # The last new token is never read by the host, so it has no position to edit.
    bound = steerable.bind(edits, prompt, max(prompt, prompt + max_new_tokens - 1))
    stepper = _Stepper(bound, cache)
    end = getattr(steerable.host.tokenizer, "eos_token_id", None)
    random = torch.Generator().manual_seed(seed)
    new: list[int] = []
    scores: list[float] = []
    ended = False
    with steerable.host.held():
        while len(new) < max_new_tokens and not ended:
            tail = torch.tensor([new], dtype=tokens.dtype, device=tokens.device)
            logits = check_finite(stepper.step(torch.cat([tokens, tail], dim=1)), bool(bound.components)).cpu()
            token = _choose(logits, temperature, random)
            ended = token == end
            if not ended:
                new.append(token)
                scores.append(float(logits.log_softmax(-1)[token]))
    text = "" if steerable.host.tokenizer is None else str(steerable.host.tokenizer.decode(new))
    return Generation(new, text, scores, ended, {str(site): at for site, at in bound.touched.items()})


class _Stepper:
    """Logits after a text that grows by a token a step."""

    def __init__(self, bound: Bound, cache: bool) -> None:
        parameters = inspect.signature(bound.steerable.host.module.forward).parameters
        self.bound, self.cached = bound, cache and "past_key_values" in parameters and "use_cache" in parameters
        self.keep_last = {"logits_to_keep": 1} if "logits_to_keep" in parameters else {}
        self.past: Any = None
        self.done = 0

    def step(self, tokens: Int[Tensor, "1 n"]) -> Float[Tensor, " vocabulary"]:
        host = self.bound.steerable.host
        inputs: dict[str, Any] = {"input_ids": tokens, **self.keep_last}
        if self.cached:
            inputs |= {"input_ids": tokens[:, self.done :], "use_cache": True, "past_key_values": self.past}
        output = host.run(inputs, edit=self.bound.replacements(self.done)).output
        if self.cached:
            self.past = output.past_key_values
            # A host may take the arguments and keep no cache.
            self.cached = self.past is not None
            self.done = tokens.shape[1] if self.cached else 0
        return host.logits(output)[0, -1].float()


def _choose(logits: Float[Tensor, " vocabulary"], temperature: float, random: torch.Generator) -> int:
    if temperature == 0:
        return int(logits.argmax())
    return int(torch.multinomial((logits / temperature).softmax(-1), 1, generator=random))


def _problems(steerable: Steerable, prompt: int, max_new_tokens: int, temperature: float) -> list[str]:
    problems = []
    if not 0 <= max_new_tokens <= MAX_NEW_TOKENS:
        problems.append(f"max_new_tokens is {max_new_tokens}, wanted 0 to {MAX_NEW_TOKENS}")
    if not (math.isfinite(temperature) and temperature >= 0):
        problems.append(f"temperature is {temperature}, wanted a finite number, 0 or more")
    if prompt + max_new_tokens > (limit := context_of(steerable.host)):
        problems.append(f"{prompt} tokens and {max_new_tokens} new ones pass the context of {steerable.host.name}, {limit}")
    return problems
