"""Train an ensemble of one shape until a member makes no error; losers are dropped on the way."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.programs.ensembles.adam import MemberAdam
from pellucid.programs.ensembles.budget import Budget
from pellucid.programs.ensembles.checks import error_rate
from pellucid.programs.ensembles.config import TrainingConfig
from pellucid.programs.ensembles.foresight import without_foresight
from pellucid.programs.ensembles.gradients import OutputGradient, loss_and_gradient
from pellucid.programs.ensembles.ladder import Rung
from pellucid.programs.ensembles.loss import log_loss
from pellucid.programs.ensembles.members import Members, new_members
from pellucid.programs.ensembles.sequences import Sequences

PROBE_EVERY = 250
"""Steps between looks at fresh sequences."""
PROBE = 1024
"""Fresh sequences of a look."""
DROP_AT = (0.3, 0.55)
"""Parts of the steps after which the worse half of the members is dropped."""
FEWEST = 3
"""Members that are never dropped."""


@dataclass
class Found:
    """Members with their rates of wrong sequences at training length, the best first."""

    members: Members
    error: Float[Tensor, "e"]
    steps: int

    @property
    def best(self) -> float:
        """Rate of the best member."""
        return float(self.error[0])


def objective(sequences: Sequences, targets: Tensor, foresight: Tensor | None = None) -> OutputGradient:
    """Return the log loss in the task's own units, with its gradient at the network's scaled outputs.

    Further targets behind the task's own count as the mean of their log loss, times `foresight` of each member; the loss
    that is returned is of the task's own outputs.
    """
    n_out = sequences.n_out
    half = torch.tensor(sequences.scaling.y_half * (len(targets) // n_out), dtype=targets.dtype).view(-1, 1, 1)

    def of_outputs(outputs: Tensor) -> tuple[Tensor, Tensor]:
        scaled = sequences.scaling.outputs(outputs)
        loss, gradient = log_loss(scaled[:, :n_out], targets[:n_out])
        if foresight is not None:
            _, more = log_loss(scaled[:, n_out:], targets[n_out:])
            gradient = torch.cat((gradient, more.mul_(foresight.view(-1, 1, 1, 1))), 1)
        return loss, gradient.mul_(half)

    return of_outputs


def search(rung: Rung, sequences: Sequences, config: TrainingConfig, budget: Budget) -> Found:
    """Train the rung's members on sequences of training length; stop at the first probe without an error.

    The learning rate is constant for half of the steps and then falls to 0 along a cosine. Where outputs after fixed
    continuations can be had, every other member learns to tell them too.
    """
    seeds = [config.seed * 1000 + k for k in range(rung.members)]
    rows = sequences.foresight()
    n_targets = sequences.n_out if rows is None else rows[1].shape[2]
    members = new_members(rung.shape, sequences.n_in, n_targets, seeds)
    foresight = None if rows is None else torch.tensor([float(k % 2) for k in range(rung.members)])
    adam = MemberAdam(members.flat)
    smooth = torch.zeros(len(members))
    drops = [int(part * rung.steps) for part in DROP_AT]
    for step in range(1, rung.steps + 1):
        xs, ys = sequences.batch(config.batch, sequences.length, foresight is not None)
        loss, gradient, _ = loss_and_gradient(members, xs, objective(sequences, ys, foresight))
        adam.step(gradient, config.rate * cosine_half(step / rung.steps))
        smooth = smooth.lerp(loss.nan_to_num(nan=1e9), 0.02)
        if step in drops and len(members) > FEWEST:
            keep = smooth.argsort()[: max(len(members) // 2, FEWEST)]
            members, smooth = members.subset(keep), smooth[keep]
            foresight = None if foresight is None else foresight[keep]
            adam.keep(keep, members.flat)
        if step % PROBE_EVERY == 0 or step == rung.steps:
            error = error_rate(without_foresight(members, sequences.n_out), sequences, PROBE, sequences.length)
            budget.note(f"{rung.shape}: step {step}, wrong sequences {error.min():.4f}")
            if bool((error == 0).any()) or budget.over:
                break
    members = without_foresight(members, sequences.n_out)
    order = error_rate(members, sequences, 4 * PROBE, sequences.length).sort(stable=True)
    return Found(members.subset(order.indices), order.values, step)


def cosine_half(done: float) -> float:
    """Return 1 until half is done, then a cosine down to 0.01."""
    return 1.0 if done < 0.5 else max(0.01, 0.5 * (1 + math.cos(math.pi * (2 * done - 1))))
