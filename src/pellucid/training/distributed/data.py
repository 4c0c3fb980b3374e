"""Each rank takes its share of every batch's rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from pellucid.data import Batch, DataSource
from pellucid.dictionaries import Dictionary, FiringCounter
from pellucid.training.config import FitConfig
from pellucid.training.distributed.alone import Positions, bounds
from pellucid.training.distributed.ranks import Ranks


class DataRanks(Ranks):
    """Rows shared out, weights whole on every rank.

    Losses are means over kept positions, of which ranks have different numbers: with n_r positions at rank r and N = sum
    n_r, the mean over the batch is sum_r n_r / N * mean_r, and so is its gradient. Ratios of means (the auxiliary term of
    TopK) take their denominator over all ranks through `Dictionary.batch_mean`. What differs from one process is the order
    in which the rows are added up; the ranks among themselves hold the same bits.
    """

    mode = "data"

    @classmethod
    def problems(cls, config: FitConfig, size: int) -> list[str]:
        """Return why so many ranks cannot share out a batch."""
        if config.batch_rows >= size:
            return []
        return [f"batch_rows is {config.batch_rows}, but {size} ranks share a batch by rows; wanted {size} or more"]

    def batch(self, data: DataSource, step: int, rows: int) -> Batch:
        """Return this rank's rows of batch number `step`: consecutive ones, so that ranks follow the order of tokens."""
        return data.train_rows(data.train_indices(step, rows)[bounds(rows, self.rank, self.size)])

    def adopt(self, dictionary: Dictionary) -> Dictionary:
        """Let the dictionary's means over a batch go over all ranks."""
        dictionary.batch_mean = self.batch_mean
        return dictionary

    @torch.no_grad()
    def batch_mean(self, values: Tensor) -> Tensor:
        """Return the mean over the tokens of all ranks, [n, ...] -> [...]; no gradient flows through it."""
        sums = values.sum(dim=0, dtype=torch.float64)
        both = self.wire.sum(torch.cat([sums.reshape(-1), sums.new_tensor([len(values)])]))
        return (both[:-1] / both[-1]).to(values.dtype).reshape(sums.shape)

    def count(self, own: int) -> Positions:
        """Return the positions of all ranks, given this rank's."""
        return Positions(tuple(int(n) for n in self.wire.gather(torch.tensor(own))), self.rank)

    def any(self, found: bool) -> bool:
        """Return whether any rank found something in its rows."""
        return int(self.wire.sum(torch.tensor(found, dtype=torch.int32))) > 0

    def mean(self, values: dict[str, Tensor], positions: Positions) -> dict[str, float]:
        """Return means over all positions of the batch, given each rank's means over its own."""
        return self._mean({name: float(value.detach()) for name, value in values.items()}, positions)

    def _mean(self, values: dict[str, float], positions: Positions) -> dict[str, float]:
        # The mean over no position is NaN and weighs nothing.
        own = [value * positions.share if positions.own else 0.0 for value in values.values()]
        return dict(zip(values, self.wire.sum(torch.tensor(own, dtype=torch.float64)).tolist(), strict=True))

    def reduce_gradients(self, dictionary: Dictionary, positions: Positions) -> None:
        """Turn the gradients of a mean over own positions into those of the mean over all."""
        for parameter in dictionary.parameters():
            if parameter.grad is None or positions.own == 0:
                parameter.grad = torch.zeros_like(parameter)
            elif parameter.grad.is_sparse:
                parameter.grad = parameter.grad.to_dense()
            self.wire.sum(parameter.grad.mul_(positions.share))

    @contextmanager
    def counting(self, counter: FiringCounter, positions: Positions) -> Iterator[None]:
        """Bring a counter that is given this rank's codes inside the context to what all of the batch makes it.

        A latent that fired here is younger than this rank's share; the tokens of later ranks are added to its age. The
        smallest age over the ranks is that since its last firing.
        """
        firings = counter.firings.clone()
        yield
        counter.tokens += positions.total - positions.own
        counter.total_tokens += positions.total - positions.own
        later = torch.where(counter.since < positions.own, positions.after, positions.total - positions.own)
        counter.since = self.wire.least(counter.since + later)
        counter.firings = firings + self.wire.sum(counter.firings - firings)

    def activity(self, dictionary: Dictionary, l0: float, dead: float, positions: Positions) -> dict[str, float]:
        """Return L0 over all positions; every rank knows the same latents to be dead."""
        return {"l0": self._mean({"l0": l0}, positions)["l0"], "dead": dead}
