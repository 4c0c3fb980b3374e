"""Walks on a random finite state machine, each state written in digits: text whose hidden states are known."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, model_validator
from torch import Tensor

from pellucid.core.config import Config
from pellucid.data.source import Batch, seeded
from pellucid.data.stream import Stream


class MachineConfig(Config):
    """A random machine; the defaults are that of the codebook paper."""

    n_states: int = Field(default=100, ge=2)
    """States."""
    n_edges: int = Field(default=10, ge=1)
    """States that may follow each state, all equally likely."""
    base: int = Field(default=10, ge=2)
    """Digits a state is written with: tokens 0 to base - 1; the separator is token `base`."""
    length: int = Field(default=8, ge=2)
    """States of a row."""
    seed: int = Field(default=0, ge=0)
    """Decides the machine and every row."""
    held_out: int = Field(default=2000, ge=0)
    """Rows held out; training rows never end."""

    @model_validator(mode="after")
    def _edges_fit(self) -> MachineConfig:
        if self.n_edges > self.n_states:
            raise ValueError(f"n_edges is {self.n_edges}, but there are n_states = {self.n_states} to go to")
        return self

    @property
    def digits(self) -> int:
        """Digits of a state; all states have as many."""
        count = 1
        while self.base**count < self.n_states:
            count += 1
        return count

    @property
    def period(self) -> int:
        """Tokens of a state with its separator."""
        return self.digits + 1


class MachineData(Stream):
    """An endless stream of walks, [rows, length * period] token ids and the next tokens as labels (arXiv 2310.17230).

    A row reads: separator, the digits of its first state (most significant first), separator, ... and stops before the
    separator after its last state, which is its last label. So the separator at `i * period` follows state i - 1 and a
    model that predicts well from it has found out which state that is. A walk starts at any state.
    """

    source = "machine"
    block_rows = 256
    config: MachineConfig

    def __init__(self, config: MachineConfig | None = None) -> None:
        config = config or MachineConfig()
        super().__init__(config, config.held_out, config.length * config.period, config.seed)
        order = torch.rand(config.n_states, config.n_states, generator=seeded("machine", config.seed)).argsort(dim=1)
        self.edges: Int[Tensor, "states edges"] = order[:, : config.n_edges]
        """States that may follow each state."""

    def train_rows(self, indices: Int[Tensor, " batch"]) -> Batch:
        """Return training rows as a batch; DataError if an index is out of range."""
        return self._batch(self.states(indices))

    def held_out_rows(self, indices: Int[Tensor, " batch"]) -> Batch:
        """Return held-out rows as a batch; DataError if an index is out of range."""
        return self._batch(self.states(indices, held_out=True))

    def states(self, indices: Int[Tensor, " batch"], *, held_out: bool = False) -> Int[Tensor, "batch length"]:
        """Return the states that rows walk through; DataError if an index is out of range."""
        (found,) = self.drawn(indices, held_out=held_out)
        return found

    def written(self, states: Int[Tensor, "batch length"]) -> Int[Tensor, "batch tokens"]:
        """Return the token ids of states: a separator before each."""
        config = self.config
        places = config.base ** torch.arange(config.digits - 1, -1, -1)
        digits = states.unsqueeze(-1) // places % config.base
        return torch.cat([torch.full_like(states.unsqueeze(-1), config.base), digits], dim=-1).flatten(1)

    def legal(self, before: Int[Tensor, " n"], after: Int[Tensor, " n"]) -> Bool[Tensor, " n"]:
        """Return whether the machine can go from one state to the other; False for numbers that are no state."""
        known = (after >= 0) & (after < self.config.n_states)
        return known & (self.edges[before] == after.unsqueeze(-1)).any(dim=-1)

    def next_digit(self) -> Float[Tensor, "states base"]:
        """Return the true distribution of the first digit after each state."""
        first = self.edges // self.config.base ** (self.config.digits - 1)
        counts = torch.zeros(self.config.n_states, self.config.base)
        return counts.scatter_add(1, first, torch.ones(first.shape)) / self.config.n_edges

    def _batch(self, states: Int[Tensor, "batch length"]) -> Batch:
        ids = self.written(states)
        end = torch.full((len(ids), 1), self.config.base)
        return Batch(ids, labels=torch.cat([ids[:, 1:], end], dim=1))

    def block(self, generator: torch.Generator) -> tuple[Int[Tensor, "rows length"]]:
        """Draw the states of a block's walks."""
        config, rows = self.config, self.block_rows
        walk = [torch.randint(config.n_states, (rows,), generator=generator)]
        for _ in range(config.length - 1):
            taken = torch.randint(config.n_edges, (rows,), generator=generator)
            walk.append(self.edges[walk[-1], taken])
        return (torch.stack(walk, dim=1),)
