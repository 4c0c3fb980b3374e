"""Which latents to show, and the held-out text on which they fire most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, Num
from torch import Tensor

from pellucid.core.errors import ConfigError, DataError, SiteError, raise_all
from pellucid.data import Batch, DataSource
from pellucid.data.source import seeded
from pellucid.dictionaries import Dictionary
from pellucid.features.codes import held_out_codes
from pellucid.hosts import Host, Site


@dataclass(frozen=True)
class Example:
    """A stretch of one held-out row round the place where a latent is most active."""

    row: int
    """Held-out row."""
    position: int
    """Position of the peak in its row."""
    tokens: list[str]
    """Text of the tokens in the window."""
    activations: list[float]
    """The latent's code at each of these tokens; 0 at positions no dictionary sees."""
    peak: int
    """Place of the peak in the window."""

    @property
    def activation(self) -> float:
        """The code at the peak."""
        return self.activations[self.peak]


def sample_latents(counts: Num[Tensor, " m"], n: int, seed: int = 0) -> list[int]:
    """Pick n latents that stand for all alive ones, from how often each fires (counts or densities).

    The A latents with a count above 0 are ranked from frequent to rare, equal counts in an order drawn from the seed. The
    ranks are cut into n equal parts and the middle of each is taken, rank floor((2 i + 1) A / (2 n)) for i = 0..n-1, so
    that frequent and rare latents show in the numbers in which they exist. Returned from frequent to rare; all alive
    ones if they are no more than n. Raises ConfigError if n is negative.
    """
    if n < 0:
        raise ConfigError(f"n is {n}, wanted 0 latents or more")
    alive = (counts > 0).nonzero().squeeze(-1).cpu()
    shuffled = alive[torch.randperm(len(alive), generator=seeded("latents", seed))]
    ranked = shuffled[counts.cpu()[shuffled].sort(descending=True, stable=True).indices]
    if len(ranked) <= n:
        return ranked.tolist()
    return [int(ranked[(2 * i + 1) * len(ranked) // (2 * n)]) for i in range(n)]


@torch.no_grad()
def top_examples(
    host: Host,
    data: DataSource,
    dictionaries: Mapping[str, tuple[Dictionary, Site]],
    latents: Mapping[str, Sequence[int]],
    *,
    rows: int | None = None,
    batch_rows: int = 8,
    per_latent: int = 8,
    window: tuple[int, int] = (12, 6),
) -> dict[str, dict[int, list[Example]]]:
    """Return for each latent the held-out rows on which it is most active: name -> latent -> examples, best first.

    One pass over the first `rows` held-out rows (None: all). A row gives at most one example a latent: its first greatest
    activation, with up to `window` = (before, after) tokens round it, fewer at the edges of the row. Of rows with equal
    peaks the earlier comes first. Rows on which a latent is silent are left out, so a list may be shorter than
    `per_latent` or empty. What is kept grows with the latents asked for, not with the rows.

    Raises ConfigError listing settings that are wrong, DataError if rows are no text, SiteError if a site has not one
    value a token, and what `held_out_codes` raises.
    """
    _check(dictionaries, latents, per_latent, window)
    wanted = {name: list(dict.fromkeys(latents[name])) for name in latents}
    best: dict[str, dict[int, list[Example]]] = {name: {latent: [] for latent in wanted[name]} for name in wanted}
    used = {name: dictionaries[name] for name in wanted if wanted[name]}
    first_row = 0
    for batch, codes_of in held_out_codes(host, data, used, rows=rows, batch_rows=batch_rows, title="finding examples"):
        tokens = _tokens(data, batch)
        for name, (_, site) in used.items():
            grid = on_grid(codes_of(name)[:, wanted[name]], batch.keep, (len(tokens), len(tokens[0])), site).cpu()
            for latent, plane in zip(wanted[name], grid.unbind(-1), strict=True):
                _add(best[name][latent], plane, tokens, first_row, per_latent, window)
        first_row += len(tokens)
    return best


def on_grid(
    rows: Float[Tensor, "n c"], keep: Bool[Tensor, "batch context"] | None, shape: tuple[int, int], site: Site
) -> Float[Tensor, "batch context c"]:
    """Put the rows of kept positions back at their places, zeros elsewhere; SiteError if they are another number."""
    keep = torch.ones(shape, dtype=torch.bool, device=rows.device) if keep is None else keep
    if keep.shape != shape or int(keep.sum()) != len(rows):
        raise SiteError(f"site '{site}' gives {len(rows)} rows for {shape[0]} x {shape[1]} tokens; wanted one value a token")
    grid = rows.new_zeros(*shape, rows.shape[-1])
    grid[keep] = rows
    return grid


def _add(
    found: list[Example],
    plane: Float[Tensor, "batch context"],
    tokens: list[list[str]],
    first_row: int,
    limit: int,
    window: tuple[int, int],
) -> None:
    """Bring one latent's list up to date with a batch of rows."""
    peaks = plane.amax(dim=1)
    floor = found[-1].activation if len(found) == limit else 0.0
    better = (peaks > floor).nonzero().squeeze(-1)
    places = _first_of(plane[better], peaks[better])
    for row, position in zip(better.tolist(), places.tolist(), strict=True):
        start, stop = max(0, position - window[0]), min(plane.shape[1], position + window[1] + 1)
        values = plane[row, start:stop].tolist()
        found.append(Example(first_row + row, position, tokens[row][start:stop], values, position - start))
    found.sort(key=lambda example: (-example.activation, example.row))
    del found[limit:]


def _first_of(plane: Float[Tensor, "batch context"], values: Float[Tensor, " batch"]) -> Int[Tensor, " batch"]:
    """Return the first place of each row that holds its value; argmax may return any."""
    places = torch.arange(plane.shape[1]).expand(plane.shape)
    return places.masked_fill(plane != values.unsqueeze(-1), plane.shape[1]).amin(dim=1)


def _tokens(data: DataSource, batch: Batch) -> list[list[str]]:
    tokens = data.tokens_text(batch)
    if tokens is None:
        raise DataError("examples are shown as text, but the rows of this data source are no text; use text data")
    if len({len(row) for row in tokens}) != 1:
        raise DataError(f"the rows of a batch have {sorted({len(row) for row in tokens})} tokens, wanted one length")
    return tokens


def _check(
    dictionaries: Mapping[str, tuple[Dictionary, Site]],
    latents: Mapping[str, Sequence[int]],
    per_latent: int,
    window: tuple[int, int],
) -> None:
    problems = [f"per_latent is {per_latent}, wanted 1 or more"] if per_latent < 1 else []
    problems += [f"window is {window}, wanted tokens before and after, each 0 or more"] if min(window) < 0 else []
    for name, wanted in latents.items():
        if name not in dictionaries:
            problems.append(f"latents are asked of '{name}', wanted one of {sorted(dictionaries)}")
            continue
        outside = [latent for latent in wanted if not 0 <= latent < dictionaries[name][0].n_latents]
        if outside:
            problems.append(f"dictionary '{name}' has latents 0 to {dictionaries[name][0].n_latents - 1}, asked for {outside}")
    raise_all(problems, ConfigError)
