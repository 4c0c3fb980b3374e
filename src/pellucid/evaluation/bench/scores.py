"""Scores of trained dictionaries on a bed, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from pellucid.core.errors import DataError
from pellucid.data import PlantedData
from pellucid.dictionaries import Dictionary, FiringCounter, inference
from pellucid.evaluation.absorption import absorption
from pellucid.evaluation.bench.beds import Bed
from pellucid.evaluation.evaluate import evaluate
from pellucid.evaluation.reconstruction import Reconstruction
from pellucid.evaluation.recovery import code_ratio, match
from pellucid.evaluation.similarity import mmcs
from pellucid.evaluation.stability import agreement
from pellucid.evaluation.support import support


def planted_scores(dictionaries: Mapping[str, Dictionary], bed: Bed) -> dict[str, dict[str, Any]]:
    """Return fidelity, recovery, shrinkage, dead latents and (where there are families) absorption on the held-out rows."""
    data = bed.data
    assert isinstance(data, PlantedData)
    truth = data.truth(torch.arange(bed.rows), held_out=True)
    found = {}
    for name, dictionary in dictionaries.items():
        with torch.no_grad(), inference([dictionary]):
            forward = dictionary(truth.x)
            codes, decoder = forward.codes, dictionary.decoder
        sums, counter = Reconstruction(dictionary.d_in), FiringCounter(dictionary.n_latents)
        sums.update(truth.x, forward.reconstruction)
        counter.update(codes)
        matching, lengths = match(dictionary.atoms(), data.atoms), decoder.norm(dim=1)
        where = support(codes, truth.coefficients, matching)
        found[name] = {
            "l0": counter.l0(),
            "fvu": sums.fvu,
            "mcs": matching.mcs,
            "frr": matching.frr,
            "mmcs": mmcs(data.atoms, dictionary.atoms()),
            "mmcs_back": mmcs(dictionary.atoms(), data.atoms),
            "precision": where.precision,
            "recall": where.recall,
            "f1": where.f1,
            "gamma": sums.gamma,
            "code_ratio": code_ratio(codes, truth.coefficients, matching, lengths),
            "dead": 1 - counter.alive() / dictionary.n_latents,
        }
        if bool((data.parents() >= 0).any()):
            taken = absorption(codes, decoder, truth.coefficients, data.atoms, data.parents(), matching)
            found[name] |= {"absorption": taken.rate, "absorption_full": taken.full, "parent_cosine": taken.parent_cosine}
    return found


def host_scores(dictionaries: Mapping[str, Dictionary], bed: Bed) -> dict[str, dict[str, Any]]:
    """Return fidelity of the splice, dead latents and shrinkage on the held-out rows."""
    site = bed.host.site(bed.site)
    placed = {name: (dictionary, site) for name, dictionary in dictionaries.items()}
    scores = evaluate(bed.host, placed, bed.data, means=bed.means, rows=bed.rows, batch_rows=4)
    keys = ("l0", "fvu", "ce_increase", "kl", "ce_recovered_vs_mean", "norm_ratio", "explained_variance")
    return {
        name: {key: scores[name][key] for key in keys} | {"dead": 1 - scores[name]["alive"] / dictionary.n_latents}
        for name, dictionary in dictionaries.items()
    }


def agree(atoms: list[torch.Tensor]) -> dict[str, Any]:
    """Return the agreement of seeds, or why there is none."""
    if min(len(rows) for rows in atoms) == 0:
        return {"matched": None, "mmcs": None, "shared": None, "reason": "a seed has no live latent"}
    try:
        return vars(agreement(atoms))
    except DataError as error:
        return {"matched": None, "mmcs": None, "shared": None, "reason": str(error)}
