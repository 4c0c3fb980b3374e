"""One dictionary in training: its optimizer, its counters and one update."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from pellucid.core.errors import ConfigError, DataError
from pellucid.dictionaries import Dictionary, FiringCounter, Forward
from pellucid.hosts import Host, Site
from pellucid.hosts.splice import SharedPass
from pellucid.kernels.divergence import Teacher, mean_kl
from pellucid.training.config import DictionaryConfig, FitConfig
from pellucid.training.distributed import Alone, State
from pellucid.training.distributed.alone import Positions
from pellucid.training.objectives import Evidence
from pellucid.training.places import find_place, same_positions
from pellucid.training.spikes import SpikeError, Watch


class Learner:
    """A dictionary, its objective and the state of its training."""

    def __init__(
        self,
        name: str,
        config: DictionaryConfig,
        fit: FitConfig,
        host: Host,
        dictionary: Dictionary,
        warm_start_tokens: int = 0,
        group: Alone | None = None,
    ) -> None:
        self.name, self.config, self.fit = name, config, fit
        self.group = group or Alone()
        self.place = find_place(host, config)
        self.site, self.target = self.place.source, self.place.target
        self.objective = config.objective
        self.downstream = self.objective.downstream(host, self.target)
        self.dictionary = dictionary = self.group.adopt(dictionary).to(host.device)
        self.warm_start_tokens = warm_start_tokens
        self.counter = FiringCounter(dictionary.n_latents, device=host.device)
        self.optimizer = make_optimizer(dictionary, config.lr, fit.betas)
        self.watch = Watch(fit.spikes, name, str(self.place), config.lr)
        self.seconds = 0.0

    def update(
        self,
        shared: SharedPass,
        teacher: Teacher | None,
        lr: float,
        step: int,
        progress: float = 1.0,
        gradient: Tensor | None = None,
    ) -> dict[str, Any]:
        """Take one optimizer step on a batch; return the terms of the loss and what else is worth logging.

        `progress` is the share of the training that is done, for what changes on the way; `gradient` that of the host's
        summed loss at the site's rows, for an architecture that is guided by it.
        Raises SpikeError for a faulty update (see SpikeConfig), naming site, step and position of an activation that is not
        finite, or the loss and its terms. Where faulty updates are dropped, nothing has changed and the line says `event`.
        """
        if gradient is not None:
            self.dictionary.guide(gradient)
        if not self.watch.drops:
            return self._update(shared, teacher, lr, step, progress)
        before = {name: buffer.clone() for name, buffer in self.dictionary.named_buffers()}
        try:
            return self._update(shared, teacher, lr, step, progress)
        except SpikeError as error:
            self.optimizer.zero_grad(set_to_none=True)
            for name, buffer in self.dictionary.named_buffers():  # some move in a forward
                buffer.copy_(before[name])
            return self.watch.drop(error, step)

    def _update(self, shared: SharedPass, teacher: Teacher | None, lr: float, step: int, progress: float) -> dict[str, Any]:
        rows = shared.rows(self.site)
        positions = self.group.count(len(rows))
        faults = [find_non_finite(shared.rows(s), s, step, shared.keep, positions.total) for s in self.place.sites]
        fault = next((found for found in faults if found is not None), None)
        if self.group.any(fault is not None) if self.watch.drops else fault is not None:
            raise fault or SpikeError(f"activations of another rank at '{self.place}' are not finite", "activations")
        self.dictionary.begin_step(progress)
        read, forward, evidence = self._forward(shared, teacher)
        dead = self.counter.dead(self.fit.dead_after)
        if self.place.apart:
            forward.target = evidence.activations
        terms = self.objective.terms(evidence) | self.dictionary.penalty(forward, read, dead)
        if "sparsity" in terms and progress < self.fit.sparsity_warmup:
            terms["sparsity"] = terms["sparsity"] * (progress / self.fit.sparsity_warmup)
        loss = torch.stack([term.float() for term in terms.values()]).sum()
        logged = self.group.mean({"loss": loss, **terms}, positions)
        self.watch.check("loss", logged["loss"], step, logged)
        norm = self._descend(loss, positions, step) if self.dictionary.by_gradient else 0.0
        self.watch.accept(logged["loss"], norm)
        if self.dictionary.by_gradient:
            for group in self.optimizer.param_groups:
                group["lr"] = lr
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)  # a gradient is held by one dictionary at a time
            self.dictionary.after_step()
        else:
            self.dictionary.learn(read, forward)
        with self.group.counting(self.counter, positions):
            l0 = self._count(forward)
        activity = self.group.activity(self.dictionary, l0, float(dead.double().mean()), positions)
        return {**logged, **activity, "lr": lr, "grad_norm": norm}

    def _descend(self, loss: Tensor, positions: Positions, step: int) -> float:
        """Make the update's gradients; return their norm before clipping."""
        loss.backward()
        self.group.reduce_gradients(self.dictionary, positions)
        self.dictionary.before_step()
        norm = float(self.group.clip(self.dictionary, self.fit.clip))
        self.watch.check("gradient", norm, step)
        return norm

    def _count(self, forward: Forward) -> float:
        """Count the batch's firings; return its L0."""
        if forward.entries is None or forward.values is None:
            self.counter.update(forward.codes.detach())
        else:
            self.counter.update_entries(forward.entries, forward.values.detach())
        return int((forward.kept > 0).sum()) / max(1, len(forward.reconstruction))

    def _forward(self, shared: SharedPass, teacher: Teacher | None) -> tuple[Tensor, Forward, Evidence]:
        """Return what the dictionary read, its pass, and what that did."""
        apart = self.place.apart
        if not self.objective.splices:
            read = shared.rows(self.site).float()
            forward = self.dictionary(read)
            activations = shared.rows(self.target).float() if apart else read
            return read, forward, Evidence(activations, forward.reconstruction)
        assert teacher is not None
        passes: list[tuple[Tensor, Tensor, Forward]] = []
        spliced = shared.splice(self.target, partial(self._replaced, shared, passes), self.downstream)
        read, activations = (torch.cat(rows) for rows in ([r for r, _, _ in passes], [a for _, a, _ in passes]))
        forward = Forward.cat([each for _, _, each in passes])
        later = [(shared.rows(site), spliced.values[site]) for site in self.downstream]
        kl = mean_kl(teacher, spliced.features, reverse=self.objective.reverse)
        return read, forward, Evidence(activations, forward.reconstruction, kl, later)

    def _replaced(self, shared: SharedPass, passes: list[tuple[Tensor, Tensor, Forward]], rows: Tensor) -> Tensor:
        """Pass a splice's rows through the dictionary; what it read, was to give and gave is added to `passes`."""
        rows = rows.detach().float()
        read = shared.rows(self.site).float() if self.place.apart else rows
        same_positions(read, rows, self.place)
        passes.append((read, rows, self.dictionary(read)))
        return passes[-1][2].reconstruction

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the tensors and plain values that an exact resume needs."""
        counts = self.counter.state_dict()
        tensors = {f"weights.{key}": value for key, value in self.dictionary.state_dict().items()}
        tensors |= {f"counter.{key}": value for key, value in counts.items() if isinstance(value, Tensor)}
        for number, slots in self.optimizer.state_dict()["state"].items():
            tensors |= {f"adam.{number}.{key}": value for key, value in slots.items()}
        plain = {
            "counter": {key: value for key, value in counts.items() if not isinstance(value, Tensor)},
            "seconds": self.seconds,
            "widths": [self.dictionary.d_in, self.dictionary.d_out],
            "warm_start_tokens": self.warm_start_tokens,
            "spikes": self.watch.state(),
        }
        return tensors, plain

    def load_state(self, tensors: dict[str, Tensor], plain: dict[str, Any]) -> None:
        """Go on from a saved state."""
        groups: dict[str, dict[str, Tensor]] = {"weights": {}, "counter": {}, "adam": {}}
        for key, value in tensors.items():
            kind, rest = key.split(".", 1)
            groups[kind][rest] = value
        self.dictionary.load_state_dict(groups["weights"])
        self.counter.load_state_dict({**groups["counter"], **plain["counter"]})
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in groups["adam"].items():
            number, slot = key.split(".")
            state.setdefault(int(number), {})[slot] = value
        self.optimizer.load_state_dict({"state": state, "param_groups": self.optimizer.state_dict()["param_groups"]})
        self.seconds = plain["seconds"]
        if "spikes" in plain:  # checkpoints of version 1 have none
            self.watch.load_state(plain["spikes"])

    def go_back(self, state: State) -> None:
        """Take up an earlier state of all learners; time spent and updates dropped still count."""
        history, seconds = self.watch.history(), self.seconds
        self.group.restore([self], state)
        self.watch.load_state(history)
        self.seconds = seconds


def make_optimizer(dictionary: Dictionary, lr: float, betas: tuple[float, float]) -> torch.optim.Optimizer:
    """Return Adam over a dictionary's parameters; AdamW where the architecture asks for weight decay."""
    if not dictionary.weight_decay:
        return torch.optim.Adam(dictionary.parameters(), lr=lr, betas=betas, fused=True)
    decayed = dictionary.decayed()
    known = {id(parameter) for parameter in decayed}
    others = [parameter for parameter in dictionary.parameters() if id(parameter) not in known]
    groups = [{"params": decayed, "weight_decay": dictionary.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=lr, betas=betas, fused=True)


def find_non_finite(rows: Tensor, site: Site, step: int, keep: Tensor | None, total: int) -> SpikeError | None:
    """Return an error naming the first position whose activation is not finite; raise DataError if `total` is no position."""
    if total == 0:
        raise DataError(f"no position of the batch at step {step} is left to train on; every token of its rows is excluded")
    if bool(torch.isfinite(rows.sum())):
        return None  # one pass; a sum that is not finite may still have overflowed
    finite = torch.isfinite(rows).all(dim=-1)
    if bool(finite.all()):
        return None
    row = int((~finite).nonzero()[0])
    place = f"position {row}" if keep is None else f"row {int(keep.nonzero()[row][0])}, position {int(keep.nonzero()[row][-1])}"
    text = f"activations at site '{site}' are not finite at step {step}, {place} of the batch "
    counted = f"({int((~finite).sum())} of {len(rows)} positions). Check the host's weights and its dtype."
    return SpikeError(text + counted, "activations")


def check_width(trained: int, width: int, site: Site, host: Host, inputs: Any, source: str) -> None:
    """Raise ConfigError if a dictionary trained on one width does not fit a site, naming the sites that would."""
    if trained == width:
        return
    fitting = [name for name, found in host.widths(inputs).items() if found == trained]
    raise ConfigError(
        f"site '{site}' gives tensors of width {width}, but the dictionary in {source} was trained on width {trained}. "
        f"Sites of this host with width {trained}: {', '.join(fitting[:8]) or 'none'}."
    )
