"""Indexes of SmolLM2, every example of them counted again from plain runs of the host."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from tests.features.index.recount import Recount

from pellucid.data import Batch, DataSource, TextConfig, load_text
from pellucid.dictionaries import Dictionary, TopKConfig, make_dictionary, save_dictionary
from pellucid.evaluation import load_run
from pellucid.features.index import Index, IndexConfig, IndexedExample, build_index
from pellucid.features.index.schema import EXAMPLES_FILE
from pellucid.hosts import Host, Site
from pellucid.training import run_config

ROOT = Path(__file__).parents[3]
SETTINGS = IndexConfig(part="all", tokens=100_000)


@pytest.fixture(scope="module")
def smollm2() -> Host:
    return Host.load("smollm2")


def batches(data: DataSource, index: Index) -> Iterator[Batch]:
    """The rows of an index in order, as many at a time as it took: products of other sizes round otherwise."""
    first, last, border = index.manifest["first_row"], index.manifest["rows"], index.manifest["held_out_rows"]
    last += first
    while first < last:
        stop = min(first + index.manifest["settings"]["batch_rows"], border if first < border else last, last)
        rows = torch.arange(first, stop)
        yield data.held_out_rows(rows) if first < border else data.train_rows(rows - border)
        first = stop


def plain_codes(
    host: Host, data: DataSource, index: Index, dictionaries: dict[str, tuple[Dictionary, Site]]
) -> tuple[list[list[int]], list[list[str]], dict[str, list[np.ndarray]]]:
    """Ids and texts of all rows, and for each dictionary (latent, row, position, code) of all codes above 0, batch by batch."""
    ids, texts, found = [], [], {name: [] for name in dictionaries}
    sites = list({site for _, site in dictionaries.values()})
    for batch in batches(data, index):
        values = host.run(batch.inputs, capture=sites, stop=True).values
        for name, (dictionary, site) in dictionaries.items():
            rows, positions = batch.keep.nonzero(as_tuple=True)
            with torch.no_grad():
                codes = dictionary.encode(values[site][rows, positions])
            at, latents = (codes > 0).nonzero(as_tuple=True)
            columns = (latents, rows[at] + len(ids), positions[at], codes[at, latents])
            found[name].append(np.stack([column.double().numpy() for column in columns]))
        ids += batch.inputs["input_ids"].tolist()
        texts += data.tokens_text(batch)
    return ids, texts, found


def recounted(host: Host, data: DataSource, index: Index, dictionaries: dict[str, tuple[Dictionary, Site]]) -> dict[str, int]:
    """Fail unless every example of every latent is what a recount gives; return how many there are of each dictionary."""
    ids, texts, found = plain_codes(host, data, index, dictionaries)
    recount = Recount(ids, texts, IndexConfig(**index.manifest["settings"]))
    checked = {}
    for name in dictionaries:
        latents, rows, positions, codes = np.concatenate(found.pop(name), axis=1)
        order = np.argsort(latents, kind="stable")
        ends = np.searchsorted(latents[order], np.arange(index.n_latents(name) + 1))
        shown: list[list[IndexedExample]] = [[] for _ in range(index.n_latents(name))]
        for example in pq.read_table(index.path(name, EXAMPLES_FILE)).to_pylist():
            shown[example["latent"]].append(IndexedExample(**example))
        for latent, examples in enumerate(shown):
            own = order[ends[latent] : ends[latent + 1]]
            places = zip(rows[own].astype(int).tolist(), positions[own].astype(int).tolist(), strict=True)
            recount.check(latent, dict(zip(places, codes[own].tolist(), strict=True)), examples)
        checked[name] = sum(map(len, shown))
    return checked


def test_every_example_of_an_index_of_smollm2(smollm2, tmp_path):
    data = load_text(TextConfig(source=str(ROOT / "README.md"), context=32, held_out=0.5, exclude_first=4), smollm2.tokenizer)
    site = smollm2.site("layers.1")
    sample = smollm2.run(data.held_out_rows(torch.arange(8)).inputs, capture=[site], stop=True).values[site].flatten(0, 1)
    dictionary = make_dictionary(TopKConfig(n_latents=1024, k=8), 576, torch.Generator().manual_seed(0), sample).eval()
    header = {"name": "topk", "site": "layers.1", "objective": {"kind": "local"}, "tokens": 0}
    host = {"name": smollm2.name, "weights_sha256": smollm2.weights_digest(site)}
    save_dictionary(tmp_path / "dictionaries" / "topk", dictionary, {**header, "host": host})
    index = build_index(tmp_path, smollm2, data, IndexConfig(tokens=512, effect_share=0.0))
    assert recounted(smollm2, data, index, {"topk": (dictionary, site)})["topk"] > 2000


@pytest.mark.evidence
def test_every_example_of_the_index_of_a_run(smollm2, tmp_path, record_evidence):
    """Of the run in PELLUCID_RUN (runs/demo): of its index if it has one, else of one of 100,000 tokens."""
    run = Path(os.environ.get("PELLUCID_RUN", ROOT / "runs" / "demo"))
    data = load_text(run_config(run).data, smollm2.tokenizer)
    if not (run / "index").exists():
        run = Path(shutil.copytree(run, tmp_path / "run"))
        build_index(run, smollm2, data, SETTINGS)
    index = Index.open(run)
    checked = recounted(smollm2, data, index, load_run(run, smollm2)[0])
    assert min(checked.values()) > 10_000
    latents = {name: index.n_latents(name) for name in checked}
    record_evidence("index_recount", tokens=index.manifest["tokens"], latents=latents, examples=checked, wrong=0)
