"""What the architectures' tests share: small data and dictionaries moved away from their start, in float64."""

from __future__ import annotations

import torch
from torch.testing import assert_close

from pellucid.dictionaries import ArchitectureBase, Dictionary, make_dictionary

D, M, N = 5, 12, 17
NONE_DEAD = torch.zeros(M, dtype=torch.bool)


def sample(n: int = N, d: int = D) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 0.3


def moved(config: ArchitectureBase, by: float = 0.2, rows: int = 4 * M) -> Dictionary:
    """Make a dictionary in float64 whose parameters are not at their starting values."""
    dictionary = make_dictionary(config, D, torch.Generator().manual_seed(0), sample(rows).float()).double()
    noise = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in dictionary.parameters():
            parameter += by * torch.randn(parameter.shape, generator=noise, dtype=torch.float64)
    dictionary.after_step()
    return dictionary


def loss_of(dictionary: Dictionary, x: torch.Tensor, dead: torch.Tensor = NONE_DEAD) -> torch.Tensor:
    forward = dictionary(x)
    return (forward.reconstruction - x).square().mean() + sum(dictionary.penalty(forward, x, dead).values())


def check_slopes(dictionary: Dictionary, x: torch.Tensor, *names: str, step: float = 1e-6) -> None:
    """Gradients of the loss with respect to the named parameters equal central differences along a random direction."""
    dictionary.zero_grad()
    loss_of(dictionary, x).backward()
    generator = torch.Generator().manual_seed(5)
    for name in names:
        parameter = dictionary.get_parameter(name)
        direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        before, found = parameter.detach().clone(), float((parameter.grad * direction).sum())
        values = []
        for sign in (1, -1):
            parameter.data.copy_(before + sign * step * direction)
            values.append(float(loss_of(dictionary, x).detach()))
        parameter.data.copy_(before)
        assert_close(torch.tensor(found), torch.tensor((values[0] - values[1]) / (2 * step)), rtol=1e-4, atol=1e-7)
