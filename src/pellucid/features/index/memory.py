"""How much memory an index will want, said before it starts, and refused where there is less."""

from __future__ import annotations

from collections.abc import Mapping

from pellucid.core import machine
from pellucid.core.errors import ConfigError
from pellucid.core.logging import log
from pellucid.dictionaries import Dictionary
from pellucid.features.index.ablation import ROUNDS
from pellucid.features.index.neighbours import COFIRING_ENTRIES, NUMBERS
from pellucid.features.index.survey import MOST_ENTRIES
from pellucid.features.index.tables import BLOCK_ENTRIES
from pellucid.features.index.text import IndexedText
from pellucid.hosts import Host, Site
from pellucid.kernels.sparse import CHUNK_NUMBERS

NUMBER = 4
MIB = 1 << 20
BUFFERED, SORTED, COUNTED = 48, 160, 40
"""Bytes at the peak for a code that waits for the disk, is worked into statistics and examples, or counts for co-firing."""
DENSE = 4
"""[positions, latents] tensors of a chunk that an encoder makes at once."""


def estimate(
    host: Host, text: IndexedText, dictionaries: Mapping[str, tuple[Dictionary, Site]], batch_rows: int
) -> dict[str, int]:
    """Return bytes by use: `held` is there already; the larger of `pass` and `tables` is wanted beside it.

    Codes that co-firing and the tables see are not known before the pass; what is said is the most it can be.
    """
    positions = batch_rows * text.context
    widths = [max(parameter.shape) for parameter in host.module.parameters() if parameter.ndim > 1] or [1]
    blocks = [host.module.get_submodule(path) for path in host.blocks] or [host.module]
    widest = max((max(parameter.shape) for block in blocks for parameter in block.parameters()), default=1)
    latents = max(dictionary.n_latents for dictionary, _ in dictionaries.values())
    atoms = max(dictionary.decoder.numel() for dictionary, _ in dictionaries.values())
    forward = 4 * NUMBER * positions * widest
    chunk = DENSE * NUMBER * max(CHUNK_NUMBERS, latents)
    ablation = 4 * 2 * NUMBER * ROUNDS * batch_rows * max(widths)
    tokens = text.rows * text.context
    most = tokens * latents
    block = min(most, max(BLOCK_ENTRIES, tokens))  # a latent that fires everywhere is one block
    tables = SORTED * block + COUNTED * min(most, COFIRING_ENTRIES) + 3 * NUMBER * NUMBERS + NUMBER * atoms
    return {
        "held": machine.resident() or 0,
        "pass": forward + chunk + ablation + BUFFERED * min(most * len(dictionaries), MOST_ENTRIES),
        "tables": tables + NUMBER * tokens,
    }


def announce(host: Host, text: IndexedText, dictionaries: Mapping[str, tuple[Dictionary, Site]], batch_rows: int) -> None:
    """Log the estimate; ConfigError if the machine has less."""
    parts = estimate(host, text, dictionaries, batch_rows)
    wanted = max(parts["pass"], parts["tables"])
    listed = ", ".join(f"{name} {size / MIB:,.0f}" for name, size in parts.items())
    log.info("memory: at most about %s MiB (%s)", f"{(parts['held'] + wanted) / MIB:,.0f}", listed)
    if machine.resident() is not None and wanted > (left := machine.available()):
        raise ConfigError(
            f"the index wants up to {wanted / MIB:,.0f} MiB beside what is held ({listed}), but {left / MIB:,.0f} MiB are "
            f"available. Lower batch_rows, index fewer tokens, or free memory."
        )
