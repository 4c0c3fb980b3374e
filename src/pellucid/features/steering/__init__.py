"""Change features while the host runs: edits of latents and directions, during scoring and generation."""

from pellucid.features.steering.active import TokenFeatures, active_features
from pellucid.features.steering.edit import Edit
from pellucid.features.steering.generate import MAX_NEW_TOKENS, Generation, generate
from pellucid.features.steering.logits import NextToken, NextTokens, next_tokens, steered_logits
from pellucid.features.steering.prompt import MAX_CHARACTERS, MAX_TOKENS, tokenize
from pellucid.features.steering.steerable import Steerable

__all__ = [
    "MAX_CHARACTERS",
    "MAX_NEW_TOKENS",
    "MAX_TOKENS",
    "Edit",
    "Generation",
    "NextToken",
    "NextTokens",
    "Steerable",
    "TokenFeatures",
    "active_features",
    "generate",
    "next_tokens",
    "steered_logits",
    "tokenize",
]
