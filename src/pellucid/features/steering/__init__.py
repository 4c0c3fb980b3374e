"""Change features while the host runs: edits of latents and directions, during scoring and generation."""

from pellucid.features.steering.ablation import GroupAblation, ablate_group
from pellucid.features.steering.active import TokenFeatures, active_features
from pellucid.features.steering.directions import difference_in_means, match_kl, principal_component, random_direction
from pellucid.features.steering.dose import Dose, DoseResponse, dose_response
from pellucid.features.steering.edit import Edit
from pellucid.features.steering.generate import MAX_NEW_TOKENS, Generation, generate
from pellucid.features.steering.logits import NextToken, NextTokens, next_tokens, steered_logits
from pellucid.features.steering.means import with_means
from pellucid.features.steering.passes import EditedPass
from pellucid.features.steering.prompt import MAX_CHARACTERS, MAX_TOKENS, tokenize
from pellucid.features.steering.report import SteeringReport, read_edits, steer
from pellucid.features.steering.steerability import Richness, Steerability, answers, richness, steerability
from pellucid.features.steering.steerable import Steerable

__all__ = [
    "MAX_CHARACTERS",
    "MAX_NEW_TOKENS",
    "MAX_TOKENS",
    "Dose",
    "DoseResponse",
    "Edit",
    "EditedPass",
    "Generation",
    "GroupAblation",
    "NextToken",
    "NextTokens",
    "Richness",
    "Steerability",
    "Steerable",
    "SteeringReport",
    "TokenFeatures",
    "ablate_group",
    "active_features",
    "answers",
    "difference_in_means",
    "dose_response",
    "generate",
    "match_kl",
    "next_tokens",
    "principal_component",
    "random_direction",
    "read_edits",
    "richness",
    "steer",
    "steerability",
    "steered_logits",
    "tokenize",
    "with_means",
]
