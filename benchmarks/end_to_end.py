"""What the end-to-end benchmarks share: hosts, batches and the plain procedure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pellucid import Host
from pellucid.dictionaries import make_dictionary
from pellucid.hosts.splice import SharedPass
from pellucid.kernels.divergence import plain_kl

ROWS, CONTEXT = 8, 128


def llama(blocks: int, width: int, vocabulary: int) -> Host:
    """A Llama with random weights; its MLP is 2.6875 times as wide as its blocks."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    shape = {"hidden_size": width, "intermediate_size": round(width * 2.6875), "num_hidden_layers": blocks}
    shape |= {"num_attention_heads": 8, "vocab_size": vocabulary}
    return Host(LlamaForCausalLM(LlamaConfig(**shape, use_cache=False)), name=f"llama-{blocks}x{width}")


HOSTS: dict[str, Callable[[], Host]] = {
    "smollm2": lambda: Host.load("smollm2"),
    "llama-12x256": lambda: llama(12, 256, 8192),
    "llama-6x64": lambda: llama(6, 64, 512),
}
"""The last is for tests."""


def token_ids(host: Host, rows: int, context: int = CONTEXT) -> Tensor:
    """Return rows of random token ids: what a step costs does not depend on them."""
    vocabulary = int(host.module.config.vocab_size)  # type: ignore[union-attr, arg-type]
    return torch.randint(3, vocabulary, (rows, context), generator=torch.Generator().manual_seed(0))


def rows_at(host: Host, inputs: dict[str, Tensor], site: Any) -> Tensor:
    """Return the site's rows for starting values."""
    return SharedPass(host, inputs, None, capture=[site], features=False).rows(site)


def plain(
    host: Host, block: int, sample: Tensor, architecture: Any, *, seed: int = 0, lr: float = 1e-4
) -> Callable[[dict[str, Tensor]], float]:
    """The procedure anyone would write first: hook, two full forwards, full logits; returns a step, which returns its loss."""
    module = host.module.get_submodule(host.blocks[block])
    width = sample.shape[-1]
    dictionary = make_dictionary(architecture, width, torch.Generator().manual_seed(seed), sample)
    optimizer = torch.optim.Adam(dictionary.parameters(), lr=lr)

    def step(inputs: dict[str, Tensor]) -> float:
        with torch.no_grad():
            original = host.module(**inputs).logits
        forwards: list[Any] = []

        def hook(_: Any, __: Any, output: Tensor) -> Tensor:
            forwards.append((output, dictionary(output.reshape(-1, width))))
            return forwards[-1][1].reconstruction.reshape(output.shape)

        handle = module.register_forward_hook(hook)
        spliced = host.module(**inputs).logits
        handle.remove()
        classes = spliced.shape[-1]
        kl = plain_kl(original.reshape(-1, classes), spliced.reshape(-1, classes)).mean()
        rows, forward = forwards[0]
        penalty = dictionary.penalty(forward, rows.reshape(-1, width), torch.zeros(architecture.n_latents, dtype=torch.bool))
        loss = sum(penalty.values(), kl)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(dictionary.parameters(), 10.0)
        optimizer.step()
        return float(loss.detach())

    return step
