"""What each operation does to a site's value, against its formula; order, positions, composition."""

from __future__ import annotations

import pytest
import torch

from pellucid.dictionaries import ARCHITECTURES, make_dictionary
from pellucid.features.steering import Edit, Steerable, active_features, steered_logits

PROMPT = 12


@pytest.fixture
def steerable(llama_host, dictionaries):
    return Steerable(llama_host, dictionaries)


def value_after(steerable, inputs, edits, site):
    bound = steerable.bind(edits, PROMPT, PROMPT)
    return steerable.host.run(inputs, edit=bound.replacements(), capture=[site], stop=True).values[site].detach()


def parts(steerable, inputs, name="topk"):
    """The site's value, the codes, the rows the codes multiply, a latent that fires and the site."""
    dictionary, site = steerable.dictionaries[name]
    h = steerable.host.run(inputs, capture=[site], stop=True).values[site].detach()
    with torch.no_grad():
        z = dictionary.eval().encode(h.reshape(-1, 32)).reshape(*h.shape[:2], -1)
    return h, z, dictionary.contributions().detach(), int((z[:, 1:] > 0).sum((0, 1)).argmax()), site


@pytest.mark.parametrize("name", ["topk", "relu"])
@pytest.mark.parametrize(
    ("settings", "formula"),
    [
        ({"operation": "add", "value": 1.5}, lambda h, z, d: h + 1.5 * d),
        ({"operation": "add", "value": -0.5, "relative": True}, lambda h, z, d: h - 0.5 * h.norm() * d / d.norm()),
        ({"operation": "set", "value": 2.0}, lambda h, z, d: h + (2 - z) * d),
        ({"operation": "scale", "value": 3.0}, lambda h, z, d: h + 2 * z * d),
        ({"operation": "ablate_zero"}, lambda h, z, d: h - z * d),
        ({"operation": "ablate_mean", "value": 0.25}, lambda h, z, d: h + (0.25 - z) * d),
        ({"operation": "ablate_direction"}, lambda h, z, d: h - (h @ d) / (d @ d) * d),
    ],
)
def test_each_operation_on_a_latent_is_its_formula(steerable, token_inputs, name, settings, formula):
    h, z, rows, latent, site = parts(steerable, token_inputs, name)
    found = value_after(steerable, token_inputs, [Edit(dictionary=name, latent=latent, **settings)], site)
    for row in range(len(h)):
        assert torch.equal(found[row, 0], h[row, 0])  # the first position is left alone
        for at in range(1, PROMPT):
            torch.testing.assert_close(
                found[row, at], formula(h[row, at], z[row, at, latent], rows[latent]), atol=2e-6, rtol=1e-5
            )


@pytest.mark.parametrize(
    ("settings", "formula"),
    [
        ({"operation": "add", "value": 1.5}, lambda h, d: h + 1.5 * d),
        ({"operation": "set", "value": 2.0}, lambda h, d: h + (2 - (h @ d) / (d @ d)) * d),
        ({"operation": "ablate_zero"}, lambda h, d: h - (h @ d) / (d @ d) * d),
        ({"operation": "ablate_direction"}, lambda h, d: h - (h @ d) / (d @ d) * d),
    ],
)
def test_each_operation_on_a_direction_is_its_formula(steerable, token_inputs, settings, formula):
    direction = torch.randn(32, generator=torch.Generator().manual_seed(5))
    h, _, _, _, site = parts(steerable, token_inputs)
    found = value_after(steerable, token_inputs, [Edit(site="layers.1", direction=direction, **settings)], site)
    for at in range(1, PROMPT):
        torch.testing.assert_close(found[0, at], formula(h[0, at], direction), atol=2e-6, rtol=1e-5)


def test_no_edit_changes_no_bit_and_an_addition_of_nothing_none_either(steerable, token_inputs):
    plain = steerable.host.run(token_inputs).output.logits
    assert torch.equal(steered_logits(steerable, token_inputs["input_ids"]), plain)
    for edit in (Edit(dictionary="topk", latent=3, value=0.0), Edit(dictionary="topk", latent=3, operation="scale", value=1.0)):
        assert torch.equal(steered_logits(steerable, token_inputs["input_ids"], [edit]), plain)


def test_positions_that_are_not_edited_keep_every_bit(steerable, token_inputs):
    h, _, _, latent, site = parts(steerable, token_inputs)
    found = value_after(steerable, token_inputs, [Edit(dictionary="topk", latent=latent, value=4.0, positions="2,-3")], site)
    changed = (found != h).any(-1).any(0).nonzero().squeeze(-1).tolist()
    assert changed == [2, 9]


def test_the_order_of_a_list_changes_no_bit(steerable, token_inputs):
    direction = torch.randn(32, generator=torch.Generator().manual_seed(6))
    edits = [
        Edit(dictionary="topk", latent=1, value=0.7),
        Edit(dictionary="topk", latent=1, value=-0.31),
        Edit(dictionary="topk", latent=5, operation="set", value=1.0),
        Edit(dictionary="topk", latent=5, value=0.11),
        Edit(dictionary="relu", latent=2, value=0.9, relative=True),
        Edit(site="layers.1", direction=direction, value=0.3),
        Edit(site="layers.1", direction=direction.flip(0), operation="ablate_direction"),
        Edit(dictionary="topk", latent=7, operation="ablate_direction", positions="3:"),
    ]
    first = steered_logits(steerable, token_inputs["input_ids"], edits)
    for seed in range(4):
        order = torch.randperm(len(edits), generator=torch.Generator().manual_seed(seed)).tolist()
        assert torch.equal(steered_logits(steerable, token_inputs["input_ids"], [edits[i] for i in order]), first)


def test_edits_at_one_site_act_on_the_codes_before_any_of_them(steerable, token_inputs):
    h, z, rows, latent, site = parts(steerable, token_inputs)
    # The first edit alone changes which latents the encoder would see afterwards; the second must not notice.
    edits = [
        Edit(dictionary="topk", latent=(latent + 1) % 40, value=50.0),
        Edit(dictionary="topk", latent=latent, operation="scale", value=3.0),
        Edit(dictionary="topk", latent=latent, operation="scale", value=0.5),
        Edit(dictionary="topk", latent=latent, value=0.2),
    ]
    found = value_after(steerable, token_inputs, edits, site)
    expected = h + 50 * rows[(latent + 1) % 40] + (0.5 * z[..., latent] + 0.2).unsqueeze(-1) * rows[latent]
    torch.testing.assert_close(found[:, 1:], expected[:, 1:], atol=1e-5, rtol=1e-5)


def test_directions_ablated_together_leave_nothing_along_any_of_them(steerable, token_inputs):
    generator = torch.Generator().manual_seed(8)
    one, other = torch.randn(32, generator=generator), torch.randn(32, generator=generator)
    other = other + 2 * one  # far from orthogonal
    edits = [Edit(site="layers.1", direction=d, operation="ablate_direction") for d in (one, other, one)]
    h, _, _, _, site = parts(steerable, token_inputs)
    found = value_after(steerable, token_inputs, edits, site)[:, 1:]
    for direction in (one, other):
        assert float((found @ direction).abs().max()) < 1e-5 * float((h @ direction).abs().max())


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("all", range(1, 12)), ("prompt", range(1, 12)), ("last", [11]), ("from_end", [11]), ("3,0,-2", [0, 3, 10]),
        ((4, -1), [4, 11]), ("2:5", [2, 3, 4]), (":2", [0, 1]), ("-2:", [10, 11]), ("8:99", [8, 9, 10, 11]),
    ],
)  # fmt: skip
def test_a_position_rule_names_these_positions(steerable, token_inputs, rule, expected):
    h, _, _, _, site = parts(steerable, token_inputs)
    found = value_after(steerable, token_inputs, [Edit(dictionary="topk", latent=0, value=1.0, positions=rule)], site)
    assert (found != h).any(-1).any(0).nonzero().squeeze(-1).tolist() == list(expected)


def test_fires_names_the_positions_where_the_code_is_above_zero(steerable, token_inputs):
    h, z, _, latent, site = parts(steerable, token_inputs)
    edit = Edit(dictionary="topk", latent=latent, value=1.0, positions="fires")
    found = value_after(steerable, token_inputs, [edit], site)
    fires = z[..., latent] > 0
    fires[:, 0] = False
    assert torch.equal((found != h).any(-1), fires) and 0 < int(fires.sum()) < fires[:, 1:].numel()


def test_positions_that_are_not_kept_are_left_alone(steerable, token_inputs):
    tokens = token_inputs["input_ids"]
    keep = torch.rand(tokens.shape, generator=torch.Generator().manual_seed(1)) < 0.5
    _, site = steerable.dictionaries["topk"]
    h = steerable.host.run(token_inputs, capture=[site], stop=True).values[site]
    bound = steerable.bind([Edit(dictionary="topk", latent=0, value=1.0)], PROMPT, PROMPT)
    found = steerable.host.run(token_inputs, edit=bound.replacements(keep=keep), capture=[site], stop=True).values[site]
    keep[:, 0] = False
    assert torch.equal((found != h).any(-1), keep)


def test_active_features_are_the_greatest_codes_at_each_token(steerable, token_inputs):
    tokens = token_inputs["input_ids"][:1]
    _, z, _, _, _ = parts(steerable, {"input_ids": tokens})
    found = active_features(steerable, tokens, "topk", top=2)
    assert found[0].latents == [] and [entry.token for entry in found] == tokens[0].tolist()
    for at in range(1, PROMPT):
        best = sorted(((code, i) for i, code in enumerate(z[0, at].tolist()) if code > 0), reverse=True)[:2]
        assert [i for i, _ in found[at].latents] == [i for _, i in best]
        assert [code for _, code in found[at].latents] == pytest.approx([code for code, _ in best], rel=1e-5)


@pytest.mark.parametrize("kind", list(ARCHITECTURES))
def test_contributions_are_what_codes_add_in_every_architecture(kind):
    linear = {"hidden": ()} if kind == "latent_quantization" else {}  # with hidden layers its decoder is no sum over latents
    config = ARCHITECTURES[kind].Config(n_latents=60, **linear)
    dictionary = make_dictionary(config, 16, torch.Generator().manual_seed(0), torch.randn(99, 16))
    codes = torch.rand(5, 60, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = dictionary.decode(codes) - dictionary.decode(torch.zeros(5, 60))
        torch.testing.assert_close(codes @ dictionary.contributions(), expected, atol=1e-5, rtol=1e-4)


def test_bound_edits_reach_calls_of_the_module_itself(steerable, token_inputs):
    edits = [Edit(dictionary="topk", latent=4, operation="set", value=6.0)]
    bound = steerable.bind(edits, PROMPT, PROMPT)
    with torch.no_grad(), steerable.host.edit(bound.replacements()):
        found = steerable.host.module(**token_inputs).logits
    assert torch.equal(found, steered_logits(steerable, token_inputs["input_ids"], edits))
    assert {str(site): at for site, at in bound.touched.items()} == {"layers.1": list(range(1, PROMPT))}
