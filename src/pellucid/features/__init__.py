"""What a person sees of a latent: where it fires and what it does to the logits."""

from pellucid.features.codes import count_firings
from pellucid.features.collect import collect_features, write_features
from pellucid.features.examples import Example, sample_latents, top_examples
from pellucid.features.logit_effects import LogitEffects, logit_effects, top_tokens

__all__ = [
    "Example",
    "LogitEffects",
    "collect_features",
    "count_firings",
    "logit_effects",
    "sample_latents",
    "top_examples",
    "top_tokens",
    "write_features",
]
