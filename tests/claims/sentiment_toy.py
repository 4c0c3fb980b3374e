"""Sentiment on SmolLM2: a direction from some sentences, and prompts and answers that are none of them."""

from __future__ import annotations

import torch
from torch import Tensor

from pellucid.dictionaries import Dictionary, ReluConfig, TopKConfig, make_dictionary
from pellucid.features.steering import Steerable, difference_in_means, tokenize
from pellucid.features.steering.directions import last_values
from pellucid.hosts import Host, Site

SITE = "layers.12"
POSITIVE = ("I loved it, it was wonderful", "What a great and happy day", "She smiled with joy and delight")
NEGATIVE = ("I hated it, it was horrible", "What a bad and sad day", "She cried with pain and sorrow")
PROMPTS = (
    "The hotel room was very",
    "The weather today is quite",
    "My old school was very",
    "The soup there was really",
    "The new boss is quite",
    "That long film was really",
)
GOOD = ("good", "great", "nice", "happy", "pleasant", "beautiful", "wonderful", "interesting", "impressive", "friendly")
BAD = ("bad", "terrible", "poor", "sad", "unpleasant", "ugly", "awful", "boring", "disappointing", "difficult")


def sentiment_direction(steerable: Steerable) -> Tensor:
    """Return the mean value at the last token of the happy sentences less that of the sad ones."""
    site = steerable.host.site(SITE)
    happy, sad = ([tokenize(steerable.host, text) for text in some] for some in (POSITIVE, NEGATIVE))
    return difference_in_means(last_values(steerable, site, happy), last_values(steerable, site, sad))


def single_tokens(steerable: Steerable, words: tuple[str, ...]) -> list[int]:
    """Return the ids of the words that are one token."""
    ids = [steerable.host.tokenizer(f" {word}", add_special_tokens=False)["input_ids"] for word in words]
    return [i[0] for i in ids if len(i) == 1]


def tiny_dictionaries(host: Host) -> dict[str, tuple[Dictionary, Site]]:
    """Return two untrained dictionaries of a tiny Llama, at two sites."""
    made = {
        "topk": (TopKConfig(n_latents=40, k=3, bias_init="zeros"), "layers.1"),
        "relu": (ReluConfig(n_latents=24), "layers.3"),
    }
    return {
        name: (make_dictionary(config, 32, torch.Generator().manual_seed(7)).eval(), host.site(site))
        for name, (config, site) in made.items()
    }
