"""Intervention: does text written under the latent's influence read more like the explanation?"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.features.explain.contexts import Evidence
from pellucid.features.language import CausalModel
from pellucid.features.scores.base import Score, Scorer
from pellucid.features.steering import Edit, EditedPass, Steerable, generate, match_kl
from pellucid.features.steering.intervals import mean_of

TOLERANCE = 0.1
"""Share of the target within which the KL must come."""


class Intervention(Scorer):
    """S = E[log p(explanation | intervened text)] - E[log p(explanation | clean text)], in nats (2410.13928).

    Intervened texts continue prompts while the latent's atom is added at all positions from the prompt's last on, with
    the strength at which the mean KL(clean || intervened) of the next token after the prompts is `kl` nats within 10 %.
    Both texts of a prompt are drawn with the same seed. With `kl` 0 nothing is added and S is 0.
    """

    name = "intervention"

    def __init__(
        self,
        steerable: Steerable,
        dictionary: str,
        prompts: Int[Tensor, "p n"],
        reader: CausalModel,
        *,
        kl: float = 1.0,
        new_tokens: int = 8,
        seed: int = 0,
    ) -> None:
        self.steerable, self.dictionary, self.prompts, self.reader = steerable, dictionary, prompts, reader
        self.kl, self.new_tokens, self.seed = kl, new_tokens, seed
        self._pass: EditedPass | None = None
        self._clean: list[str] | None = None
        self._latest: tuple[int, list[str]] | None = None

    def score(self, explanation: str, evidence: Evidence) -> Score:
        """Return the mean over prompts, with its bootstrap interval; chance is 0."""
        changed = self.read(explanation, self.intervened(evidence.latent))
        found = mean_of(changed - self.read(explanation, self.clean()), seed=self.seed)
        return Score(found.value, found.low, found.high, found.n)

    def clean(self) -> list[str]:
        """Return a continuation of each prompt."""
        if self._clean is None:
            self._clean = self._continued([])
        return self._clean

    def intervened(self, latent: int) -> list[str]:
        """Return a continuation of each prompt under the latent's influence."""
        if self._latest is None or self._latest[0] != latent:
            self._latest = (latent, self._continued([self.edit(latent)] if self.kl else []))
        return self._latest[1]

    def edit(self, latent: int) -> Edit:
        """Return the addition that reaches the KL wanted."""
        if self._pass is None:
            site = self.steerable.dictionary(self.dictionary)[1]
            self._pass = EditedPass(self.steerable, self.prompts, sites=[site])
        edit = Edit(dictionary=self.dictionary, latent=latent, operation="add", value=1.0, positions="from_end")
        return match_kl(self._pass, edit, self.kl, tolerance=TOLERANCE)[0]

    def read(self, explanation: str, texts: list[str]) -> Float[Tensor, " p"]:
        """Return log p(explanation | text) for each text."""
        prompts = [f"Text: {text}\n\nIn short, the text has this in it:" for text in texts]
        return torch.from_numpy(self.reader.log_prob(prompts, [f" {explanation}"] * len(texts)))

    def _continued(self, edits: list[Edit]) -> list[str]:
        return [
            generate(
                self.steerable,
                row.unsqueeze(0),
                edits,
                max_new_tokens=self.new_tokens,
                temperature=1.0,
                seed=self.seed + number,
            ).text
            for number, row in enumerate(self.prompts)
        ]
