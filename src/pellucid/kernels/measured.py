"""How long a form takes for one pass of a sparse dictionary, forward and backward."""

from __future__ import annotations

import statistics
import time

import torch
from torch import Tensor
from torch.nn.functional import normalize

from pellucid.kernels.forms import Form
from pellucid.kernels.sparse import decoded, encoded, top_k

MOST_ROWS, TURNS = 1024, 3


def seconds(form: Form | None, m: int, d: int, k: int, *, rows: int, device: torch.device) -> float:
    """Return the median seconds of a pass over at most MOST_ROWS random rows with m latents of width d, k of them active."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(min(rows, MOST_ROWS), d, generator=generator).to(device)
    encoder = normalize(torch.randn(m, d, generator=generator), dim=-1).to(device).requires_grad_()
    decoder, bias = encoder.detach().clone().requires_grad_(), torch.zeros(m, device=device, requires_grad=True)
    times = []
    for _ in range(TURNS + 1):
        begun = time.perf_counter()
        reconstruction(form, x, encoder, bias, decoder, k).square().mean().backward()
        if x.is_cuda:
            torch.cuda.synchronize(x.device)
        times.append(time.perf_counter() - begun)
        encoder.grad = decoder.grad = bias.grad = None
    return statistics.median(times[1:])  # the first turn compiles


def reconstruction(form: Form | None, x: Tensor, encoder: Tensor, bias: Tensor, decoder: Tensor, k: int) -> Tensor:
    """Return ReLU(the k largest of x @ encoder.T + bias) @ decoder; `form` None: dense, by autograd alone."""
    if form is None:
        values, indices = torch.addmm(bias, x, encoder.t()).topk(k, dim=-1, sorted=False)
        return x.new_zeros(len(x), len(encoder)).scatter(1, indices, values.relu()) @ decoder
    entries, found = top_k(form, x, encoder, bias, k)
    return decoded(form, entries, encoded(form, entries, found, x, encoder, bias).relu(), decoder)
