"""Outputs of an ensemble and, by hand, the gradient of a loss: backpropagation through time as batched products.

Samples are columns: inputs [i, t, b], states [e, h, t, b], outputs [e, o, t, b]. A weight times a wide block of columns
is the form in which small batched products run fastest.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.programs.ensembles.members import Layer, Members, views

OutputGradient = Callable[[Tensor], tuple[Tensor, Tensor]]
"""From outputs [e, o, t, b] to the loss of each member [e] and its gradient at the outputs."""


def unroll(
    members: Members, xs: Float[Tensor, "i t b"], noise: list[Tensor] | None = None
) -> tuple[Float[Tensor, "e o t b"], Float[Tensor, "e h t b"]]:
    """Return outputs and states of every member on the same b sequences.

    `noise`, one [e, h, b] for each step, is added to the states.
    """
    steps, _ = _states(members, xs, noise)
    states = torch.cat(steps, 2)  # [e, h, t * b]
    outputs, _ = _read_out(members.g, states)
    return _by_step(outputs, xs.shape[1]), _by_step(states, xs.shape[1])


def loss_and_gradient(
    members: Members, xs: Float[Tensor, "i t b"], of_outputs: OutputGradient, noise: list[Tensor] | None = None
) -> tuple[Float[Tensor, "e"], Float[Tensor, "e p"], Float[Tensor, "e o t b"]]:
    """Return loss, gradient of each member's own loss in its own parameters, and outputs.

    With z the input of a layer and a = W z + b: dL/dW = sum over batch and time of dL/da z', taken in one product after
    the sweep back through time, which carries dL/dh_t alone. Equal to autograd (the slow path in the tests).
    """
    steps, inner = _states(members, xs, noise)
    states = torch.cat(steps, 2)  # [e, h, t * b]
    flat_outputs, read = _read_out(members.g, states)
    outputs = _by_step(flat_outputs, xs.shape[1])
    loss, d_outputs = of_outputs(outputs)
    gradient = torch.empty_like(members.flat)
    f, g = views(members.shape, members.n_in, members.n_out, gradient)
    d_states = _read_out_back(members.g, g, states, read, d_outputs.flatten(2))
    _states_back(members, f, xs, states, inner, d_states)
    return loss, gradient, outputs


def _by_step(columns: Tensor, n_steps: int) -> Tensor:
    """[e, f, t * b] as [e, f, t, b]."""
    return columns.view(*columns.shape[:2], n_steps, -1)


def _states(members: Members, xs: Tensor, noise: list[Tensor] | None) -> tuple[list[Tensor], list[list[Tensor]]]:
    """Return the states of every step, each [e, h, b], and for each inner layer of f its activations, each [e, w, b]."""
    hidden = members.shape.hidden
    (weight, bias), rest = members.f[0], members.f[1:]
    driven = torch.baddbmm(bias, weight[:, :, hidden:], xs.flatten(1).expand(len(members), -1, -1))
    driven_steps = [step.clone(memory_format=torch.contiguous_format) for step in _by_step(driven, xs.shape[1]).unbind(2)]
    recurrent = weight[:, :, :hidden]
    states: list[Tensor] = []
    inner: list[list[Tensor]] = [[] for _ in rest]
    for t, a in enumerate(driven_steps):
        if t:
            a = torch.baddbmm(a, recurrent, states[-1])
        for k, (w, c) in enumerate(rest):
            a = a.relu_()
            inner[k].append(a)
            a = torch.baddbmm(c, w, a)
        states.append(a if noise is None else a + noise[t])
    return states, inner


def _read_out(g: list[Layer], states: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Return outputs [e, o, t * b] and the activations [e, w, t * b] of each inner layer of g."""
    a, inner = states, []
    for k, (w, c) in enumerate(g):
        if k:
            a = a.relu_()
            inner.append(a)
        a = torch.baddbmm(c, w, a)
    return a, inner


def _read_out_back(g: list[Layer], grads: list[Layer], states: Tensor, inner: list[Tensor], d: Tensor) -> Tensor:
    """Fill the gradients of g's layers from those at the outputs and return dL/dh [e, h, t * b] through the outputs."""
    for k in range(len(g) - 1, -1, -1):
        source = inner[k - 1] if k else states
        grads[k][0].copy_(torch.bmm(d, source.transpose(1, 2)))
        grads[k][1].copy_(d.sum(2, keepdim=True))
        d = torch.bmm(g[k][0].transpose(1, 2), d)
        if k:
            d = torch.ops.aten.threshold_backward(d, source, 0)
    return d


def _states_back(
    members: Members, grads: list[Layer], xs: Tensor, states: Tensor, inner: list[list[Tensor]], d_states: Tensor
) -> None:
    """Sweep back through time and fill the gradients of f's layers."""
    n_steps, b, hidden, depth = xs.shape[1], xs.shape[2], members.shape.hidden, len(members.f)
    back = [w.transpose(1, 2).contiguous() for w, _ in members.f]
    back[0] = back[0][:, :hidden]
    from_outputs = [step.contiguous() for step in _by_step(d_states, n_steps).unbind(2)]
    into: list[list[Tensor]] = [[torch.empty(0)] * n_steps for _ in range(depth)]  # dL/da at each layer and step
    d = from_outputs[-1]
    for t in range(n_steps - 1, -1, -1):
        into[depth - 1][t] = d
        for k in range(depth - 1, 0, -1):
            d = torch.ops.aten.threshold_backward(torch.bmm(back[k], d), inner[k - 1][t], 0)
            into[k - 1][t] = d
        if t:
            d = torch.baddbmm(from_outputs[t - 1], back[0], d)
    for k in range(depth):
        total = torch.cat(into[k], 2)  # [e, f, t * b]
        grads[k][1].copy_(total.sum(2, keepdim=True))
        if k:
            grads[k][0].copy_(torch.bmm(total, torch.cat(inner[k - 1], 2).transpose(1, 2)))
        else:
            grads[0][0][:, :, hidden:].copy_(torch.matmul(total, xs.flatten(1).T))
            before = states[:, :, : (n_steps - 1) * b]
            grads[0][0][:, :, :hidden].copy_(torch.bmm(total[:, :, b:], before.transpose(1, 2)))
