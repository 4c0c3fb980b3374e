"""Which latents fire: exact counts over the tokens seen."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pellucid.core.errors import ConfigError, FileFormatError, raise_all
from pellucid.kernels.entries import Entries


class FiringCounter:
    """Counts firings (code > 0) of each latent over tokens, in the order they are given.

    Two things are counted. `since` [m]: tokens since each latent last fired, over everything seen; it starts at 0, so a
    latent that never fired is as old as the counter. `firings` [m] and `tokens`: firings and tokens in the current
    window, which `start_window` empties. All counts are int64 and do not depend on how tokens are cut into batches.
    """

    def __init__(self, n_latents: int, device: str | torch.device = "cpu") -> None:
        self.n_latents = n_latents
        self.since = torch.zeros(n_latents, dtype=torch.int64, device=device)
        self.firings = torch.zeros(n_latents, dtype=torch.int64, device=device)
        self.tokens = 0
        self.total_tokens = 0

    @torch.no_grad()
    def update(self, codes: Float[Tensor, "n m"]) -> None:
        """Count n more tokens; rows are in token order, on the counter's device.

        ConfigError if the codes have another number of latents.
        """
        self._check(codes.shape[1])
        n = len(codes)
        fired = codes > 0
        position = torch.arange(1, n + 1, dtype=torch.int32, device=codes.device).unsqueeze(1)
        last = (fired * position).amax(dim=0).long() if n else self.since.new_zeros(self.n_latents)  # 0: did not fire
        self.count(n, last, fired.sum(dim=0))

    @torch.no_grad()
    def update_entries(self, entries: Entries, values: Float[Tensor, " e"]) -> None:
        """Count n more tokens given by the codes that may be nonzero; the same counts as `update` of the dense codes.

        ConfigError if the codes have another number of latents.
        """
        self._check(entries.n_latents)
        fired = values > 0
        places = torch.where(fired, entries.tokens + 1, 0)  # not picked out: on a GPU the host would wait for their number
        last = self.since.new_zeros(self.n_latents).scatter_reduce_(0, entries.latents, places, "amax")
        self.count(entries.n_tokens, last, torch.zeros_like(last).scatter_add_(0, entries.latents, fired.long()))

    def _check(self, n_latents: int) -> None:
        if n_latents != self.n_latents:
            raise ConfigError(f"the counter is for {self.n_latents} latents, got codes of {n_latents}")

    def count(self, n: int, last: Int[Tensor, " m"], fired: Int[Tensor, " m"]) -> None:
        """Count n more tokens, given how often each latent fired on them.

        `last` is the 1-based place of its last firing among them, 0 if it did not fire.
        """
        self.since = torch.where(last > 0, n - last, self.since + n)
        self.firings += fired
        self.tokens += n
        self.total_tokens += n

    def dead(self, after_tokens: int) -> Bool[Tensor, " m"]:
        """Mark the latents that did not fire on any of the last `after_tokens` tokens.

        None is dead before that many tokens were seen.
        """
        return self.since >= after_tokens

    def alive(self) -> int:
        """Return how many latents fired at least once in the window."""
        return int((self.firings > 0).sum())

    def l0(self) -> float:
        """Return L0 over the window: mean over tokens of the number of latents with code > 0; 0 if it is empty."""
        return int(self.firings.sum()) / self.tokens if self.tokens else 0.0

    def density(self) -> Float[Tensor, " m"]:
        """Return for each latent the share of the window's tokens on which it fired, in float64."""
        return self.firings.double() / max(self.tokens, 1)

    def start_window(self) -> None:
        """Empty the window; `since` goes on."""
        self.firings.zero_()
        self.tokens = 0

    def state_dict(self) -> dict[str, Any]:
        """Return everything an exact resume needs; the tensors are copies."""
        return {
            "since": self.since.clone(),
            "firings": self.firings.clone(),
            "tokens": self.tokens,
            "total_tokens": self.total_tokens,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state; FileFormatError lists everything that does not fit."""
        wanted = {"since", "firings", "tokens", "total_tokens"}
        problems = [f"'{name}' is missing" for name in sorted(wanted - state.keys())]
        problems += [f"'{name}' is not used" for name in sorted(state.keys() - wanted)]
        problems += [
            f"'{name}' has shape {tuple(state[name].shape)}, wanted ({self.n_latents},)"
            for name in ("since", "firings")
            if name in state and tuple(state[name].shape) != (self.n_latents,)
        ]
        raise_all(problems, FileFormatError, title="the state of a firing counter does not fit")
        self.since = _counts(state["since"], self.since)
        self.firings = _counts(state["firings"], self.firings)
        self.tokens = int(state["tokens"])
        self.total_tokens = int(state["total_tokens"])


def _counts(saved: Int[Tensor, " m"], like: Int[Tensor, " m"]) -> Int[Tensor, " m"]:
    """Return a copy on the device of `like`."""
    return saved.detach().to(device=like.device, dtype=torch.int64, copy=True)
