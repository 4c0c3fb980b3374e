"""Training throughput of an ensemble against the same members one after the other.

    python benchmarks/rnn_ensemble.py [--members 64] [--steps 20] [--repeats 5] [--json]

Both forms make the same steps on the same batches from the same starting values: log loss, clipping to norm 1, Adam. The
members alone are plain PyTorch modules with autograd, `clip_grad_norm_` and `torch.optim.Adam`. Freed memory stays in the
process, as `train` has it, for both. For each shape the two are run by turns in this process; the figure is the median over
repeats of the ratio of their times, in CPU time of one thread. Both forms are also run in float64, where their weights after
the last step must agree to 1e-6: in float32 Adam makes rounding visible, since it divides gradients near 0 by their own size.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import torch
from torch import Tensor, nn

from pellucid.core.allocator import keep_freed_memory
from pellucid.programs.ensembles.adam import MemberAdam
from pellucid.programs.ensembles.gradients import loss_and_gradient
from pellucid.programs.ensembles.loss import log_loss
from pellucid.programs.ensembles.members import Members, new_members
from pellucid.programs.networks import Shape

SHAPES = (Shape(2), Shape(4), Shape(8), Shape(2, 2, 16, 2, 16), Shape(4, 2, 32, 2, 32), Shape(6, 2, 64, 2, 64))
RATE = 1e-3


class Alone(nn.Module):
    """One member as a user would write it."""

    def __init__(self, members: Members, which: int) -> None:
        super().__init__()
        self.hidden = members.shape.hidden
        self.f, self.g = (_perceptron(layers, which) for layers in (members.f, members.g))

    def forward(self, xs: Tensor) -> Tensor:
        """Outputs [t, b, o] of inputs [t, b, i]."""
        h = xs.new_zeros(xs.shape[1], self.hidden)
        states = []
        for x in xs:
            h = self.f(torch.cat((h, x), 1))
            states.append(h)
        return self.g(torch.stack(states))


def _perceptron(layers: list[tuple[Tensor, Tensor]], which: int) -> nn.Sequential:
    parts: list[nn.Module] = []
    for k, (weight, bias) in enumerate(layers):
        if k:
            parts.append(nn.ReLU())
        linear = nn.Linear(weight.shape[2], weight.shape[1], dtype=weight.dtype)
        with torch.no_grad():
            linear.weight.copy_(weight[which])
            linear.bias.copy_(bias[which, :, 0])
        parts.append(linear)
    return nn.Sequential(*parts)


def together(members: Members, batches: list[tuple[Tensor, Tensor]]) -> float:
    """Train the ensemble in place; return CPU seconds."""
    adam = MemberAdam(members.flat)
    start = time.process_time()
    for xs, ys in batches:
        _, gradient, _ = loss_and_gradient(members, xs, lambda out, ys=ys: log_loss(out, ys))
        adam.step(gradient, RATE)
    return time.process_time() - start


def one_after_the_other(alone: list[Alone], batches: list[tuple[Tensor, Tensor]]) -> float:
    """Train each module in place; return CPU seconds."""
    plain = [(xs.permute(1, 2, 0).contiguous(), ys.permute(1, 2, 0).contiguous()) for xs, ys in batches]
    start = time.process_time()
    for module in alone:
        parameters = list(module.parameters())
        optimizer = torch.optim.Adam(parameters, lr=RATE)
        for xs, ys in plain:
            optimizer.zero_grad()
            (0.5 * torch.log1p((module(xs) - ys).square())).mean().backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
    return time.process_time() - start


def largest_difference(shape: Shape, n_members: int, batches: list[tuple[Tensor, Tensor]]) -> float:
    """Return by how much any weight differs between the two forms after all steps, in float64."""
    members = new_members(shape, 1, 1, list(range(n_members)), torch.float64)
    alone = [Alone(members, k).double() for k in range(n_members)]
    doubled = [(xs.double(), ys.double()) for xs, ys in batches]
    one_after_the_other(alone, doubled)
    together(members, doubled)
    trained = torch.stack([torch.cat([p.detach().flatten() for p in module.parameters()]) for module in alone])
    return float((members.flat - trained).abs().max())


def measure(shape: Shape, n_members: int, n_steps: int, batch: int, repeats: int, length: int = 10) -> dict[str, object]:
    """Return the median ratio of times; AssertionError if the two forms do not train the same networks."""
    generator = torch.Generator().manual_seed(0)
    batches = []
    for _ in range(n_steps):
        xs = torch.randint(0, 2, (1, length, batch), generator=generator).float()
        batches.append((xs, xs.cumsum(1) % 2))
    ratios = []
    for _ in range(repeats):
        members = new_members(shape, 1, 1, list(range(n_members)))
        slow = one_after_the_other([Alone(members, k) for k in range(n_members)], batches)
        fast = together(members, batches)
        ratios.append(slow / fast)
    difference = largest_difference(shape, min(n_members, 4), batches)
    assert difference < 1e-6, f"{shape}: weights differ by {difference}"
    return {
        "shape": str(shape),
        "members": n_members,
        "batch": batch,
        "ratio": round(statistics.median(ratios), 1),
        "ratios": [round(r, 1) for r in ratios],
        "member_steps_per_second": round(n_members * n_steps / fast),
        "largest_difference": difference,
    }


def main() -> None:
    """Measure every shape and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--members", type=int, default=64)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    rows = [measure(shape, options.members, options.steps, options.batch, options.repeats) for shape in SHAPES]
    median = statistics.median(float(str(row["ratio"])) for row in rows)
    if not options.json:
        for row in rows:
            print(
                f"{row['shape']:45} {row['ratio']:>6}x  {row['member_steps_per_second']:>7} member steps/s, "
                f"weights differ by {row['largest_difference']:.1e}"
            )
        print(f"median over shapes: {median}x")
    else:
        print(json.dumps({"median": median, "shapes": rows}))


if __name__ == "__main__":
    main()
