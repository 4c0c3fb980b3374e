"""The training loop: one pass of data over a host, any number of dictionaries."""

from __future__ import annotations

import math
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch

from pellucid.core import files
from pellucid.core.allocator import keep_freed_memory
from pellucid.core.errors import FileFormatError, RunError
from pellucid.core.files import sha256_tensors
from pellucid.core.logging import JsonLines, log
from pellucid.core.provenance import environment
from pellucid.data import Batch, DataSource, load_text
from pellucid.dictionaries import load_dictionary, make_dictionary, save_dictionary
from pellucid.hosts import Host, Site
from pellucid.hosts.splice import SharedPass
from pellucid.hosts.weights import site_weights
from pellucid.kernels.ceiling import ceiling
from pellucid.kernels.divergence import Teacher
from pellucid.training import checkpoint, folder, memory, rewind
from pellucid.training.config import CHANGEABLE, DictionaryConfig, FitConfig
from pellucid.training.distributed import Alone, Silent, joined, local_device
from pellucid.training.guidance import check_labels, loss_gradient
from pellucid.training.interrupt import interruptible
from pellucid.training.learner import Learner, check_width
from pellucid.training.places import Place, check_places, find_place, find_places, written_at
from pellucid.training.schedule import learning_rate
from pellucid.training.settled import Settled, settle
from pellucid.training.stacked import Stack
from pellucid.training.stored import open_passes
from pellucid.training.timing import Timing
from pellucid.training.warm_start import rebuilt
from pellucid.training.work import Work


def fit(config: FitConfig, out: str | Path, *, host: Host | None = None, data: DataSource | None = None) -> Path:
    """Train the config's dictionaries and write them to the run folder `out`; return the folder.

    `host` and `data` default to the ones the config names. A folder that holds an unfinished fit of the same config is
    resumed, and ends with the same bytes as one that was never interrupted. Ctrl-C writes a checkpoint first.
    Started by torchrun, the ranks share out the work as `parallel` says, and rank 0 writes the folder.
    Raises ConfigError, SiteError, DataError, RunError, RankError or NumericsError before or instead of a wrong number.
    """
    run = Path(out)
    keep_freed_memory()
    with joined(config) as group, group.locked(folder.locked(run)):
        if group.on_first(lambda: _is_done(run, config)):
            return run
        host = host or Host.load(config.host, device=local_device(config.device), dtype=config.dtype)
        data = data or load_text(config.data, host.tokenizer)
        group.agree("host and data", partial(_facts, host, data))
        with host.held():
            Trainer(config, run, host, data, group).train()
    return run


def _is_done(run: Path, config: FitConfig) -> bool:
    folder.check(run, config, CHANGEABLE)
    done = is_finished(run, config)
    if done:
        log.info("%s is finished; nothing to train", run)
    return done


def _facts(host: Host, data: DataSource) -> dict[str, str]:
    """Return what ranks compare before the first step: sha256 of all weights of the host, and of the data."""
    return {"host": sha256_tensors(dict(host.module.state_dict())), "data": data.digest()}


def is_finished(run: Path, config: FitConfig) -> bool:
    """True if every dictionary of the config has been written."""
    return all((run / "dictionaries" / name / "config.json").exists() for name in config.dictionaries)


class Trainer:
    """A fit in progress."""

    def __init__(self, config: FitConfig, run: Path, host: Host, data: DataSource, group: Alone | None = None) -> None:
        self.config, self.run, self.host, self.data = config, run, host, data
        self.group = group or Alone()
        per_step = config.batch_rows * data.positions_per_row
        self.steps = math.ceil(config.tokens / per_step)
        self.warmup = round(config.warmup * self.steps)
        self.step = 0
        self.seconds = 0.0
        self.timing = Timing()
        places = find_places(host, config.dictionaries)
        check_places(host, places, data.train_batch(0, 1).to(host.device).inputs)
        guided = [name for name, entry in config.dictionaries.items() if entry.guided]
        check_labels(guided, data.train_batch(0, 1), host)
        places = {name: places[name] for name in self.group.names(config)}
        self.guided = list(dict.fromkeys(place.source for name, place in places.items() if name in guided))
        take = partial(self.group.batch, data)
        self.passes = open_passes(config, host, data, places, self.timing, take, ranks=self.group.size)
        self.logits_mb = config.logits_mb
        self.stacks: list[Stack] = []
        self.limit = memory.Limit(config, host.device)
        self.learners = self._learners(places)
        self.spliced = [learner for learner in self.learners if learner.objective.splices]
        own = self.config.batch_rows * data.positions_per_row // (self.group.size if self.group.mode == "data" else 1)
        self.work = Work(host, self.learners, own, self.passes.head.module if self.passes.head else None)
        self.timing.host_pass = self.work.host

    def train(self) -> None:
        """Train to the end, writing metrics and checkpoints, then the dictionaries."""
        offset = self._resume()
        tokens = self.config.batch_rows * self.data.positions_per_row
        settled = settle(self.config, self.run, self.host, self.learners, self.group, self.limit, tokens, self.steps)
        self.logits_mb, self.stacks = settled.logits_mb, settled.stacks
        if self.group.writes:
            folder.claim(self.run, self.config)
            self._write_provenance(settled)
        metrics = self.group.lines(self.run / "metrics.jsonl", offset)
        last_saved = time.monotonic()
        title = f"training {len(self.learners)} dictionaries"
        try:
            with interruptible() as asked, self.group.ticker(title, (self.steps - self.step) * tokens) as ticker:
                if rewind.is_point(self.config.spikes, self.step):
                    self._save(metrics)
                while self.step < self.steps:
                    self.group.begin(self.step)
                    ticker.advance(tokens, self._one_step(metrics))
                    due = time.monotonic() - last_saved >= self.config.checkpoint_seconds
                    due = due or rewind.is_point(self.config.spikes, self.step)
                    full = self.limit.passed()
                    stop, due = self.group.stop_or_save(bool(asked) or full is not None, due)
                    if stop or (due and self.step < self.steps):
                        self._save(metrics)
                        last_saved = time.monotonic()
                    if full is not None:
                        raise RunError(memory.stopped(full, self.step, self.steps, self.logits_mb if self.spliced else None))
                    if stop:
                        raise KeyboardInterrupt
            self.passes.close(finished=True)
        except KeyboardInterrupt:
            where = checkpoint.latest(self.run / "checkpoint")
            after = f"from step {where[0]} of {self.steps}" if where else "from the beginning"
            log.warning("stopped; run the same command again to go on %s", after)
            raise
        finally:
            metrics.close()
            self.passes.close(finished=False)
        if self.group.writes:
            reached = ceiling(self.host.device, torch.get_num_threads())
            files.write_json(self.run / "timing.json", self.timing.announce(reached))
        self._finish()

    def _one_step(self, metrics: JsonLines | Silent) -> str:
        started = time.monotonic()
        shared = self.passes.at(self.step)
        teacher = None
        if self.spliced:
            assert shared.features is not None
            teacher = Teacher(shared.readout, shared.features, shared=len(self.spliced) > 1, numbers=self.logits_mb << 18)
        gradients = {site: loss_gradient(shared, site) for site in self.guided}
        shared_seconds = time.monotonic() - started
        lines: list[dict[str, Any]] = []
        stacked = self._stacked(shared)
        for learner in self.learners:
            begun = time.monotonic()
            if (logged := stacked.get(learner.name)) is None:
                with self.timing.during("dictionary"):
                    progress, gradient = self.step / self.steps, gradients.get(learner.site)
                    logged = learner.update(shared, teacher, self._rate(learner), self.step, progress, gradient)
            lines.append({"dictionary": learner.name, **logged})
            if "l0" in logged:  # not in a dropped update
                self.timing.count("dictionary", self.work.update(learner, float(logged["l0"]), len(shared.rows(learner.site))))
            learner.seconds += time.monotonic() - begun + shared_seconds / len(self.learners)
        self.timing.count("dictionary", self.work.shared)
        self.step += 1
        self.seconds += time.monotonic() - started
        due = self.step % self.config.log_every == 0 or self.step == self.steps
        events = rewind.settle_faults(lines, self.learners, self.group, self.run / "checkpoint")
        seen = self.step * self.config.batch_rows * self.data.positions_per_row
        for line in self.group.gather_lines(lines) if due else events:
            metrics.write(step=self.step, tokens=seen, **line)
        return f"loss {lines[0]['loss']:.4g}" if "event" not in lines[0] else str(lines[0]["event"])

    def _rate(self, learner: Learner) -> float:
        peak, final = learner.config.lr, self.config.final_lr
        return learning_rate(self.step, peak=peak, warmup=self.warmup, total=self.steps, final=final)

    def _stacked(self, shared: SharedPass) -> dict[str, dict[str, Any]]:
        """Update the stacks; return what to log of every dictionary that needs no update by itself any more."""
        logged: dict[str, dict[str, Any]] = {}
        for stack in self.stacks:
            begun = time.monotonic()
            with self.timing.during("dictionary"):
                logged |= stack.update(shared, self._rate(stack.learners[0]), self.step, self.step / self.steps)
            for learner in stack.learners:
                learner.seconds += (time.monotonic() - begun) / len(stack.learners)
        return logged

    def _learners(self, places: dict[str, Place]) -> list[Learner]:
        samples = self.passes.samples(list(dict.fromkeys(site for place in places.values() for site in place.sites)))
        widths = {name: [samples[site].shape[-1] for site in (at.source, at.target)] for name, at in places.items()}
        memory.check_weights(self.config, widths, self.limit)
        example = self.data.train_batch(0, 1).to(self.host.device)
        configs = self.config.dictionaries
        return [self._learner(name, configs[name], place, samples, example) for name, place in places.items()]

    def _learner(
        self, name: str, config: DictionaryConfig, place: Place, samples: dict[Site, torch.Tensor], example: Batch
    ) -> Learner:
        sample, target = samples[place.source], samples[place.target] if place.apart else None
        if config.init_from is None:
            generator = torch.Generator().manual_seed(config.seed)
            wanted = config.architecture.atom_init == "weights"
            width = samples[place.target].shape[-1]
            weights = site_weights(self.host, place.target, width).float().cpu() if wanted else None
            dictionary = make_dictionary(
                config.architecture, sample.shape[-1], generator, sample, target=target, weights=weights
            )
            return Learner(name, config, self.config, self.host, dictionary.train(), group=self.group)
        dictionary, header = load_dictionary(config.init_from)
        for site, width in ((place.source, dictionary.d_in), (place.target, dictionary.d_out)):
            check_width(width, samples[site].shape[-1], site, self.host, example.inputs, config.init_from)
        warm = header["tokens"] + header["provenance"].get("warm_start_tokens", 0)
        dictionary = rebuilt(dictionary, config, name)
        return Learner(name, config, self.config, self.host, dictionary.train(), warm, self.group)

    def _save(self, metrics: JsonLines | Silent) -> None:
        found = self.group.gather(self.learners)
        if found is None:
            return
        tensors, plain = found
        state = {"learners": plain, "metrics_offset": metrics.offset, "seconds": self.seconds, "timing": self.timing.state()}
        where, needed = self.run / "checkpoint", partial(rewind.points, self.config.spikes)
        checkpoint.save(where, self.step, tensors, state, keep=self.config.keep_checkpoints, needed=needed)

    def _resume(self) -> int:
        """Load the newest checkpoint, if any; return how long metrics.jsonl was then."""
        found = self.group.spread(lambda: checkpoint.load(self.run / "checkpoint"))
        if found is None:
            return 0
        tensors, state = found
        if set(state["learners"]) != set(self.config.dictionaries):
            held = sorted(state["learners"])
            raise FileFormatError(f"the checkpoint in {self.run} holds dictionaries {held}, not those of its config")
        self.group.restore(self.learners, (tensors, state["learners"]))
        self.step, self.seconds = state["step"], state["seconds"]
        if "timing" in state:  # checkpoints of version 0.1 have none
            self.timing.load_state(state["timing"])
        log.info("resuming %s at step %d of %d", self.run, self.step, self.steps)
        return state["metrics_offset"]

    def _write_provenance(self, settled: Settled) -> None:
        places = find_places(self.host, self.config.dictionaries).values()
        hosts = {str(site): self.host.weights_digest(site) for place in places for site in place.sites}
        record: dict[str, Any] = {"host": self.host.name, "host_weights_sha256": hosts, "data": self.data.describe()}
        record |= {"ranks": self.group.size, "parallel": self.group.mode, **settled.record(), **environment()}
        files.write_json(self.run / "provenance.json", record)

    def _finish(self) -> None:
        per_step = self.config.batch_rows * self.data.positions_per_row
        for trained in self.group.trained(self.learners):
            config = self.config.dictionaries[trained.name]
            place = find_place(self.host, config)
            header = {
                "name": trained.name,
                **written_at(self.host, place),
                "objective": config.objective.model_dump(mode="json"),
                "tokens": per_step * (self.steps - sum(last - first + 1 for first, last in trained.skipped)),
                "provenance": {
                    "warm_start_tokens": trained.warm_start_tokens,
                    "init_from": config.init_from,
                    "data_sha256": self.data.digest(),
                    "seed": config.seed,
                    "seconds": round(trained.seconds, 3),
                    "skipped_updates": trained.skipped,
                },
            }
            save_dictionary(self.run / "dictionaries" / trained.name, trained.dictionary, header)
