"""Mean codes, for ablations that put a code at its mean."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from pellucid.core.errors import ConfigError
from pellucid.data import DataSource
from pellucid.features.steering.components import Component, codes_of
from pellucid.features.steering.conflicts import completed
from pellucid.features.steering.edit import Edit
from pellucid.features.steering.steerable import Steerable
from pellucid.hosts.splice import SharedPass

MEAN_ROWS = 16
"""Training rows over which a mean code is taken."""


@torch.no_grad()
def with_means(steerable: Steerable, edits: Sequence[Edit], data: DataSource, *, rows: int = MEAN_ROWS) -> list[Edit]:
    """Return the edits, those that ablate to a mean and have no value with the mean code as their value.

    The mean is over the kept positions of the first `rows` training rows, silent ones included. Raises ConfigError if an
    edit names what is not there.
    """
    edits = [completed(edit, steerable.dictionaries) for edit in edits]
    open_ = [i for i, edit in enumerate(edits) if edit.operation == "ablate_mean" and edit.value is None]
    if not open_:
        return edits
    # Checked as if set to 0, so that a wrong name is refused before any row is run.
    trials = [edits[i].model_copy(update={"value": 0.0, "positions": "all"}) for i in open_]
    parts: list[Component] = []
    sites = []
    for trial in trials:
        ((site, components),) = steerable.bind([trial], 1, 1).components.items()
        parts += components
        sites.append(site)
    batch = data.train_batch(0, min(rows, data.n_train)).to(steerable.host.device)
    if not data.n_train:
        raise ConfigError("the data has no training row to take a mean code over; give ablate_mean a value")
    shared = SharedPass(steerable.host, batch.inputs, batch.keep, capture=list(dict.fromkeys(sites)), features=False)
    dictionaries = {name: dictionary for name, (dictionary, _) in steerable.dictionaries.items()}
    for i, site, part in zip(open_, sites, parts, strict=True):
        codes = codes_of(shared.rows(site).float().unsqueeze(0), [part], dictionaries)
        edits[i] = edits[i].model_copy(update={"value": float(codes.double().mean())})
    return edits
