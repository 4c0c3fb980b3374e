from __future__ import annotations

import pytest
import torch

from pellucid.core.errors import ConfigError, FileFormatError
from pellucid.dictionaries import FiringCounter
from pellucid.kernels.entries import Entries

M = 9


def some_codes(n: int = 101, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    rate = torch.linspace(0, 0.3, M)  # latent 0 never fires
    return torch.rand(n, M, generator=generator) * (torch.rand(n, M, generator=generator) < rate)


def recount(codes: torch.Tensor) -> tuple[list[int], list[int]]:
    since, firings = [0] * M, [0] * M
    for row in codes.tolist():
        for i, code in enumerate(row):
            since[i] = 0 if code > 0 else since[i] + 1
            firings[i] += code > 0
    return since, firings


@pytest.mark.parametrize("batch", [1, 7, 101])
def test_equals_recount_for_any_batch_size(batch):
    codes, counter = some_codes(), FiringCounter(M)
    for piece in codes.split(batch):
        counter.update(piece)
    since, firings = recount(codes)
    assert counter.since.tolist() == since
    assert counter.firings.tolist() == firings
    assert counter.alive() == sum(f > 0 for f in firings)
    assert counter.l0() == sum(firings) / len(codes)
    assert counter.density().tolist() == [f / len(codes) for f in firings]
    for after in (1, 5, 101, 102):
        assert counter.dead(after).tolist() == [s >= after for s in since]


@pytest.mark.parametrize("batch", [1, 7, 101])
def test_sparse_codes_are_counted_as_their_dense_form(batch):
    dense, sparse = FiringCounter(M), FiringCounter(M)
    for piece in some_codes().split(batch):
        values, latents = piece.topk(5, dim=-1)  # zeros among them: no firing
        entries = Entries.of_rows(latents, M)
        dense.update(entries.dense(values.flatten()))
        sparse.update_entries(entries, values.flatten())
    states = dense.state_dict(), sparse.state_dict()
    assert all(torch.equal(torch.as_tensor(states[0][key]), torch.as_tensor(states[1][key])) for key in states[0])
    with pytest.raises(ConfigError, match="the counter is for 3 latents, got codes of 9"):
        FiringCounter(3).update_entries(entries, values.flatten())


def test_one_firing_makes_a_latent_alive_and_none_leaves_it_dead():
    codes = torch.zeros(50, M)
    codes[17, 3] = 1e-30
    counter = FiringCounter(M)
    counter.update(codes)
    assert counter.alive() == 1
    assert counter.dead(50).tolist() == [i != 3 for i in range(M)]
    assert counter.since[3] == 32


def test_nothing_is_dead_before_enough_tokens():
    counter = FiringCounter(M)
    counter.update(torch.zeros(10, M))
    assert not counter.dead(11).any()
    assert counter.dead(10).all()


def test_a_new_window_forgets_firings_but_not_ages():
    first, second, counter = some_codes(60), some_codes(40, seed=1), FiringCounter(M)
    counter.update(first)
    counter.start_window()
    assert counter.l0() == 0
    assert counter.alive() == 0
    counter.update(second)
    assert counter.since.tolist() == recount(torch.cat([first, second]))[0]
    assert counter.firings.tolist() == recount(second)[1]
    assert counter.tokens == 40
    assert counter.total_tokens == 100


def test_no_tokens_change_nothing():
    counter = FiringCounter(M)
    counter.update(some_codes(5))
    before = counter.state_dict()
    counter.update(torch.zeros(0, M))
    after = counter.state_dict()
    assert all(torch.equal(torch.as_tensor(before[name]), torch.as_tensor(after[name])) for name in before)


def test_resume_is_exact_and_copies():
    codes, whole, part = some_codes(), FiringCounter(M), FiringCounter(M)
    whole.update(codes)
    part.update(codes[:40])
    state = part.state_dict()
    part.update(codes[:3])  # what goes on must not reach the saved state
    resumed = FiringCounter(M)
    resumed.load_state_dict(state)
    resumed.update(codes[40:])
    assert torch.equal(resumed.since, whole.since)
    assert torch.equal(resumed.firings, whole.firings)
    assert resumed.state_dict()["tokens"] == 101
    assert resumed.firings.dtype == resumed.since.dtype == torch.int64


def test_wrong_state_is_refused_with_everything_at_once():
    state = FiringCounter(M + 1).state_dict()
    del state["tokens"]
    state["extra"] = 1
    with pytest.raises(FileFormatError) as error:
        FiringCounter(M).load_state_dict(state)
    for part in ("'tokens' is missing", "'extra' is not used", "'since' has shape (10,)", "'firings' has shape (10,)"):
        assert part in str(error.value)


def test_wrong_width_is_refused():
    with pytest.raises(ConfigError, match="for 9 latents, got codes of 1"):
        FiringCounter(M).update(torch.zeros(4, 1))
