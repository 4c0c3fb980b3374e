"""Latents that are like a latent: those that fire with it, and those whose atoms point its way; and the tokens it moves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.data.text import token_text
from pellucid.dictionaries import Dictionary
from pellucid.features.index.hashes import mixed
from pellucid.features.index.schema import NEIGHBOURS, TOKENS
from pellucid.features.index.shards import Shards
from pellucid.features.logit_effects import Readout
from pellucid.hosts import Host, Site
from pellucid.kernels.cofiring import cofiring
from pellucid.kernels.entries import Entries
from pellucid.kernels.forms import Form, get_form, usable

COFIRING_ENTRIES = 1 << 24
"""Codes that co-firing is counted on; where there are more, on those of a sample of positions."""
BELOW = -2.0
"""Less than any cosine."""
NUMBERS = 8 << 20
"""Products of atoms, or effects on logits, held at once."""


class Cofiring:
    """Jaccard neighbours of every latent of a dictionary."""

    def __init__(self, shards: Shards, place: int, n_latents: int, context: int, seed: int) -> None:
        """Count them on all positions, or on a sample drawn by a hash of (seed, position) if there are too many codes."""
        entries, self.positions = sampled_entries(shards, place, n_latents, context, seed)
        self.latents, self.scores = cofiring(entries, NEIGHBOURS)

    def columns(self, first: int, last: int) -> dict[str, Any]:
        """Return the columns of latents `first` up to `last`."""
        latents, scores = self.latents[first:last].numpy(), self.scores[first:last].numpy()
        return {
            "cofiring": ragged(latents, latents >= 0, pa.int32()),
            "cofiring_score": ragged(scores, latents >= 0, pa.float32()),
        }


def sampled_entries(shards: Shards, place: int, n_latents: int, context: int, seed: int) -> tuple[Entries, int]:
    """Return the entries of all positions, or of a sample that has at most about COFIRING_ENTRIES, and how many positions."""
    parts = shards.by_position(place)
    total = sum(len(latents) for _, latents in parts)
    share = min(1.0, COFIRING_ENTRIES / max(total, 1))
    limit = np.uint64(min(share * 2.0**64, 2.0**64 - 2**11))
    counts, kept = [], []
    for said, (starts, latents) in zip(shards.said, parts, strict=True):
        lengths = np.diff(starts)
        if share < 1:
            positions = np.arange(len(lengths)) + said["first"] * context
            chosen = mixed(seed, positions) < limit
            latents = latents[np.repeat(chosen, lengths)]
            lengths = lengths[chosen]
        counts.append(lengths)
        kept.append(np.array(latents))
    ends = np.concatenate([[0], np.concatenate(counts).cumsum()])
    return Entries(torch.from_numpy(ends), torch.from_numpy(np.concatenate(kept)), n_latents), len(ends) - 1


class Atoms:
    """Nearest atoms, and the tokens an atom moves most."""

    def __init__(self, dictionary: Dictionary, site: Site, host: Host, readout: Readout | str, tokenizer: Any) -> None:
        self.atoms = dictionary.atoms().detach().float()
        self.site, self.readout, self.tokenizer = site, readout, tokenizer
        self._form = _form(self.atoms)
        self._texts: dict[int, str] = {}

    @torch.no_grad()
    def columns(self, first: int, last: int) -> dict[str, Any]:
        """Return the columns of latents `first` up to `last`."""
        nearest = [self._nearest(a, b) for a, b in _chunks(first, last, len(self.atoms))]
        near, cosine = (np.concatenate(parts) for parts in zip(*nearest, strict=True))
        all_ = np.ones(near.shape, dtype=bool)
        columns = {"nearest": ragged(near, all_, pa.int32()), "nearest_cosine": ragged(cosine, all_, pa.float32())}
        if isinstance(self.readout, str):
            empty = np.zeros((last - first, 0))
            nothing = {name: ragged(empty, empty > 0, pa.string()) for name in ("raises", "lowers")}
            return columns | nothing | {f"{name}_effect": ragged(empty, empty > 0, pa.float32()) for name in nothing}
        moved = [self._moved(self.readout, a, b) for a, b in _chunks(first, last, len(self.readout.unembedding))]
        for place, name in enumerate(("raises", "lowers")):
            tokens, effects = (np.concatenate(parts) for parts in zip(*(found[place] for found in moved), strict=True))
            there = effects != 0
            texts = [self._text(int(token)) for token in tokens[there]]
            columns[name] = _ragged_of(texts, there, pa.string())
            columns[f"{name}_effect"] = ragged(effects, there, pa.float32())
        return columns

    def _nearest(self, first: int, last: int) -> tuple[Int[np.ndarray, "b k"], Float[np.ndarray, "b k"]]:
        cosines = self.atoms[first:last] @ self.atoms.T
        own = torch.arange(first, last, device=cosines.device)
        cosines[own - first, own] = BELOW
        indices, values = self._best(cosines, min(NEIGHBOURS, len(self.atoms) - 1))
        return indices.cpu().numpy(), values.clamp(-1, 1).cpu().numpy()

    def _moved(self, readout: Readout, first: int, last: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return (tokens, effects) of those raised and of those lowered; effect 0 for a token not moved that way."""
        effects = readout.effects(self.atoms[first:last], self.site)
        found = []
        for sign in (1, -1):
            signed = effects if sign == 1 else effects.neg_()
            tokens, values = self._best(signed, min(TOKENS, effects.shape[1]))
            found.append((tokens.cpu().numpy(), sign * values.clamp_min(0).cpu().numpy()))
        return found

    def _best(self, rows: Float[Tensor, "b n"], k: int) -> tuple[Int[Tensor, "b k"], Float[Tensor, "b k"]]:
        """Return the k largest of each row, largest first, of equal ones the lower index."""
        if k == 0:
            return torch.empty(len(rows), 0, dtype=torch.int64), rows.new_empty(len(rows), 0)
        indices, values = self._form.top_rows(rows, rows.new_zeros(rows.shape[1]), k)
        indices, by_index = indices.sort(dim=1)
        values, order = values.gather(1, by_index).sort(dim=1, descending=True, stable=True)
        return indices.gather(1, order), values

    def _text(self, token: int) -> str:
        if token not in self._texts:
            self._texts[token] = token_text(self.tokenizer, token)
        return self._texts[token]


def ragged(rows: np.ndarray, there: np.ndarray, kind: pa.DataType) -> pa.ListArray:
    """Return a list column of the entries of `rows` [b, k] that are `there`."""
    return _ragged_of(rows[there], there, kind)


def _ragged_of(flat: Any, there: np.ndarray, kind: pa.DataType) -> pa.ListArray:
    offsets = np.concatenate([[0], there.sum(axis=1).cumsum()]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat).cast(kind))


def _chunks(first: int, last: int, width: int) -> list[tuple[int, int]]:
    size = max(1, NUMBERS // width)
    return [(a, min(a + size, last)) for a in range(first, last, size)]


def _form(weights: Tensor) -> Form:
    names = usable(weights.device, weights.dtype)
    form = get_form("numba" if "numba" in names else "stock")
    assert form is not None
    return form
