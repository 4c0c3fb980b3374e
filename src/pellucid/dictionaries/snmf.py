"""SNMF dictionary: nonnegative codes of signed, sparse atoms, fitted by multiplicative updates and no gradient."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import linear

from pellucid.core.errors import ConfigError
from pellucid.dictionaries.base import ArchitectureBase, Dictionary, Forward
from pellucid.dictionaries.semi_nmf import LEAST, Start, factorise, solved_atoms, start_atoms, strongest_only, updated_codes

FEWEST = 10
"""Dimensions that an atom may use by default, at least."""


class SnmfConfig(ArchitectureBase):
    """SNMF dictionary: semi-nonnegative matrix factorisation of activations such as an MLP's hidden ones."""

    kind: Literal["snmf"] = "snmf"
    """Name of the architecture."""
    n_latents: int = Field(default=100, ge=1, le=2**28)
    """Number of latents (factors k)."""
    winners: float | None = Field(default=None, gt=0, le=1)
    """Share of the site's dimensions (neurons) that an atom may use: its largest ones win; 1 leaves atoms dense. Default: a
    hundredth, but at least ten dimensions, of which a small site has too few for atoms of one or two."""
    start: Start = "random"
    """Where atoms start: normal numbers, singular vectors of a sample, or its k-means centroids."""
    iterations: int = Field(default=50, ge=1)
    """Multiplicative updates by which the codes of a batch are found."""
    memory: float = Field(default=0.95, ge=0, lt=1)
    """What a batch's statistics still count after the next batch; 0 fits the atoms to the last batch alone."""
    ridge: float = Field(default=1e-6, ge=0, allow_inf_nan=False)
    """Added to the codes' second moments, of unit diagonal, when the atoms are solved for."""
    least: float = Field(default=1e-3, ge=0, lt=1)
    """Codes below this share of their token's largest are 0: multiplicative updates shrink a code but never end at 0."""

    def share(self, d_in: int) -> float:
        """Return `winners`, or its default at that width."""
        return min(1.0, max(0.01, FEWEST / d_in)) if self.winners is None else self.winners


class SnmfDictionary(Dictionary):
    """Semi-nonnegative factorisation of MLP activations (Shafran et al. 2025, arXiv 2506.10920), mini-batched.

        codes(x) = argmin over z >= 0 of |x - z @ decoder|^2, by `iterations` multiplicative updates:
            z <- z o sqrt((P+ + z Q-) / (P- + z Q+)),  P = x @ decoder', Q = decoder @ decoder'
            then 0 where z is below `least` of its row's largest
        reconstruction = codes @ decoder
        learn(x):  moment <- memory * moment + z' x,  gram <- memory * gram + z' z, z before the cut
                   decoder <- (gram + ridge)^-1 moment, of each row the `winners` largest entries

    There is no gradient: `learn` is the whole update, so learning rate, clipping and end-to-end objectives mean nothing
    to it. `factorised` fits it to one matrix by the published loop instead. Codes of a row depend on that row alone.
    """

    kind = "snmf"
    Config = SnmfConfig
    config: SnmfConfig
    by_gradient = False
    moment: Float[Tensor, "m d"]
    gram: Float[Tensor, "m m"]

    def create_tensors(self, m: int, d: int) -> None:
        """Register the atoms, and the statistics they are solved from."""
        self.decoder = nn.Parameter(torch.zeros(m, d), requires_grad=False)
        self.register_buffer("moment", torch.zeros(m, d))
        self.register_buffer("gram", torch.zeros(m, m))

    @property
    def encoder(self) -> Float[Tensor, "m d"]:  # type: ignore[override]
        """The atoms: pre-activations are projections on them."""
        return self.decoder

    @property
    def encoder_bias(self) -> Float[Tensor, " m"]:  # type: ignore[override]
        """Zero."""
        return self.decoder.new_zeros(self.n_latents)

    @property
    def decoder_bias(self) -> Float[Tensor, " d"]:  # type: ignore[override]
        """Zero."""
        return self.decoder.new_zeros(self.d_in)

    def preactivations(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n m"]:
        """Return the inner products of x with the atoms; SiteError if x does not fit."""
        return linear(self.accept(x), self.decoder)

    @torch.no_grad()
    def encode(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n m"]:
        """Return the nonnegative codes, those that are next to nothing 0; no gradient flows through them."""
        return self._cut(self._solved(self.accept(x)))

    def decode(self, codes: Float[Tensor, "n m"]) -> Float[Tensor, "n d"]:
        """Return codes @ decoder."""
        return codes @ self.decoder

    def forward(self, x: Float[Tensor, "n d"]) -> Forward:
        """Encode and decode x; SiteError if x does not fit."""
        with torch.no_grad():
            solved = self._solved(self.accept(x))
            codes = self._cut(solved)
        return Forward(self.decode(codes), solved, dense=codes)

    @torch.no_grad()
    def learn(self, x: Float[Tensor, "n d"], forward: Forward) -> None:
        """Take the update for a batch and its pass. Next to nothing is not 0 here: an atom without codes is never used."""
        x, config, codes = self.accept(x), self.config, forward.pre
        if len(x) == 0:
            return
        assert codes is not None
        self.moment.mul_(config.memory).add_(codes.T @ x)
        self.gram.mul_(config.memory).add_(codes.T @ codes)
        used = self.gram.diagonal() > LEAST
        atoms = solved_atoms(self.moment.double(), self.gram.double(), max(config.ridge, LEAST)).to(x.dtype)
        atoms = strongest_only(torch.where(used.unsqueeze(1), atoms, self.decoder), config.share(self.d_in))
        self.decoder.copy_(atoms)

    @torch.no_grad()
    def initialise(self, generator: torch.Generator | None, sample: Float[Tensor, "n d"] | None) -> None:
        """Start the atoms by the config's rule; ConfigError if it needs a sample, or a larger one."""
        if self.config.start != "random" and sample is None:
            raise ConfigError(f"start '{self.config.start}' needs a sample of activations, got none. Use start 'random'")
        rows = torch.zeros(1, self.d_in) if sample is None else sample
        atoms = start_atoms(rows.double(), self.n_latents, self.config.start, generator)
        self.decoder.copy_(strongest_only(atoms, self.config.share(self.d_in)))
        self.moment.zero_()
        self.gram.zero_()

    def _cut(self, solved: Float[Tensor, "n m"]) -> Float[Tensor, "n m"]:
        return torch.where(solved >= self.config.least * solved.amax(dim=1, keepdim=True), solved, 0.0)

    def _solved(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n m"]:
        """Return codes > 0 by multiplicative updates from one start: the positive parts of the projections, and a little."""
        atoms = self.decoder
        codes = linear(x, atoms).relu() / atoms.square().sum(dim=1).clamp_min(LEAST)
        codes = codes + 0.1 * codes.mean(dim=1, keepdim=True) + LEAST
        return updated_codes(x, atoms, codes, self.config.iterations)


@torch.no_grad()
def factorised(
    config: SnmfConfig, x: Float[Tensor, "n d"], *, iterations: int = 400, patience: int = 100, seed: int = 0
) -> SnmfDictionary:
    """Return a dictionary, in inference mode, fitted to all rows of a matrix by the published loop (`factorise`)."""
    factors = factorise(
        x, config.n_latents, winners=config.share(x.shape[1]), start=config.start, iterations=iterations, patience=patience,
        ridge=config.ridge, generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip
    dictionary = SnmfDictionary(config, x.shape[1])
    dictionary.decoder.copy_(factors.atoms)
    dictionary.moment.copy_(factors.codes.T @ x.double())
    dictionary.gram.copy_(factors.codes.T @ factors.codes)
    return dictionary.eval()
