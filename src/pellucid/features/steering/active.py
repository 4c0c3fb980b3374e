"""Which latents are active at each token of a text."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from pellucid.dictionaries import inference
from pellucid.features.steering.prompt import texts
from pellucid.features.steering.steerable import Steerable


@dataclass(frozen=True)
class TokenFeatures:
    """The latents active at one token, strongest first."""

    position: int
    token: int
    text: str
    latents: list[tuple[int, float]]
    """(latent, code), code above 0; empty at positions that no dictionary sees."""


@torch.no_grad()
def active_features(steerable: Steerable, tokens: Int[Tensor, "1 n"], dictionary: str, *, top: int = 32) -> list[TokenFeatures]:
    """Return for each token of a text the `top` latents of a dictionary with the greatest codes above 0.

    The first `exclude_first` positions are shown without latents. Raises ConfigError if there is no such dictionary.
    """
    coder, site = steerable.dictionary(dictionary)
    values = steerable.host.run({"input_ids": tokens}, capture=[site], stop=True).values[site]
    with inference([coder]):
        codes = coder.encode(values[0].float())
    codes[: steerable.exclude_first] = 0
    found = codes.topk(min(top, codes.shape[1]), dim=-1)
    return [
        TokenFeatures(position, token, text, [(i, c) for i, c in zip(latents, strengths, strict=True) if c > 0])
        for position, (token, text, latents, strengths) in enumerate(
            zip(
                tokens[0].tolist(), texts(steerable.host, tokens[0]), found.indices.tolist(), found.values.tolist(), strict=True
            )
        )
    ]
