"""How long each form takes for one pass of a sparse dictionary, forward and backward."""

from __future__ import annotations

import time
from collections.abc import Mapping

import torch
from torch import Tensor

from pellucid.kernels.forms import Form
from pellucid.kernels.sparse import decoded, encoded, top_k

MOST_ROWS, MOST_CODES, TURNS = 1024, 12 << 20, 5
"""A measurement is of at most so many rows, and so many codes: it must not be what a fit needs most memory for."""
HOPELESS = 2.0
"""A form that takes so many times the fastest one's time is not tried again."""
GPU_ROWS, GPU_CODES = 4096, 1 << 26
"""The same on a GPU, where fewer would measure how fast kernels start."""


def seconds(forms: Mapping[str, Form | None], m: int, d: int, k: int, *, rows: int, device: torch.device) -> dict[str, float]:
    """Return the least seconds of each form's pass over random rows (at most some), m latents of width d, k of them active.

    The forms take turns, so that a machine that is busy for a while is so for all of them.
    """
    most_rows, most_codes = (MOST_ROWS, MOST_CODES) if device.type == "cpu" else (GPU_ROWS, GPU_CODES)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(max(1, min(rows, most_rows, most_codes // m)), d, generator=generator).to(device)
    rows_of_encoder = torch.randn(m, d, generator=generator).div_(d**0.5).to(device)
    encoder, decoder = (rows_of_encoder.detach().requires_grad_() for _ in range(2))  # one memory, two gradients
    bias = torch.zeros(m, device=device, requires_grad=True)
    times: dict[str, list[float]] = {name: [] for name in forms}
    for turn in range(TURNS + 1):
        for name, form in _in_play(forms, times).items():
            begun = time.perf_counter()
            reconstruction(form, x, encoder, bias, decoder, k).square().mean().backward()
            if x.is_cuda:
                torch.cuda.synchronize(x.device)
            if turn:  # the first one compiles
                times[name].append(time.perf_counter() - begun)
            encoder.grad = decoder.grad = bias.grad = None
    return {name: min(taken) for name, taken in times.items()}  # other work on the machine only adds


def _in_play(forms: Mapping[str, Form | None], times: Mapping[str, list[float]]) -> dict[str, Form | None]:
    """Return the forms worth another turn: a short fit would notice what hopeless ones take."""
    found = [second for taken in times.values() for second in taken]
    return {name: form for name, form in forms.items() if not found or min(times[name]) <= HOPELESS * min(found)}


def reconstruction(form: Form | None, x: Tensor, encoder: Tensor, bias: Tensor, decoder: Tensor, k: int) -> Tensor:
    """Return ReLU(the k largest of x @ encoder.T + bias) @ decoder; `form` None: dense, by autograd alone."""
    if form is None:
        values, indices = torch.addmm(bias, x, encoder.t()).topk(k, dim=-1, sorted=False)
        return x.new_zeros(len(x), len(encoder)).scatter(1, indices, values.relu()) @ decoder
    entries, found = top_k(form, x, encoder, bias, k)
    return decoded(form, entries, encoded(form, entries, found, x, encoder, bias).relu(), decoder)
