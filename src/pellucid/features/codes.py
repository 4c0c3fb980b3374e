"""Codes of held-out rows, batch by batch, one run of the host for all dictionaries."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.errors import NumericsError
from pellucid.core.logging import Ticker
from pellucid.data import Batch, DataSource
from pellucid.dictionaries import Dictionary, FiringCounter, inference
from pellucid.hosts import Host, Site
from pellucid.hosts.splice import SharedPass

CodesOf = Callable[[str], Float[Tensor, "n m"]]
"""Takes a dictionary's name and returns its codes at the batch's kept positions; made when asked for, never kept."""


def held_out_codes(
    host: Host,
    data: DataSource,
    dictionaries: Mapping[str, tuple[Dictionary, Site]],
    *,
    rows: int | None,
    batch_rows: int,
    title: str,
) -> Iterator[tuple[Batch, CodesOf]]:
    """Yield the first `rows` held-out rows (None: all) in batches, each with a function that gives codes.

    The host runs once a batch, no further than the last site. Raises ConfigError or DataError as
    `DataSource.held_out_batches` does, SiteError if a dictionary does not fit its site, NumericsError if an activation
    is not finite.
    """
    sites = list(dict.fromkeys(site for _, site in dictionaries.values()))
    total = min(rows or data.n_held_out, data.n_held_out)
    with Ticker(title, total, unit="rows") as ticker:
        for batch in data.held_out_batches(batch_rows, rows):
            batch = batch.to(host.device)
            shared = SharedPass(host, batch.inputs, batch.keep, capture=sites, features=False)
            yield batch, _encoder(shared, dictionaries)
            ticker.advance(batch_rows)


@torch.no_grad()
def count_firings(
    host: Host, data: DataSource, dictionaries: Mapping[str, tuple[Dictionary, Site]], *, rows: int | None, batch_rows: int
) -> dict[str, FiringCounter]:
    """Count on how many kept held-out positions each latent fires (code > 0); raises as `held_out_codes` does."""
    counters = {name: FiringCounter(dictionary.n_latents, host.device) for name, (dictionary, _) in dictionaries.items()}
    for _, codes_of in held_out_codes(host, data, dictionaries, rows=rows, batch_rows=batch_rows, title="counting firings"):
        for name, counter in counters.items():
            counter.update(codes_of(name))
    return counters


def _encoder(shared: SharedPass, dictionaries: Mapping[str, tuple[Dictionary, Site]]) -> CodesOf:
    def codes_of(name: str) -> Tensor:
        dictionary, site = dictionaries[name]
        activations = shared.rows(site)
        if not bool(activations.isfinite().all()):
            bad = int((~activations.isfinite().all(dim=-1)).sum())
            raise NumericsError(
                f"activations at site '{site}' are not finite at {bad} of {len(activations)} held-out positions. "
                f"Check the host's weights and its dtype."
            )
        with inference([dictionary]):
            return dictionary.encode(activations.float())

    return codes_of
