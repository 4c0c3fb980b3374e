"""One original run of some texts and any number of edited ones that start at the edited site."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pellucid.core.errors import ConfigError, DataError
from pellucid.features.steering.edit import Edit
from pellucid.features.steering.logits import check_finite
from pellucid.features.steering.steerable import Steerable
from pellucid.hosts import Prefix, Site


class EditedPass:
    """Log-probabilities at chosen positions of some texts of one length, before and after edits.

    A run whose edits are all at one of `sites` starts there; any other runs from the beginning.
    """

    @torch.no_grad()
    def __init__(
        self,
        steerable: Steerable,
        tokens: Int[Tensor, "batch n"],
        *,
        read: Bool[Tensor, "batch n"] | None = None,
        sites: Sequence[Site] = (),
        keep: Bool[Tensor, "batch n"] | None = None,
    ) -> None:
        """Run the host once. `read`: positions whose predictions are wanted (default: the last of each row);
        `keep`: positions that edits may change (default: all). Raises DataError if no position is to be read.
        """
        if read is None:
            read = torch.zeros(tokens.shape, dtype=torch.bool, device=tokens.device)
            read[:, -1:] = True
        if not bool(read.any()):
            raise DataError(f"no position of tokens {tuple(tokens.shape)} is to be read; mark one or more")
        self.steerable, self.tokens, self.read, self.keep = steerable, tokens, read, keep
        self._inputs: dict[str, Any] = {"input_ids": tokens}
        self._head = steerable.head(tokens)
        steerable.host.prepare({"input_ids": tokens[:1, :4]}, sites)
        starts = [site for site in dict.fromkeys(sites) if steerable.host.resumable(site)]
        result = self._run(prefixes=starts)
        self._prefixes: dict[Site, Prefix] = result.prefixes
        self.before = self._log_probabilities(result, False)
        """[r, vocabulary], r read positions in order of rows."""

    @torch.no_grad()
    def after(self, edits: Sequence[Edit]) -> Float[Tensor, "r vocabulary"]:
        """Return log-probabilities at the read positions with edits; raises as `steered_logits` does."""
        n = self.tokens.shape[1]
        bound = self.steerable.bind(edits, n, n)
        if not bound.components:
            return self.before
        alone = next(iter(bound.components)) if len(bound.components) == 1 else None
        resume = None if alone is None else self._prefixes.get(alone)
        return self._log_probabilities(self._run(edit=bound.replacements(keep=self.keep), resume=resume), True)

    def labels(self) -> tuple[Int[Tensor, " l"], Int[Tensor, " l"]]:
        """Return which of the r read positions have a next token in the text, and that token."""
        places = self.read.nonzero()
        has = places[:, 1] + 1 < self.tokens.shape[1]
        rows, columns = places[has].unbind(1)
        return has.nonzero().squeeze(-1), self.tokens[rows, columns + 1]

    def _run(self, **settings: Any) -> Any:
        capture = [self._head.site] if self._head else []
        return self.steerable.host.run(self._inputs, capture=capture, stop=self._head is not None, **settings)

    def _log_probabilities(self, result: Any, edited: bool) -> Tensor:
        if self._head:
            logits = self._head.module(result.values[self._head.site][self.read])
        else:
            logits = self.steerable.host.logits(result.output)[self.read]
        return check_finite(logits, edited).float().log_softmax(-1)


def log_odds(log_p: Float[Tensor, "r v"], tokens: Sequence[int]) -> Float[Tensor, " r"]:
    """Return log(P / (1 - P)) in nats, P the summed probability of some tokens, without cancellation near 0 and 1.

    Raises ConfigError if there is no token, or all of the vocabulary.
    """
    chosen = torch.zeros(log_p.shape[-1], dtype=torch.bool, device=log_p.device)
    chosen[list(tokens)] = True
    if not bool(chosen.any()) or bool(chosen.all()):
        raise ConfigError(f"log-odds of {int(chosen.sum())} of {len(chosen)} tokens are not defined; name some, not all")
    return log_p[:, chosen].logsumexp(-1) - log_p[:, ~chosen].logsumexp(-1)


def kl_divergence(before: Float[Tensor, "r v"], after: Float[Tensor, "r v"]) -> Float[Tensor, " r"]:
    """Return KL(before || after) of rows of log-probabilities, in nats."""
    return torch.linalg.vecdot(before.exp(), before - after).clamp_min(0)
