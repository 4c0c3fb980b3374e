"""What edits do to the host's predictions at given positions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pellucid.core.errors import DataError, NumericsError
from pellucid.features.steering.edit import Edit
from pellucid.features.steering.prompt import texts
from pellucid.features.steering.steerable import Bound, Steerable


@dataclass(frozen=True)
class NextToken:
    """Probability of one token after a text, without and with edits."""

    token: int
    text: str
    before: float
    after: float


@dataclass(frozen=True)
class NextTokens:
    """Next-token distribution after a text, without and with edits."""

    tokens: list[NextToken]
    """The likeliest ones before and after, by their probability after the edits."""
    kl: float
    """KL(before || after) in nats."""
    edited: dict[str, list[int]]
    """Positions edited, by site."""


@torch.no_grad()
def steered_logits(
    steerable: Steerable,
    tokens: Int[Tensor, "batch n"],
    edits: Sequence[Edit] = (),
    *,
    last: int | None = None,
    keep: Bool[Tensor, "batch n"] | None = None,
) -> Float[Tensor, "batch m vocabulary"]:
    """Return the logits of a text with edits, at its `last` m positions (all n if None).

    Every position is part of the prompt; positions where `keep` is False are left alone. An empty list of edits gives the
    host's own logits, bit for bit. Raises ConfigError listing edits that do not fit, DataError if there is no token,
    NumericsError if the edits leave logits that are not finite.
    """
    if tokens.numel() == 0:
        raise DataError(f"tokens have shape {tuple(tokens.shape)}, wanted [batch, positions] with one position or more")
    bound = steerable.bind(edits, tokens.shape[1], tokens.shape[1])
    return bound_logits(bound, tokens, last, keep)


@torch.no_grad()
def bound_logits(
    bound: Bound, tokens: Int[Tensor, "batch n"], last: int | None = None, keep: Bool[Tensor, "batch n"] | None = None
) -> Float[Tensor, "batch m vocabulary"]:
    """Return `steered_logits` of edits that were checked before."""
    host = bound.steerable.host
    edit = bound.replacements(keep=keep)
    head = bound.steerable.head(tokens) if last is not None else None
    inputs = {"input_ids": tokens}
    if head is None or last is None:
        logits = host.logits(host.run(inputs, edit=edit).output)
        logits = logits if last is None else logits[:, -last:]
    else:
        features = host.run(inputs, edit=edit, capture=[head.site], stop=True).values[head.site]
        logits = head.module(features[:, -last:])
    return check_finite(logits, bool(bound.components))


def next_tokens(steerable: Steerable, tokens: Int[Tensor, "1 n"], edits: Sequence[Edit] = (), *, top: int = 10) -> NextTokens:
    """Return the next-token probabilities after a text, before and after edits: the `top` likeliest of each.

    Raises as `steered_logits` does.
    """
    before = steered_logits(steerable, tokens, last=1)[0, -1].float().log_softmax(-1)
    bound = steerable.bind(edits, tokens.shape[1], tokens.shape[1])
    after = bound_logits(bound, tokens, 1)[0, -1].float().log_softmax(-1)
    shown = torch.cat([before.topk(top).indices, after.topk(top).indices]).unique()
    shown = shown[after[shown].argsort(descending=True, stable=True)]
    rows = zip(shown.tolist(), texts(steerable.host, shown), before[shown].exp(), after[shown].exp(), strict=True)
    kl = float(torch.nn.functional.kl_div(after, before, log_target=True, reduction="sum").clamp_min(0))
    edited = {str(site): positions for site, positions in bound.touched.items()}
    return NextTokens([NextToken(token, text, float(p), float(q)) for token, text, p, q in rows], kl, edited)


def check_finite(logits: Float[Tensor, "..."], edited: bool) -> Float[Tensor, "..."]:
    """Return the logits; NumericsError if some are not finite."""
    if not bool(logits.isfinite().all()):
        cause = "the edits: lower their values" if edited else "the host itself: check its weights and dtype"
        bad = int((~logits.isfinite()).sum())
        raise NumericsError(f"{bad} of {logits.numel()} logits are not finite, because of {cause}")
    return logits
