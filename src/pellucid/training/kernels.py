"""Which form of the sparse kernels each dictionary of a fit trains with: measured once, said once, kept for a resume."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pellucid.core.allocator import give_back
from pellucid.core.errors import ConfigError
from pellucid.core.logging import log
from pellucid.dictionaries import Dictionary
from pellucid.kernels.forms import PLAIN, get_form, usable
from pellucid.kernels.measured import seconds
from pellucid.training.learner import Learner

SMALL = 1 << 26
"""Multiply-adds of the encoder below which nothing is worth measuring: the plain form then."""
ACTIVE = 32
"""Latents kept in a measurement where the architecture does not say how many."""


def settle(learners: Sequence[Learner], positions: int, asked: str, kept: Mapping[str, str]) -> dict[str, str]:
    """Give every dictionary its form; return name -> form.

    `positions` are the tokens of an update. `asked` is a form or 'auto'; `kept`, what an earlier part of the same fit used,
    wins over 'auto', so that a resume goes on with the same sums.
    Raises ConfigError if a form cannot be used here.
    """
    chosen: dict[str, str] = {}
    measured: dict[tuple[int, int, int], str] = {}
    for learner in learners:
        dictionary = learner.dictionary
        name = PLAIN
        if dictionary.sparse:
            name = asked if asked != "auto" else kept.get(learner.name) or _fastest(dictionary, positions, measured)
        _check(name, dictionary)
        dictionary.form, chosen[learner.name] = get_form(name), name
    if measured:
        give_back()
    return chosen


def _check(name: str, dictionary: Dictionary) -> None:
    device, dtype = next(dictionary.parameters()).device, dictionary.dtype
    if get_form(name) is not None and name not in (names := usable(device, dtype)):
        raise ConfigError(f"kernels '{name}' cannot be used for {dtype} on {device}. Usable: {', '.join(names)}")


def _fastest(dictionary: Dictionary, positions: int, measured: dict[tuple[int, int, int], str]) -> str:
    m, d = dictionary.encoder.shape
    key = m, d, min(int(getattr(dictionary.config, "k", ACTIVE)), m)
    if positions * m * d < SMALL:
        return PLAIN
    if key not in measured:
        device, dtype = dictionary.encoder.device, dictionary.encoder.dtype
        forms = {name: get_form(name) for name in usable(device, dtype)}
        times = seconds(forms, *key, rows=positions, device=device)
        measured[key] = min(times, key=lambda name: times[name])
        listed = ", ".join(f"{name} {1000 * found:.{0 if found > 0.01 else 2}f} ms" for name, found in times.items())
        log.info("kernels: %s for %d latents of width %d, about %d active (%s)", measured[key], *key, listed)
    return measured[key]
