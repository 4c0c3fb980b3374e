"""What every architecture does with settings that cannot be and with activations that say nothing: refuse, or stay exact."""

from __future__ import annotations

import math

import pytest
import torch

from pellucid.core.config import build
from pellucid.core.errors import ConfigError, NumericsError, SiteError
from pellucid.dictionaries import ARCHITECTURES, Dictionary, load_dictionary, make_dictionary, save_dictionary

D, M = 6, 20
SETTINGS = {
    "gba": {"n_groups": 2, "every": 1},
    "jumprelu": {"target_l0": 3.0},
    "latent_quantization": {"n_values": 4, "hidden": (5,)},
    "matching_pursuit": {"pursuit_steps": 3},
    "matryoshka": {"groups": (0.2, 0.3)},
    "snmf": {"winners": 0.5, "iterations": 5},
}
POSITIVE = {
    "jumprelu": ("threshold_init", "bandwidth", "input_scale", "target_l0"),
    "p_anneal": ("p_end",),
    "gba": ("highest", "lowest"),
    "matching_pursuit": ("pursuit_steps",),
    "latent_quantization": ("n_values",),
    "snmf": ("winners",),
}
POSITIVE |= {"threshold": POSITIVE["jumprelu"], "gated_p_anneal": POSITIVE["p_anneal"]}
"""Settings that must be more than 0."""
ROWS = torch.randn(60, D, generator=torch.Generator().manual_seed(0)) + 0.3
DEAD = torch.arange(M) % 3 == 0
HEADER = {"site": "s", "objective": {}, "tokens": 5, "host": {"name": "h", "weights_sha256": "a"}}
NO_SPREAD = r"all zero|all equal|not finite"

every_kind = pytest.mark.parametrize("kind", list(ARCHITECTURES))


def config(kind: str, **changes):
    cls = ARCHITECTURES[kind].Config
    k = {"k": 3} if "k" in cls.model_fields else {}
    return build(cls, {"n_latents": M, **k, **SETTINGS.get(kind, {}), **changes})


def made(kind: str, sample: torch.Tensor = ROWS, **changes) -> Dictionary:
    return make_dictionary(config(kind, **changes), D, torch.Generator().manual_seed(0), sample)


def step(dictionary: Dictionary, x: torch.Tensor) -> float:
    """Take one update on a batch and return its loss."""
    dictionary.begin_step(0.5)
    if not dictionary.by_gradient:
        dictionary.learn(x, dictionary(x))
        return float((dictionary(x).reconstruction - x).square().mean())
    if dictionary.guided:
        dictionary.guide(torch.ones_like(x))
    forward = dictionary(x)
    loss = (forward.reconstruction - x).square().mean() + sum(dictionary.penalty(forward, x, DEAD).values())
    dictionary.zero_grad()
    loss.backward()
    dictionary.before_step()
    torch.optim.SGD(dictionary.parameters(), lr=1e-3).step()
    dictionary.after_step()
    return float(loss.detach())


def assert_sound(dictionary: Dictionary) -> None:
    """Every number held is finite, nothing is held that a file would be refused for, and passes are finite too."""
    assert all(bool(value.isfinite().all()) for value in dictionary.state_dict().values())
    assert dictionary.problems() == []
    for mode in (True, False):
        forward = dictionary.train(mode)(ROWS)
        assert bool(forward.reconstruction.isfinite().all()) and bool((forward.codes >= 0).all())
    dictionary.train()


@every_kind
def test_a_width_below_one_is_refused(kind):
    for width in (0, -1):
        with pytest.raises(ConfigError, match="n_latents"):
            config(kind, n_latents=width)
        with pytest.raises(ConfigError, match="wanted a site width"):
            make_dictionary(config(kind), width, None, ROWS)


@pytest.mark.parametrize("kind", [kind for kind, cls in ARCHITECTURES.items() if "k" in cls.Config.model_fields])
def test_k_above_the_width_is_refused_and_k_as_large_as_it_works(kind):
    with pytest.raises(ConfigError, match=rf"k.*{M + 1}.*{M}"):
        config(kind, k=M + 1)
    for k in (0, -1):
        with pytest.raises(ConfigError, match="'k'"):
            config(kind, k=k)
    dictionary = made(kind, k=M)
    assert math.isfinite(step(dictionary, ROWS))
    assert_sound(dictionary)


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in POSITIVE.items() for name in names])
def test_settings_that_are_not_positive_are_refused(kind, name):
    for value in (0, -1):
        with pytest.raises(ConfigError, match=name):
            config(kind, **{name: value})


@every_kind
def test_no_number_may_be_negative_or_not_a_number(kind):
    cls = ARCHITECTURES[kind].Config
    numbers = [name for name, field in cls.model_fields.items() if str(field.annotation) != "<class 'bool'>"
               and any(word in str(field.annotation) for word in ("int", "float"))]  # fmt: skip
    assert "n_latents" in numbers and "atom_noise" in numbers
    for name in numbers:
        for value in (-1, math.nan, math.inf):
            with pytest.raises(ConfigError, match=name):
                build(cls, {name: (value,) if "tuple" in str(cls.model_fields[name].annotation) else value})


@pytest.mark.parametrize(
    ("kind", "changes", "words"),
    [
        ("codebook", {}, "a codebook cannot be larger than its data"),
        ("archetypal", {}, "20 points need a sample of at least as many activations, got 5"),
        ("archetypal", {"points": "samples"}, "20 points need a sample of at least as many activations, got 5"),
        ("snmf", {"start": "kmeans"}, "20 atoms cannot start by 'kmeans' from a matrix of 5 rows"),
        ("snmf", {"start": "svd"}, "20 atoms cannot start by 'svd' from a matrix of 5 rows"),
        ("threshold", {}, "needs at least as many activations, got 5"),
    ],
)
def test_what_is_made_of_the_data_cannot_be_larger_than_it(kind, changes, words):
    with pytest.raises(ConfigError, match=words):
        made(kind, ROWS[:5], **changes)


@pytest.mark.parametrize(("kind", "changes"), [("archetypal", {}), ("snmf", {"start": "kmeans"})])
def test_copies_of_rows_are_no_more_data(kind, changes):
    with pytest.raises(ConfigError, match=r"20 centroids need .* but of the sample.s 60 only 5 differ"):
        made(kind, ROWS[:5].repeat(12, 1), **changes)


@every_kind
@pytest.mark.parametrize("value", [0.0, 1.5])
def test_a_sample_that_says_nothing_is_refused_or_gives_finite_numbers(kind, value):
    rows = torch.full((60, D), value)
    try:
        dictionary = made(kind, rows)
    except (ConfigError, NumericsError) as error:
        assert kind in ("jumprelu", "threshold", "archetypal", "gba"), error
        assert any(word in str(error) for word in NO_SPREAD.split("|")), error
        return
    for _ in range(3):
        assert math.isfinite(step(dictionary, rows))
    assert_sound(dictionary)


@every_kind
@pytest.mark.parametrize("value", [0.0, -2.5])
def test_batches_of_equal_rows_leave_finite_weights(kind, value):
    dictionary = made(kind)
    for n in (7, 1, 7):
        assert math.isfinite(step(dictionary, torch.full((n, D), value)))
    assert_sound(dictionary)


@every_kind
def test_a_batch_of_one_row_is_that_row_of_a_larger_one(kind):
    dictionary = made(kind)
    for row in ROWS[:3]:
        assert math.isfinite(step(dictionary, row.unsqueeze(0)))
    assert_sound(dictionary)
    dictionary.eval()
    with torch.no_grad():
        whole = dictionary(ROWS[:4])
        for i in range(4):
            alone = dictionary(ROWS[i : i + 1])
            torch.testing.assert_close(alone.codes[0], whole.codes[i])
            torch.testing.assert_close(alone.reconstruction[0], whole.reconstruction[i])
        empty = dictionary(ROWS[:0])
    assert empty.codes.shape == (0, M) and empty.reconstruction.shape == (0, D)


@every_kind
def test_activations_in_half_precision_are_read_exactly(kind):
    half = 100 * ROWS.half()
    dictionary = made(kind, half)
    again = made(kind, half.float())
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in dictionary.state_dict().items())
    with torch.no_grad():
        for mode in (True, False):
            ours, wide = dictionary.train(mode)(half), again.train(mode)(half.float())
            assert ours.reconstruction.dtype == ours.codes.dtype == torch.float32
            assert torch.equal(ours.codes, wide.codes) and torch.equal(ours.reconstruction, wide.reconstruction)
    with pytest.raises(SiteError, match=r"holds torch.float16 and would round activations of torch.float32"):
        dictionary.half()(ROWS)
    with pytest.raises(SiteError, match=f"reads activations of width {D}, got width 4"):
        again(ROWS[:, :4])


@every_kind
def test_a_trained_dictionary_comes_back_from_its_file_byte_for_byte(kind, tmp_path):
    dictionary = made(kind)
    for rows in ROWS.split(20):
        step(dictionary, rows)
    save_dictionary(tmp_path / "d", dictionary.eval(), HEADER)
    loaded, header = load_dictionary(tmp_path / "d")
    assert header["architecture"]["kind"] == kind and loaded.config == dictionary.config and not loaded.training
    for name, value in dictionary.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name]), name
    save_dictionary(tmp_path / "again", loaded, HEADER)
    for path in (tmp_path / "d").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()
    with torch.no_grad():
        assert torch.equal(loaded(ROWS).codes, dictionary(ROWS).codes)
        assert torch.equal(loaded(ROWS).reconstruction, dictionary(ROWS).reconstruction)
