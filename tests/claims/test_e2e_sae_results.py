"""What end-to-end dictionaries buy, on the digits toy (trained here) and on SmolLM2 (the committed reproduction).

Curves are read by linear interpolation at equal L0 or equal loss, over the range all objectives cover and never beyond.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pellucid.evaluation.pareto import Curve, Point, Ratio, loss_ratio, ratio_at_equal

RESULTS = Path(__file__).parents[2] / "benchmarks" / "e2e_paper"
SITES = ("layers.5", "layers.14", "layers.24")
MIDDLE = "layers.14"
FROM_LOCAL = "layers.14-from-local"
"""The middle block once more, every dictionary going on from one local one."""
SWEEPS = (*SITES, FROM_LOCAL)
LOCAL = "layers.14-local"
"""Local dictionaries of the total budget of FROM_LOCAL, each trained for its own lambda from random atoms on."""
PLACES = 20
OBJECTIVES = ("local", "e2e", "e2e+ds")
SHORT = "after 40,960 tokens from random atoms, 256 an update"
LONGER = "after 204,800 tokens from random atoms, 512 an update"
FURTHER = "204,800 tokens after 81,920 of one local dictionary, 512 an update"


def _open(*values, why):
    """A place where the claim is not confirmed: `why` carries what was measured."""
    return pytest.param(*values, marks=pytest.mark.xfail(strict=True, raises=AssertionError, reason=why))


@pytest.fixture(scope="module")
def smollm2():
    """Rows of the committed reproduction, by sweep."""
    kept = {sweep: RESULTS / sweep / "summary.json" for sweep in (*SWEEPS, LOCAL)}
    missing = [sweep for sweep, path in kept.items() if not path.exists()]
    assert not missing, (
        f"no results of {missing}: run 'python benchmarks/e2e_paper/sweep.py --sweeps {' '.join(missing)}' (hours)"
    )
    return {sweep: json.loads(path.read_text())["dictionaries"] for sweep, path in kept.items()}


def _of(rows, objective):
    found = [row for row in rows if row["objective"] == objective]
    assert len(found) >= 2, f"{objective} has {len(found)} rows, a curve needs two"
    return found


def _curve(rows, objective, loss):
    points = tuple(Point(row["l0"], row[loss], f"{objective} {row['sparsity']}") for row in _of(rows, objective))
    return Curve(objective, points, "L0", loss)


def _loss_ratio(rows, objective, loss):
    """Ratio of an objective's loss to that of local at equal L0, at even places over the L0 both cover."""
    found = loss_ratio(_curve(rows, "local", loss), _curve(rows, objective, loss), n=PLACES)
    assert isinstance(found, Ratio), found
    return found


def _pairs_within_a_tenth(rows, objective):
    """Pairs (local, other) of trained dictionaries whose L0 differ by at most 10 %: no interpolation at all."""
    pairs = [(a, b) for a in _of(rows, "local") for b in _of(rows, objective)]
    return [(a, b) for a, b in pairs if abs(a["l0"] - b["l0"]) <= 0.1 * min(a["l0"], b["l0"])]


def _levels(rows, loss):
    """Even places over the range of a loss that the dictionaries of every objective cover."""
    spans = [[row[loss] for row in _of(rows, objective)] for objective in OBJECTIVES]
    low, high = max(min(span) for span in spans), min(max(span) for span in spans)
    assert low < high, f"the ranges of {loss} do not overlap: {[(min(span), max(span)) for span in spans]}"
    return np.linspace(low, high, PLACES)


def _at_equal(rows, objective, loss, levels, value):
    """`value(row)` of an objective at these levels of a loss, interpolated between its trained dictionaries."""
    found = sorted((row[loss], value(row)) for row in _of(rows, objective))
    known = [level for level, _ in found]
    assert known[0] <= levels[0] and levels[-1] <= known[-1], "curves are never extrapolated"
    return np.interp(levels, known, [number for _, number in found])


def _trio(rows, loss, value):
    levels = _levels(rows, loss)
    return [_at_equal(rows, objective, loss, levels, value) for objective in OBJECTIVES]


def _error_at(block):
    return lambda row: row["downstream_mse"][block]


def test_e2e_sae_07_digits_e2e_has_below_0_65_of_the_kl_at_equal_l0(digits):
    ratio = _loss_ratio(digits, "e2e", "kl")
    assert ratio.at[-1] > 1.5 * ratio.at[0], "the curves overlap over a range, not at a point"
    assert max(ratio.ratios) < 0.65


def test_e2e_sae_07_digits_trained_pairs_within_a_tenth_of_l0(digits):
    pairs = _pairs_within_a_tenth(digits, "e2e")
    assert pairs, [(row["name"], row["l0"]) for row in digits]
    assert all(b["kl"] / a["kl"] < 0.65 for a, b in pairs)


@pytest.mark.parametrize("sweep", SWEEPS)
def test_e2e_sae_07_smollm2_budgets_are_equal_and_the_width_is_eightfold(smollm2, sweep):
    rows = smollm2[sweep]
    assert {row["site"] for row in rows} == {sweep.removesuffix("-from-local")}
    assert all((row["warm_start_tokens"] > 0) == (sweep == FROM_LOCAL) for row in rows)
    assert all(len({row["sparsity"] for row in _of(rows, kind)}) >= 5 for kind in OBJECTIVES)
    assert len({(row["tokens"], row["warm_start_tokens"], row["held_out_tokens"]) for row in rows}) == 1
    assert {row["n_latents"] for row in rows} == {8 * 576}


@pytest.mark.parametrize(
    ("sweep", "objective"),
    [
        _open(MIDDLE, "e2e", why=f"0.82 to 1.16 times local over L0 20 to 161; {LONGER}"),
        (MIDDLE, "e2e+ds"),
        (FROM_LOCAL, "e2e"),
        (FROM_LOCAL, "e2e+ds"),
    ],
)
def test_e2e_sae_07_smollm2_ce_increase_is_below_local_at_equal_l0(smollm2, sweep, objective):
    assert max(_loss_ratio(smollm2[sweep], objective, "ce_increase").ratios) < 1


@pytest.mark.parametrize(
    ("sweep", "objective"),
    [
        _open(MIDDLE, "e2e", why=f"0.95 and 1.19 times local at L0 35 and 66; {LONGER}"),
        (MIDDLE, "e2e+ds"),
        (FROM_LOCAL, "e2e"),
        (FROM_LOCAL, "e2e+ds"),
    ],
)
def test_e2e_sae_07_smollm2_trained_pairs_within_a_tenth_of_l0(smollm2, sweep, objective):
    pairs = _pairs_within_a_tenth(smollm2[sweep], objective)
    if not pairs:
        pytest.fail("no pair of trained dictionaries is that close", pytrace=False)
    assert all(b["ce_increase"] < a["ce_increase"] for a, b in pairs)


@pytest.mark.parametrize(
    ("sweep", "objective"),
    [
        _open(MIDDLE, "e2e", why=f"mean ratio 1.04 over L0 20 to 161; {LONGER}"),
        (MIDDLE, "e2e+ds"),
        (FROM_LOCAL, "e2e"),
        (FROM_LOCAL, "e2e+ds"),
    ],
)
def test_e2e_sae_07_smollm2_mean_ratio_of_ce_increase_is_below_0_7(smollm2, sweep, objective):
    assert _loss_ratio(smollm2[sweep], objective, "ce_increase").mean < 0.7


@pytest.mark.parametrize(
    ("sweep", "objective"),
    [
        _open(MIDDLE, "e2e", why=f"0.77 to 1.19 times the latents of local; {LONGER}"),
        (MIDDLE, "e2e+ds"),
        (FROM_LOCAL, "e2e"),
        (FROM_LOCAL, "e2e+ds"),
    ],
)
def test_e2e_sae_07_smollm2_fewer_latents_at_equal_ce_increase(smollm2, sweep, objective):
    rows = smollm2[sweep]
    found = ratio_at_equal(_curve(rows, "local", "ce_increase"), _curve(rows, objective, "ce_increase"), n=PLACES)
    assert isinstance(found, Ratio), found
    assert max(found.ratios) < 1


@pytest.mark.parametrize("objective", ["e2e", "e2e+ds"])
def test_e2e_sae_07_smollm2_from_local_is_below_local_trained_for_its_lambda_throughout(smollm2, objective):
    """Local could lose by changing lambda late, so it is held to local of the same total budget that never did."""
    local, other = smollm2[LOCAL], smollm2[FROM_LOCAL]
    assert {row["warm_start_tokens"] for row in local} == {0} and len({row["sparsity"] for row in local}) >= 5
    same = [
        {(row["site"], row["n_latents"], row["tokens"] + row["warm_start_tokens"], row["held_out_tokens"]) for row in rows}
        for rows in (local, other)
    ]
    assert same[0] == same[1] and len(same[0]) == 1
    found = loss_ratio(_curve(local, "local", "ce_increase"), _curve(other, objective, "ce_increase"), n=PLACES)
    assert isinstance(found, Ratio), found
    assert max(found.ratios) < 1 and found.mean < 0.7


def test_e2e_sae_08_digits_error_at_the_site_is_three_times_larger_and_e2e_ds_lies_between(digits):
    local, e2e, downstream = _trio(digits, "kl", lambda row: row["mse"])
    assert min(e2e / local) >= 3
    assert bool((local < downstream).all()) and bool((downstream < e2e).all())


@pytest.mark.parametrize("block", ["layers.2", "layers.3"], ids=["into the last block", "out of it"])
def test_e2e_sae_08_digits_e2e_ds_is_within_twice_local_at_the_last_layer(digits, block):
    local, _, downstream = _trio(digits, "kl", _error_at(block))
    assert max(downstream / local) <= 2


@pytest.mark.parametrize(
    "sweep",
    [
        "layers.5",
        _open("layers.14", why=f"2.67 to 3.34 times at equal CE increase, wanted 3; {LONGER}"),
        _open("layers.24", why=f"1.78 to 3.05 times at equal CE increase, wanted 3; {LONGER}"),
        _open(FROM_LOCAL, why=f"2.24 to 2.57 times at equal CE increase, wanted 3; {FURTHER}"),
    ],
)
def test_e2e_sae_08_smollm2_error_at_the_site_is_three_times_larger_for_e2e(smollm2, sweep):
    local, e2e, _ = _trio(smollm2[sweep], "ce_increase", lambda row: row["mse"])
    assert min(e2e / local) >= 3


@pytest.mark.parametrize(
    "sweep",
    [
        _open(
            "layers.5",
            why="e2e+ds 6.16 to 6.79 times local, e2e 6.0 to 19.2: above e2e+ds up to a CE increase of 0.54, 0.02 to "
            f"0.16 below it from there; {SHORT}",
        ),
        "layers.14",
        "layers.24",
        FROM_LOCAL,
    ],
)
def test_e2e_sae_08_smollm2_error_at_the_site_of_e2e_ds_lies_between(smollm2, sweep):
    local, e2e, downstream = _trio(smollm2[sweep], "ce_increase", lambda row: row["mse"])
    assert bool((local < downstream).all()) and bool((downstream < e2e).all())


@pytest.mark.parametrize("block", ["layers.28", "layers.29"], ids=["into the last block", "out of it"])
@pytest.mark.parametrize("sweep", SWEEPS)
def test_e2e_sae_08_smollm2_e2e_ds_is_within_twice_local_at_the_last_layer(smollm2, sweep, block):
    local, _, downstream = _trio(smollm2[sweep], "ce_increase", _error_at(block))
    assert max(downstream / local) <= 2


def test_e2e_sae_09_digits_e2e_shrinks_most(digits):
    local, e2e, downstream = _trio(digits, "kl", lambda row: row["norm_ratio"])
    assert bool((e2e < downstream).all()) and bool((e2e < local).all())


@pytest.mark.parametrize(
    "sweep",
    [
        _open("layers.5", why=f"0.911 down to 0.859 at equal CE increase of all three; {SHORT}"),
        _open("layers.14", why=f"0.926 down to 0.876 over the shared range of CE increase; {LONGER}"),
        _open("layers.24", why=f"0.934 down to 0.872 over the shared range of CE increase; {LONGER}"),
        _open(FROM_LOCAL, why=f"0.934 down to 0.895 over the shared range of CE increase; {FURTHER}"),
    ],
)
def test_e2e_sae_09_smollm2_local_keeps_nine_tenths_of_the_norm(smollm2, sweep):
    local, _, _ = _trio(smollm2[sweep], "ce_increase", lambda row: row["norm_ratio"])
    assert min(local) > 0.9


@pytest.mark.parametrize(
    "sweep",
    [
        _open("layers.5", why=f"e2e 1.07 to 0.86, above e2e+ds (0.94 to 0.82) everywhere; local 0.91 to 0.86; {SHORT}"),
        _open(
            "layers.14",
            why="e2e 0.890 to 0.774, e2e+ds 0.874 to 0.779, local 0.926 to 0.876: above e2e+ds up to a CE increase of 0.38; "
            f"{LONGER}",
        ),
        _open(
            FROM_LOCAL,
            why=f"e2e 0.890 to 0.767, e2e+ds 0.881 to 0.789, local 0.934 to 0.895: above e2e+ds at the least losses; {FURTHER}",
        ),
        "layers.24",
    ],
)
def test_e2e_sae_09_smollm2_e2e_shrinks_most(smollm2, sweep):
    local, e2e, downstream = _trio(smollm2[sweep], "ce_increase", lambda row: row["norm_ratio"])
    assert bool((e2e < downstream).all()) and bool((e2e < local).all())
