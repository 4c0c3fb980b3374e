from __future__ import annotations

import pytest
import torch

from pellucid.core.errors import ConfigError, DataError, NumericsError, SiteError
from pellucid.data import TensorData
from pellucid.dictionaries import FiringCounter
from pellucid.features import count_firings, sample_latents, top_examples
from pellucid.features.examples import on_grid

CONTEXT, ROWS = 14, 11


def every_code(host, data, dictionary, site) -> torch.Tensor:
    """Codes [row, position, latent] of one plain run over all rows; 0 where excluded."""
    (batch,) = data.held_out_batches(ROWS)
    value = host.run(batch.inputs, capture=[site]).values[site]
    codes = dictionary.encode(value.flatten(0, 1)).detach().unflatten(0, value.shape[:2])
    return codes * batch.keep.unsqueeze(-1)


def test_examples_equal_a_search_of_all_codes(llama_host, data, dictionaries):
    latents = {"topk": [3, 0, 17, 39], "relu": [5, 2]}
    before, after = 4, 2
    found = top_examples(llama_host, data, dictionaries, latents, batch_rows=3, per_latent=4, window=(before, after))
    (batch,) = data.held_out_batches(ROWS)
    texts = data.tokens_text(batch)
    shown = 0
    for name, (dictionary, site) in dictionaries.items():
        codes = every_code(llama_host, data, dictionary, site)
        assert list(found[name]) == latents[name]
        for latent, examples in found[name].items():
            peaks = sorted((-float(codes[row, :, latent].max()), row) for row in range(ROWS))
            wanted = [(row, -value) for value, row in peaks if value < 0][:4]
            assert [example.row for example in examples] == [row for row, _ in wanted]
            for example, (row, value) in zip(examples, wanted, strict=True):
                position = int(codes[row, :, latent].argmax())
                window = slice(max(0, position - before), position + after + 1)
                assert (example.position, example.peak) == (position, position - window.start)
                assert example.activation == pytest.approx(value, rel=1e-4, abs=1e-6)
                assert example.tokens == texts[row][window]
                assert example.activations == pytest.approx(codes[row, window, latent].tolist(), rel=1e-4, abs=1e-6)
                shown += 1
    assert shown > 10


def test_a_row_gives_one_example_and_excluded_positions_are_zero(llama_host, data, dictionaries):
    found = top_examples(llama_host, data, dictionaries, {"relu": list(range(24))}, per_latent=ROWS, window=(CONTEXT, CONTEXT))
    (batch,) = data.held_out_batches(ROWS)
    specials = 0
    for examples in found["relu"].values():
        assert len({example.row for example in examples}) == len(examples)
        for example in examples:
            assert example.tokens == data.tokens_text(batch)[example.row] and example.peak == example.position
            silent = [a for a, keep in zip(example.activations, batch.keep[example.row].tolist(), strict=True) if not keep]
            assert silent == [0.0] * len(silent) and example.activations[0] == 0.0
            specials += example.tokens.count("<eos>")
    assert specials > 0


@pytest.mark.parametrize(("window", "length"), [((0, 0), 1), ((2, 0), 3), ((0, 2), 3)])
def test_the_window_ends_where_the_row_does(llama_host, data, dictionaries, window, length):
    found = top_examples(llama_host, data, dictionaries, {"relu": list(range(24))}, per_latent=ROWS, window=window)["relu"]
    positions = set()
    for example in (example for examples in found.values() for example in examples):
        start, stop = max(0, example.position - window[0]), min(CONTEXT, example.position + window[1] + 1)
        assert len(example.tokens) == len(example.activations) == stop - start <= length
        assert example.activation == max(example.activations)
        positions.add(example.position)
    assert {1, CONTEXT - 1} <= positions and 0 not in positions


class Constant(torch.nn.Module):
    """A dictionary whose latent 0 is 1 everywhere and whose latent 1 never fires."""

    n_latents = 2

    def encode(self, x):
        return torch.tensor([1.0, 0.0]).expand(len(x), 2)


def test_of_equal_activations_the_first_place_and_the_first_rows_win(llama_host, data, monkeypatch):
    from pellucid.dictionaries import ReluConfig, make_dictionary

    dictionary = make_dictionary(ReluConfig(n_latents=2), 32, torch.Generator())
    monkeypatch.setattr(dictionary, "encode", Constant().encode)
    dictionaries = {"flat": (dictionary, llama_host.site("layers.0"))}
    for batch_rows in (1, 4, ROWS):
        found = top_examples(llama_host, data, dictionaries, {"flat": [0, 1]}, batch_rows=batch_rows, per_latent=3)["flat"]
        assert [(e.row, e.position) for e in found[0]] == [(0, 1), (1, 1), (2, 1)]
        assert found[1] == []


def test_batch_size_changes_no_example(llama_host, data, dictionaries):
    latents = {"topk": list(range(40)), "relu": list(range(24))}

    def found(batch_rows):
        out = top_examples(llama_host, data, dictionaries, latents, batch_rows=batch_rows)
        lists = {(name, latent): examples for name in out for latent, examples in out[name].items()}
        return {key: [(e.row, e.position, e.tokens) for e in examples] for key, examples in lists.items()}

    assert found(1) == found(4) == found(ROWS)
    assert top_examples(llama_host, data, dictionaries, latents, batch_rows=4) == top_examples(
        llama_host, data, dictionaries, latents, batch_rows=4
    )


def test_rows_limits_the_pass(llama_host, data, dictionaries):
    found = top_examples(llama_host, data, dictionaries, {"relu": [0, 1, 2, 3]}, rows=4, batch_rows=3)
    assert {example.row for examples in found["relu"].values() for example in examples} <= {0, 1, 2, 3}


def test_firings_equal_a_count_of_all_codes(llama_host, data, dictionaries):
    counters = count_firings(llama_host, data, dictionaries, rows=None, batch_rows=4)
    (batch,) = data.held_out_batches(ROWS)
    for name, (dictionary, site) in dictionaries.items():
        plain = FiringCounter(dictionary.n_latents)
        plain.update(every_code(llama_host, data, dictionary, site)[batch.keep])
        assert torch.equal(counters[name].firings, plain.firings) and counters[name].tokens == int(batch.keep.sum())


def test_wrong_settings_are_listed_together(llama_host, data, dictionaries):
    with pytest.raises(ConfigError) as error:
        top_examples(llama_host, data, dictionaries, {"other": [0], "relu": [24]}, per_latent=0, window=(-1, 2))
    for words in ("per_latent is 0", "window is (-1, 2)", "'other'", "latents 0 to 23, asked for [24]"):
        assert words in str(error.value)


def test_data_that_is_no_text_is_refused(llama_host, dictionaries):
    data = TensorData({"input_ids": torch.zeros(4, 6, dtype=torch.int64)}, held_out=0.5)
    with pytest.raises(DataError, match="no text"):
        top_examples(llama_host, data, dictionaries, {"relu": [0]})


def test_rows_that_do_not_fill_the_tokens_are_refused(llama_host):
    with pytest.raises(SiteError, match=r"'layers\.1' gives 5 rows for 2 x 3 tokens"):
        on_grid(torch.zeros(5, 2), None, (2, 3), llama_host.site("layers.1"))


def test_activations_that_are_not_finite_are_refused(llama_host, data, dictionaries):
    llama_host.module.model.layers[1].mlp.down_proj.weight.data[0, 0] = torch.inf
    with pytest.raises(NumericsError, match=r"'layers\.1' are not finite at \d+ of"):
        top_examples(llama_host, data, dictionaries, {"topk": [0]})


def test_sampled_latents_are_the_middles_of_equal_parts_of_the_ranking():
    counts = torch.zeros(30)
    counts[5:25] = torch.arange(20, 0, -1)  # latent 5 fires most, latent 24 least
    assert sample_latents(counts, 4) == [7, 12, 17, 22]
    assert sample_latents(counts, 1) == [15]
    assert sample_latents(counts, 20) == sample_latents(counts, 100) == list(range(5, 25))
    assert sample_latents(counts, 0) == [] and sample_latents(torch.zeros(5), 3) == []
    assert sample_latents(counts / 20, 4) == sample_latents(counts.long(), 4) == [7, 12, 17, 22]


def test_equal_counts_are_ordered_by_the_seed():
    counts = torch.full((100,), 3)
    assert sample_latents(counts, 6, seed=1) == sample_latents(counts, 6, seed=1) != sample_latents(counts, 6, seed=2)
    assert len(set(sample_latents(counts, 6))) == 6


def test_a_negative_number_of_latents_is_refused():
    with pytest.raises(ConfigError, match="n is -1"):
        sample_latents(torch.ones(3), -1)
