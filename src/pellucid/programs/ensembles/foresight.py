"""What would come next: outputs after a few fixed continuations, as further targets for the state.

A state that tells the outputs after every continuation is all there is to know about the past (predictive states,
Littman, Sutton & Singh 2002). Where the outputs themselves tell little of it - a quotient bit, a carry - such targets
make the state learnable. The read-outs for them are dropped after training.
"""

from __future__ import annotations

import torch
from jaxtyping import Int64
from torch import Tensor

from pellucid.programs.ensembles.members import Members
from pellucid.programs.tasks.base import InputDomain, Task

LENGTHS = (1, 1, 1, 2, 2, 3, 3, 4)
"""Steps of each continuation."""


def continuations(domain: InputDomain, generator: torch.Generator) -> list[Int64[Tensor, "l i"]]:
    """Return different random words over the domain, of the lengths above where there are so many."""
    words: list[Tensor] = []
    for length in LENGTHS:
        for _ in range(8):
            word = domain.uniform(1, length, generator)[0]
            if not any(torch.equal(word, other) for other in words):
                words.append(word)
                break
    return words


def outputs_after(task: Task, xs: Int64[Tensor, "n t i"], words: list[Tensor]) -> Int64[Tensor, "n t wo"]:
    """Return for every prefix x_1..x_t and every word w the output after x_1..x_t w."""
    n, length, _ = xs.shape
    columns = []
    for word in words:
        tail = word.expand(n, -1, -1)
        after = [task.outputs_of(torch.cat((xs[:, : t + 1], tail), 1))[:, -1] for t in range(length)]
        columns.append(torch.stack(after, 1))
    return torch.cat(columns, 2)


def without_foresight(members: Members, n_out: int) -> Members:
    """Return the members with the first n_out outputs only."""
    if members.n_out == n_out:
        return members
    last, extra = members.g[-1][0].shape[2], members.n_out - n_out
    head = members.flat[:, : members.flat.shape[1] - members.n_out * (last + 1)]
    weight, bias = members.g[-1]
    assert extra > 0
    flat = torch.cat((head, weight[:, :n_out].flatten(1), bias[:, :n_out, 0]), 1)
    return Members(members.shape, members.n_in, n_out, flat.contiguous())
