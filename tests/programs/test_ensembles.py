"""Ensembles: equal to their members alone, gradients equal to autograd, losers dropped, results fixed by the seed."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from pellucid.core.errors import ConfigError
from pellucid.programs.ensembles.adam import MemberAdam
from pellucid.programs.ensembles.foresight import continuations, outputs_after, without_foresight
from pellucid.programs.ensembles.gradients import loss_and_gradient, unroll
from pellucid.programs.ensembles.loss import log_loss, wrong
from pellucid.programs.ensembles.members import Members, network_of, new_members
from pellucid.programs.ensembles.scaling import Scaling
from pellucid.programs.networks import Shape, run
from pellucid.programs.tasks import TASKS

SHAPES = [Shape(3), Shape(4, 2, 5, 2, 6), Shape(3, 3, 4, 3, 5), Shape(2, 1, 0, 2, 3), Shape(2, 3, 4, 1, 0)]


def batch(steps=7, n=5, width=2):
    generator = torch.Generator().manual_seed(0)
    xs = torch.randn(width, steps, n, dtype=torch.float64, generator=generator)
    return xs, torch.randint(-1, 3, (1, steps, n), generator=generator).double()


@pytest.mark.parametrize("steps", [1, 7])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_gradient_by_hand_is_autograds(shape, steps):
    members = new_members(shape, 2, 1, [1, 2, 3], torch.float64)
    xs, ys = batch(steps)
    noise = list((0.1 * torch.randn(steps, 3, shape.hidden, 5, dtype=torch.float64)).unbind(0))
    loss, gradient, outputs = loss_and_gradient(members, xs, lambda out: log_loss(out, ys), noise)
    flat = members.flat.clone().requires_grad_()
    slow, _ = unroll(Members(shape, 2, 1, flat), xs, noise)
    slow_loss = 0.5 * torch.log1p((slow - ys).square()).mean((1, 2, 3))
    assert_close(outputs, slow)
    assert_close(loss, slow_loss)
    assert_close(gradient, torch.autograd.grad(slow_loss.sum(), flat)[0])


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_member_is_its_network(shape):
    members = new_members(shape, 2, 1, [1, 2, 3], torch.float64)
    xs, _ = batch()
    outputs, _ = unroll(members, xs)
    for k in range(3):
        assert_close(run(network_of(members, k), xs.permute(2, 1, 0)), outputs[k].permute(2, 1, 0))


def test_a_member_trains_alike_in_company_and_alone():
    xs, ys = batch()

    def trained(seeds):
        members = new_members(Shape(4, 2, 5, 2, 6), 2, 1, seeds, torch.float64)
        adam = MemberAdam(members.flat)
        for _ in range(20):
            _, gradient, _ = loss_and_gradient(members, xs, lambda out: log_loss(out, ys))
            adam.step(gradient, 1e-2)
        return members.flat

    together = trained([5, 6, 7])
    for k, seed in enumerate([5, 6, 7]):
        assert_close(together[k], trained([seed])[0])


def test_adam_is_torchs_with_clipping_for_each_member():
    generator = torch.Generator().manual_seed(0)
    flat = torch.randn(3, 8, generator=generator)
    slow = [row.clone().requires_grad_() for row in flat]
    optimizers = [torch.optim.Adam([row], lr=1e-2) for row in slow]
    adam = MemberAdam(flat)
    for _ in range(10):
        gradient = torch.randn(3, 8, generator=generator) * torch.tensor([[0.01], [1.0], [100.0]])
        adam.step(gradient.clone(), 1e-2)
        for row, optimizer, g in zip(slow, optimizers, gradient, strict=True):
            row.grad = g.clone()
            torch.nn.utils.clip_grad_norm_([row], 1.0)
            optimizer.step()
    assert_close(flat, torch.stack([row.detach() for row in slow]), atol=1e-6, rtol=1e-5)


def test_a_member_that_explodes_stays_where_it_is():
    flat = torch.ones(2, 3)
    adam = MemberAdam(flat)
    adam.step(torch.tensor([[1.0, 1.0, 1.0], [1.0, float("nan"), 1.0]]), 0.1)
    assert torch.equal(flat[1], torch.ones(3)) and bool((flat[0] < 1).all())
    assert bool(wrong(torch.tensor(float("nan")).view(1, 1, 1, 1), torch.zeros(1, 1, 1)).all())


def test_scaling_is_folded_exactly():
    task = TASKS["Diff_Last2"]
    xs = task.sample(50, 6, torch.Generator().manual_seed(0))
    scaling = Scaling.of(task.domain, task.outputs_of(xs))
    members = new_members(Shape(4, 2, 5, 2, 6), 1, 1, [1, 2], torch.float64)
    outputs, _ = unroll(members, scaling.inputs(xs, torch.float64))
    folded = scaling.folded(members)
    for k in range(2):
        plain = run(network_of(folded, k), xs.double())
        assert_close(plain, scaling.outputs(outputs)[k].permute(2, 1, 0))


def test_foresight_is_the_output_after_each_continuation():
    task = TASKS["Div_5"]
    generator = torch.Generator().manual_seed(0)
    words = continuations(task.domain, generator)
    assert len({str(w.tolist()) for w in words}) == len(words) >= 6
    xs = task.sample(4, 5, generator)
    after = outputs_after(task, xs, words)
    assert after.shape == (4, 5, len(words))
    for n in range(4):
        for t in range(5):
            prefix = xs[n, : t + 1, 0].tolist()
            assert after[n, t].tolist() == [task.outputs(prefix + w[:, 0].tolist())[-1] for w in words]


def test_dropping_foresight_leaves_the_outputs():
    members = new_members(Shape(4, 2, 5, 2, 6), 2, 9, [1, 2], torch.float64)
    xs, _ = batch()
    assert_close(unroll(without_foresight(members, 3), xs)[0], unroll(members, xs)[0][:, :3])


def test_shapes_list_their_problems():
    with pytest.raises(ConfigError, match=r"(?s)hidden is 0.*f_width is 3.*g_depth is 9"):
        Shape(0, 1, 3, 9, 2)
