"""The distillation job: from a task, data or a network in files to a folder with the program and its verdict."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from pellucid.core.errors import ConfigError, raise_all
from pellucid.core.logging import log
from pellucid.programs.distill import distill
from pellucid.programs.distilled import Distilled, write
from pellucid.programs.ensembles import train_in
from pellucid.programs.networks import RecurrentNetwork, StepNetwork, open_network
from pellucid.programs.options import DistillOptions
from pellucid.programs.simplify import simplify
from pellucid.programs.tasks.base import InputDomain, Task
from pellucid.programs.tasks.data_files import load_examples
from pellucid.programs.tasks.examples import Examples
from pellucid.programs.tasks.find import find_task


def distill_to(options: DistillOptions, out: Path) -> dict[str, Any]:
    """Train where no network is given, distil, and write program, automaton and summary.json to `out`; return the summary.

    A network that was trained here before for the same data and settings is taken from `out`/network. Raises ConfigError
    listing what contradicts in the options.
    """
    source, network, domain, seconds = _start(options, out)
    found = replace(distill(network, domain, source, options.search), seconds_training=seconds)
    write(found, out)
    log.info("%s", _sentence(found))
    return found.summary() | _simplification(network, domain, source) | {"out": str(out)}


def _start(options: DistillOptions, out: Path) -> tuple[Task | Examples | None, StepNetwork, InputDomain, float | None]:
    _check(options)
    source: Task | Examples | None = None
    if options.task is not None:
        source = find_task(options.task)
    elif options.data is not None:
        source = load_examples(options.data)
    if options.network is not None:
        network = open_network(options.network)
        if source is not None:
            return source, network, source.domain, None
        assert options.low is not None and options.high is not None
        return None, network, InputDomain(options.low, options.high, network.n_in, options.length), None
    assert source is not None
    trained = train_in(out / "network", source, options.training, lambda line: log.info("%s", line))
    return source, trained.network, source.domain, trained.seconds


def _check(options: DistillOptions) -> None:
    problems = []
    if options.task is not None and options.data is not None:
        problems.append("--task and --data are both given; give one of them")
    if options.task is None and options.data is None and options.network is None:
        problems.append("nothing to start from; give --task NAME or FILE, --data FILE, or --network FOLDER")
    alone = options.network is not None and options.task is None and options.data is None
    if alone and (options.low is None or options.high is None):
        problems.append("a network alone does not say which inputs it takes; give --low and --high (and --length) too")
    raise_all(problems, ConfigError)


def _simplification(network: StepNetwork, domain: InputDomain, source: Task | Examples | None) -> dict[str, Any]:
    """Return how simple the network's own weights become, for networks whose weights are known."""
    if not isinstance(network, RecurrentNetwork):
        return {}
    xs = domain.uniform(200, domain.length, torch.Generator().manual_seed(0)).double()
    return {"simplification": simplify(network, xs).to_json()}


def _sentence(found: Distilled) -> str:
    if not found.solved:
        return f"not solved: {found.reason}"
    assert found.verdict is not None and found.machine is not None
    return f"solved: a {found.verdict.form} of {found.machine.bits:.0f} bits, {found.method}"
