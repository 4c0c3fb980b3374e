"""What silencing a latent does to the host's output, measured on some rows in the course of the pass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.data import Batch
from pellucid.dictionaries import Dictionary, inference
from pellucid.features.index.codes import Codes
from pellucid.features.index.config import IndexConfig
from pellucid.features.index.hashes import mixed
from pellucid.hosts import Site
from pellucid.hosts.splice import SharedPass, rows_of

ROUNDS = 8
"""Latents ablated on each row of a batch that ablations are measured on, one after another."""
NO_LABEL = -100


class Ablations:
    """Running sums of what ablating each latent of a dictionary does.

    Ablating latent i in a row of text takes its contribution out at every position p of that row where it fires, and keeps
    everything else, the dictionary's error term too:
        x'_p = x_p - c_{p,i} * d_i,   d_i = decode(e_i) - decode(0)
    which is that only where the decoder is a sum over latents: no latent of another dictionary is ablated.
    The effect is measured at positions where it fires, at most `effect_positions` of a row, spread evenly over them:
        KL = sum_v p_v (log p_v - log q_v),  CE rise = log p_label - log q_label,
    p and q being the original and the ablated run's output. A latent is ablated on at most `effect_rows` rows, and no two
    latents are ever ablated in one run of a row. Of the latents that fire in a row and want more rows, those are taken that
    a hash of (seed, latent) puts first, so that they are a random sample of the latents that fire often enough.
    """

    COLUMNS = ("rows", "positions", "labelled", "kl", "ce")

    def __init__(self, dictionary: Dictionary, site: Site, config: IndexConfig) -> None:
        self.dictionary, self.site, self.config = dictionary, site, config
        m = dictionary.n_latents
        self.rows = np.zeros(m, np.int64)
        self.positions = np.zeros(m, np.int64)
        self.labelled = np.zeros(m, np.int64)
        self.kl = np.zeros(m)
        self.ce = np.zeros(m)

    @torch.no_grad()
    def update(self, shared: SharedPass, batch: Batch, codes: Codes, places: Int[Tensor, " n"]) -> None:
        """Ablate up to ROUNDS latents on each row of the batch; `places` are the kept positions, row * context + position."""
        batch_rows, context = batch.inputs["input_ids"].shape
        labels = None if batch.labels is None else rows_of(batch.labels.unsqueeze(-1), batch.keep).squeeze(-1)
        row_of_entry = (places[codes.rows] // context).cpu().numpy()
        chosen = self._choose(row_of_entry, codes.latents.cpu().numpy(), batch_rows)
        for latents in chosen.T:
            if (latents < 0).all():
                break
            wanted = torch.from_numpy(latents[row_of_entry]).to(codes.latents.device) == codes.latents
            text_row = torch.from_numpy(row_of_entry).to(wanted.device)[wanted]
            job = _Round(codes.rows[wanted], text_row, codes.latents[wanted], codes.values[wanted])
            self._ablate(job, shared, labels)
            np.add.at(self.rows, latents[latents >= 0], 1)

    def _choose(self, rows: Int[np.ndarray, " e"], latents: Int[np.ndarray, " e"], n_rows: int) -> Int[np.ndarray, "n_rows r"]:
        """Return the latents to ablate on each row, -1 for none."""
        m = len(self.rows)
        pairs = np.unique(rows * m + latents)
        row, latent = pairs // m, pairs % m
        order = np.lexsort((latent, mixed(self.config.seed, latent), row))
        chosen = np.full((n_rows, ROUNDS), -1)
        planned = self.rows.copy()
        for r in range(n_rows):
            here = latent[order[np.searchsorted(row, r) : np.searchsorted(row, r + 1)]]
            here = here[planned[here] < self.config.effect_rows][:ROUNDS]
            chosen[r, : len(here)] = here
            planned[here] += 1
        return chosen

    def _ablate(self, job: _Round, shared: SharedPass, labels: Int[Tensor, " n"] | None) -> None:
        contribution = job.values.unsqueeze(-1) * self._directions(job.latents)

        def replace(rows: Tensor) -> Tensor:
            return rows.index_add(0, job.rows, -contribution.to(rows.dtype))

        ablated = shared.splice(self.site, replace).features
        measured = job.spread(self.config.effect_positions)
        rows, latents = job.rows[measured], job.latents[measured].cpu().numpy()
        assert shared.features is not None
        # float64: the KL of a small change is a small difference of large terms.
        log_p = torch.log_softmax(shared.readout(shared.features[rows]).double(), dim=-1)
        log_q = torch.log_softmax(shared.readout(ablated[rows]).double(), dim=-1)
        kl = torch.linalg.vecdot(log_p.exp(), log_p - log_q).clamp_min(0).cpu().numpy()
        np.add.at(self.kl, latents, kl)
        np.add.at(self.positions, latents, 1)
        if labels is not None:
            wanted = labels[rows]
            has = (wanted != NO_LABEL).cpu().numpy()
            rise = (log_p - log_q).gather(1, wanted.clamp_min(0).unsqueeze(1)).squeeze(1).cpu().numpy()
            np.add.at(self.ce, latents[has], rise[has])
            np.add.at(self.labelled, latents[has], 1)

    def _directions(self, latents: Int[Tensor, " e"]) -> Float[Tensor, "e d"]:
        """Return what one unit of each latent's code adds to the reconstruction; decoders are linear."""
        unique, place = torch.unique(latents, return_inverse=True)
        decoder = self.dictionary.decoder
        codes = decoder.new_zeros(len(unique) + 1, self.dictionary.n_latents)
        codes[torch.arange(len(unique)), unique] = 1
        with inference([self.dictionary]):
            decoded = self.dictionary.decode(codes)
        return (decoded[:-1] - decoded[-1:])[place]

    def columns(self, first: int, last: int) -> dict[str, np.ndarray]:
        """Return the columns of latents `first` up to `last`; NaN where a latent was not sampled or has no label."""
        part = slice(first, last)
        with np.errstate(invalid="ignore", divide="ignore"):
            kl, ce = self.kl[part] / self.positions[part], self.ce[part] / self.labelled[part]
        return {"effect_kl": kl, "effect_ce": ce, "effect_positions": self.positions[part]}

    def state(self) -> Float[np.ndarray, "columns n"]:
        """Return the sums of the latents that have any, to go on from."""
        used = self.rows.nonzero()[0]
        return np.stack([used.astype(np.float64), *(getattr(self, name)[used].astype(np.float64) for name in self.COLUMNS)])

    def restore(self, state: Float[np.ndarray, "columns n"]) -> None:
        """Go on from what `state` returned."""
        used = state[0].astype(np.int64)
        for name, values in zip(self.COLUMNS, state[1:], strict=True):
            getattr(self, name)[used] = values


@dataclass(frozen=True)
class _Round:
    """The entries of one spliced run: at most one latent in each row of text."""

    rows: Int[Tensor, " e"]
    """Which of the kept positions."""
    text_rows: Int[Tensor, " e"]
    """Row of text in the batch."""
    latents: Int[Tensor, " e"]
    values: Float[Tensor, " e"]

    def spread(self, most: int) -> Int[Tensor, " s"]:
        """Return which entries to measure: of the n of a row of text t = min(n, most), evenly spread.

        Entry w is one of them if floor((w + 1) t / n) > floor(w t / n).
        """
        lengths = torch.bincount(self.text_rows)
        within = torch.arange(len(self.rows), device=self.rows.device) - (lengths.cumsum(0) - lengths)[self.text_rows]
        n = lengths[self.text_rows]
        t = n.clamp_max(most)
        return ((within + 1) * t // n > within * t // n).nonzero().squeeze(-1)


def batches_for_ablation(share: float, n_batches: int, depths: list[float], deepest: float) -> set[int]:
    """Return the numbers of the batches on which ablations are measured, spread evenly over the pass.

    `depths` are the shares of the host's work that come before each dictionary's site, `deepest` before the last of them.
    Work of the pass: n_batches * deepest. Of a batch with ablations: the rest of the original run, 1 - deepest, and for each
    dictionary ROUNDS runs from its site on, each 1 - depth. As many batches as `share` pays for, at least one if it is
    above 0.
    """
    if share == 0 or n_batches == 0:
        return set()
    each = (1 - deepest) + sum(ROUNDS * (1 - depth) for depth in depths)
    n = min(n_batches, max(1, int(share * n_batches * deepest / each)))
    return {(2 * i + 1) * n_batches // (2 * n) for i in range(n)}
