"""Where training gets sequences: a rule gives them without end, a data file only its rows."""

from __future__ import annotations

import time

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from pellucid.core.errors import ConfigError, DataError
from pellucid.core.logging import log
from pellucid.programs.ensembles.config import TrainingConfig
from pellucid.programs.ensembles.foresight import continuations, outputs_after
from pellucid.programs.ensembles.scaling import Scaling
from pellucid.programs.tasks.base import Task
from pellucid.programs.tasks.examples import Examples

Rows = tuple[Tensor, Tensor]
"""Inputs [n, t, i] and outputs [n, t, o], int64."""
NARROW = 4
"""One training sequence in this many has inputs from a part of the domain only, drawn for it alone: states that uniform
inputs hardly ever reach (a small maximum, a run of equal symbols) are then seen too."""

FORESIGHT = 2**15
"""Training sequences with further targets."""


class Sequences:
    """Training and fresh sequences of one task, with its scaling; deterministic by seed."""

    def __init__(self, source: Task | Examples, config: TrainingConfig) -> None:
        self.domain, self.n_out, self.n_in = source.domain, source.out_width, source.domain.width
        self.length = source.domain.length
        self._generator = torch.Generator().manual_seed(config.seed)
        self._rows = _Rule(source, config, self._generator) if isinstance(source, Task) else _Table(source, self._generator)
        self._reached: dict[int, bool] = {self.length: True}
        self._pool_size = config.pool
        self._pools: dict[int, Rows] = {}
        self._at: dict[tuple[int, bool], int] = {}
        self.scaling = Scaling.of(self.domain, self.pool(self.length)[1])
        self._foresight: Rows | None = None
        self._foresight_known = False

    def pool(self, length: int) -> Rows:
        """Return the training sequences of this length, the same ones each time."""
        if length not in self._pools:
            wanted = max(self._pool_size * self.length // length, 64)
            self._pools[length] = self._rows.training(wanted, length)
        return self._pools[length]

    def batch(self, n: int, length: int, foresight: bool = False) -> tuple[Float[Tensor, "i t b"], Float[Tensor, "o t b"]]:
        """Return the next n training sequences, inputs scaled; the pool is shuffled whenever it was used up.

        With `foresight` they come with further targets (see there) behind the task's own.
        """
        xs, ys = self._rows_for(length, foresight)
        key = (length, foresight)
        at = self._at.get(key, 0)
        if at + n > len(xs):
            order = torch.randperm(len(xs), generator=self._generator)
            if len(xs) < n:
                order = order.repeat(-(-n // len(xs)))
            xs, ys = xs[order], ys[order]
            if foresight:
                self._foresight = xs, ys
            else:
                self._pools[length] = xs, ys
            at = 0
        self._at[key] = at + n
        return self.scaled(xs[at : at + n], ys[at : at + n])

    def _rows_for(self, length: int, foresight: bool) -> Rows:
        rows = self.foresight() if foresight else self.pool(length)
        assert rows is not None
        return rows

    def reaches(self, length: int) -> bool:
        """Whether sequences of this length can be had: not from data, nor where the outputs outgrow exact numbers."""
        if length not in self._reached:
            try:
                self._reached[length] = self._rows.stretches and len(self._rows.fresh(64, length)[0]) > 0
            except (ConfigError, DataError) as error:
                log.warning("sequences of length %d are left out: %s", length, error)
                self._reached[length] = False
        return self._reached[length]

    def foresight(self) -> Rows | None:
        """Return training sequences with further targets: outputs after fixed continuations.

        None where there is no rule to ask, or where asking would take too long.
        """
        if not self._foresight_known:
            self._foresight_known = True
            self._foresight = self._rows.foresight(min(self._pool_size, FORESIGHT), self.length)
        return self._foresight

    def fresh(self, n: int, length: int) -> Rows:
        """Return up to n sequences that no training step saw: newly drawn from the task's distribution, or held out."""
        return self._rows.fresh(n, length)

    def unusual(self, n: int, length: int) -> Rows:
        """Return up to n sequences like those of training, but not the same: some with inputs from a part of the domain."""
        return self._rows.unusual(n, length)

    def scaled(
        self, xs: Int64[Tensor, "n t i"], ys: Int64[Tensor, "n t o"], dtype: torch.dtype = torch.float32
    ) -> tuple[Float[Tensor, "i t n"], Float[Tensor, "o t n"]]:
        """Return scaled inputs and plain targets, samples as columns."""
        return self.scaling.inputs(xs, dtype), ys.to(dtype).permute(2, 1, 0).contiguous()


class _Rule:
    """Sequences of a task, drawn as long as computing their outputs does not take too long."""

    stretches = True

    def __init__(self, task: Task, config: TrainingConfig, generator: torch.Generator) -> None:
        self._task, self._generator, self._left = task, generator, config.generating
        self._last: dict[int, Rows] = {}
        self._rate = 0.0
        self._draw(64, task.domain.length)

    def training(self, n: int, length: int) -> Rows:
        return self._draw(n, length, NARROW)

    def unusual(self, n: int, length: int) -> Rows:
        return self._draw(n, length, NARROW)

    def foresight(self, n: int, length: int) -> Rows | None:
        words = continuations(self._task.domain, self._generator)
        cost = self._rate * n * length * length * len(words)  # a prefix of each length, followed by each word
        if cost > max(self._left, 0.0) / 4:
            log.info("outputs after continuations would take %.0f s: training does without them", cost)
            return None
        xs, ys = self._draw(n, length, NARROW)
        return xs, torch.cat((ys, outputs_after(self._task, xs, words)), 2)

    def fresh(self, n: int, length: int) -> Rows:
        if self._left <= 0 and length in self._last:
            return tuple(part[:n] for part in self._last[length])  # type: ignore[return-value]
        rows = self._draw(n, length)
        if self._rate * n * length > 0.05:  # worth keeping
            self._last[length] = rows
        return rows

    def _draw(self, n: int, length: int, narrow: int = 0) -> Rows:
        """Draw up to n sequences: no more than a quarter of the time left allows, yet at least 64."""
        if self._rate:
            affordable = int(max(self._left, 0.0) / 4 / (self._rate * length))
            if affordable < n:
                log.info(
                    "the task computes %.0f outputs a second: %d sequences instead of %d",
                    1 / self._rate,
                    max(affordable, 64),
                    n,
                )
            n = max(min(n, affordable), 64)
        xs = self._task.sample(n, length, self._generator)
        if narrow:
            xs[::narrow] = self._narrow(len(xs[::narrow]), length)
        start = time.process_time()
        ys = self._task.outputs_of(xs)
        spent = time.process_time() - start
        self._left -= spent
        self._rate = spent / (n * length)
        return xs, ys

    def _narrow(self, n: int, length: int) -> Tensor:
        """Return uniform inputs between two numbers of the domain, drawn for each sequence."""
        domain = self._task.domain
        ends = torch.randint(domain.low, domain.high + 1, (n, 2), generator=self._generator).sort(1).values
        low, size = ends[:, :1, None], (ends[:, 1:, None] - ends[:, :1, None] + 1)
        part = torch.rand(n, length, domain.width, generator=self._generator, dtype=torch.float64)
        return low + torch.minimum((part * size).long(), size - 1)


class _Table:
    """Rows of a data file: a fifth is held out."""

    stretches = False

    def __init__(self, examples: Examples, generator: torch.Generator) -> None:
        if len(examples) < 5:
            raise DataError(
                f"{examples.name} holds {len(examples)} sequences; training needs at least 5, of which 1 is held out"
            )
        order = torch.randperm(len(examples), generator=generator)
        held = len(examples) // 5
        self._held = examples.xs[order[:held]], examples.ys[order[:held]]
        self._train = examples.xs[order[held:]], examples.ys[order[held:]]

    def training(self, n: int, length: int) -> Rows:
        return self._train[0][:, :length], self._train[1][:, :length]

    def unusual(self, n: int, length: int) -> Rows:
        return self.fresh(n, length)

    def foresight(self, n: int, length: int) -> Rows | None:
        return None

    def fresh(self, n: int, length: int) -> Rows:
        return self._held[0][:n, :length], self._held[1][:n, :length]
