"""Everything an index shows, counted again from dense codes by plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.features.index.conftest import CONFIG, CONTEXT, ROWS
from tests.features.index.recount import CLOSE, Recount

from pellucid.features import logit_effects, top_tokens
from pellucid.features.index import IndexedExample
from pellucid.kernels.divergence import plain_kl

NAMES = pytest.mark.parametrize("name", ["relu", "topk"])


def positive(codes: torch.Tensor, latent: int) -> list[tuple[float, int, int]]:
    """(code, row, position) of every place on which a latent fires, weakest first, equal ones by place."""
    found = []
    for row in range(ROWS):
        for position in range(CONTEXT):
            if (code := float(codes[row, position, latent])) > 0:
                found.append((code, row, position))
    return sorted(found)


@NAMES
def test_statistics(tiny, name):
    codes, kept = tiny.codes[name], int(tiny.batch.keep.sum())
    table = tiny.index.latents(name).to_pylist()
    assert [row["latent"] for row in table] == list(range(codes.shape[-1])) and tiny.index.manifest["tokens"] == kept
    silent = 0
    for latent, row in enumerate(table):
        values = [code for code, _, _ in positive(codes, latent)]
        assert row["firings"] == len(values) and row["firing_rate"] == pytest.approx(len(values) / kept, rel=1e-6)
        if not values:
            assert (row["mean"], row["max"], row["quantiles"], row["histogram"]) == (0, 0, [], [])
            silent += 1
            continue
        assert row["mean"] == pytest.approx(sum(values) / len(values), **CLOSE)
        assert row["max"] == pytest.approx(values[-1], **CLOSE)
        assert row["quantiles"] == pytest.approx([float(np.quantile(values, q / 10)) for q in range(11)], **CLOSE)
        width = values[-1] / 20
        bins = [sum(b * width < value <= (b + 1) * width for value in values[:-1]) for b in range(20)]
        bins[19] += 1  # the greatest closes the last bin, whatever rounding does to its edge
        assert row["histogram"] == bins
    if name == "relu":
        assert silent == 1 and table[1]["firings"] == kept


@NAMES
def test_every_example(tiny, name):
    recount = Recount(tiny.batch.inputs["input_ids"].tolist(), tiny.data.tokens_text(tiny.batch), CONFIG)
    shown: list[IndexedExample] = []
    for latent in range(tiny.codes[name].shape[-1]):
        examples = tiny.index.examples(name, latent)
        recount.check(latent, {(row, at): code for code, row, at in positive(tiny.codes[name], latent)}, examples)
        shown += examples
    assert sum(e.quantile == 0 for e in shown) > 80 and sum(e.quantile > 0 for e in shown) > 300
    assert {e.start == 0 for e in shown} == {e.start + len(e.tokens) == CONTEXT for e in shown} == {True, False}


@NAMES
def test_neighbours(tiny, name):
    fires = tiny.codes[name].flatten(0, 1) > 0
    atoms = tiny.dictionaries[name][0].atoms().detach()
    for latent, row in enumerate(tiny.index.latents(name).to_pylist()):
        scores = []
        for other in range(len(atoms)):
            both, either = (fires[:, latent] & fires[:, other]).sum(), (fires[:, latent] | fires[:, other]).sum()
            scores += [(-float(both / either), other)] if other != latent and both else []
        wanted = sorted(scores)[:8]
        assert row["cofiring"] == [other for _, other in wanted]
        assert row["cofiring_score"] == pytest.approx([-score for score, _ in wanted], rel=1e-6)
        cosines = sorted((-float(atoms[latent] @ atoms[other]), other) for other in range(len(atoms)) if other != latent)[:8]
        assert row["nearest"] == [other for _, other in cosines]
        assert row["nearest_cosine"] == pytest.approx([-cosine for cosine, _ in cosines], abs=1e-6)
    assert tiny.index.manifest["dictionaries"][name]["cofiring_positions"] == ROWS * CONTEXT


@NAMES
def test_logit_effects(tiny, name):
    dictionary, site = tiny.dictionaries[name]
    inputs = tiny.batch.inputs
    effects = logit_effects(tiny.host, site, dictionary.atoms().detach(), tiny.host.find_head(inputs), inputs=inputs).values
    for latent, row in enumerate(tiny.index.latents(name).to_pylist()):
        for column, wanted in zip(("raises", "lowers"), top_tokens(effects[latent], tiny.data.tokenizer, 10), strict=True):
            assert row[column] == [text for text, _ in wanted] and len(wanted) == 10
            assert row[f"{column}_effect"] == pytest.approx([effect for _, effect in wanted], rel=1e-4, abs=1e-6)


@NAMES
def test_ablation_effects(tiny, name):
    """One run of one row with the latent's contribution taken out, row by row."""
    dictionary, site = tiny.dictionaries[name]
    keep = tiny.batch.keep
    checked = 0
    for latent, found in list(enumerate(tiny.index.latents(name).to_pylist()))[1::6]:
        kl, ce, n_ce = [], [], 0
        for row in range(ROWS):
            codes = tiny.codes[name][row, :, latent]
            if not (codes > 0).any():
                continue
            inputs = {"input_ids": tiny.batch.inputs["input_ids"][row : row + 1]}

            def silence(value, codes=codes, latent=latent):
                one = torch.zeros(1, dictionary.n_latents)
                one[0, latent] = 1
                direction = dictionary.decode(one) - dictionary.decode(torch.zeros_like(one))
                return value - codes.unsqueeze(-1) * direction

            with torch.no_grad():
                original = tiny.host.run(inputs).output.logits[0].double()
                ablated = tiny.host.run(inputs, edit={site: silence}).output.logits[0].double()
            for position in ((codes > 0) & keep[row]).nonzero().flatten().tolist():
                kl.append(float(plain_kl(original[None, position], ablated[None, position])[0]))
                label = int(tiny.batch.labels[row, position])
                if label != -100:
                    logs = [torch.log_softmax(logits[position], -1)[label] for logits in (original, ablated)]
                    ce.append(float(logs[0] - logs[1]))
                    n_ce += 1
        assert found["effect_positions"] == len(kl) == found["firings"]
        if not kl:
            assert found["effect_kl"] is None and found["effect_ce"] is None
            continue
        assert found["effect_kl"] == pytest.approx(sum(kl) / len(kl), rel=1e-3, abs=1e-10)
        assert found["effect_ce"] == pytest.approx(sum(ce) / n_ce, rel=1e-3, abs=1e-7)
        checked += 1
    assert checked >= 4
