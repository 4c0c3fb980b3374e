"""Making the index of a run."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from pellucid.core import files
from pellucid.core.allocator import keep_freed_memory
from pellucid.core.errors import RunError, raise_all
from pellucid.core.logging import log
from pellucid.core.provenance import versions
from pellucid.data import DataSource
from pellucid.dictionaries import Dictionary
from pellucid.evaluation import load_run
from pellucid.features.index import memory
from pellucid.features.index.codes import use_kernels
from pellucid.features.index.config import IndexConfig
from pellucid.features.index.neighbours import Atoms, Cofiring
from pellucid.features.index.reader import Index, read_manifest
from pellucid.features.index.schema import FOLDER, FORMAT, MANIFEST, VERSION, IndexedDictionary, Manifest
from pellucid.features.index.shards import Block
from pellucid.features.index.statistics import statistics
from pellucid.features.index.survey import Survey
from pellucid.features.index.tables import write_tables
from pellucid.features.index.text import IndexedText
from pellucid.features.index.windows import Windows
from pellucid.features.logit_effects import Readout, find_readout
from pellucid.hosts import Host, Site
from pellucid.training.folder import flat, locked

WORK = "work"
"""Folder in RUN/index for what is not finished."""


def build_index(
    run: str | Path, host: Host, data: DataSource, config: IndexConfig | None = None, *, replace: bool = False
) -> Index:
    """Index every dictionary of a run and return the index, which is then in RUN/index; see `schema` for what it holds.

    The host runs over the text once for all dictionaries, no further than the last site (on some batches to the end, for
    ablations). Positive codes go to disk, 12 bytes each, until the statistics are made from them: those are exact, whatever
    the number of latents, and do not depend on how the work was cut. An index that was interrupted goes on where it was and
    ends with the same bytes. One that is finished, with the same settings, dictionaries and data, is returned as it is.

    Memory: host and dictionaries, and beside them at most the larger of two: in the pass, one batch's forward, 36 MiB of
    pre-activations at a time with their codes, 4 M codes not yet on disk, 128 positions of logits in float64; afterwards,
    2 M codes of some latents at a time (or all of one latent), 16 M codes for co-firing, and 4 bytes a token of text. Said
    by use, in the log, before anything starts. Time beside the pass: the co-firing grows with tokens * L0^2, nearest atoms
    with latents^2, logit effects with latents * vocabulary.

    `replace` makes an index anew that is there already with other settings. Raises RunError if the run holds no dictionary
    or an index with other settings, is in use, or the disk has no room; ConfigError if the settings ask for more than there
    is; DataError if the data is no text; what `load_run` raises.
    """
    run, config = Path(run), config or IndexConfig()
    dictionaries, headers = load_run(run, host)
    text = IndexedText(data, config)
    manifest = _manifest(host, data, text, dictionaries, headers, config)
    folder = run / FOLDER
    with locked(run):
        if replace and folder.exists():
            shutil.rmtree(folder)
        if _begun(run, manifest):
            shutil.rmtree(folder / WORK, ignore_errors=True)
            return Index.open(run)
        memory.announce(host, text, dictionaries, config.batch_rows)
        files.write_json(folder / MANIFEST, manifest.model_dump(mode="json"))
        keep_freed_memory()
        with host.held():
            finished = _make(folder, host, data, text, dictionaries, config, manifest)
        files.write_json(folder / MANIFEST, finished.model_dump(mode="json"))
        shutil.rmtree(folder / WORK)
    return Index.open(run)


def _make(
    folder: Path,
    host: Host,
    data: DataSource,
    text: IndexedText,
    dictionaries: Mapping[str, tuple[Dictionary, Site]],
    config: IndexConfig,
    manifest: Manifest,
) -> Manifest:
    """Do the pass and write the tables; return what the manifest says at the end."""
    for dictionary, _ in dictionaries.values():
        use_kernels(dictionary)
    survey = Survey(host, text, dictionaries, config, folder / WORK)
    survey.run()
    windows = Windows(text, config)
    tokenizer = host.tokenizer if host.tokenizer is not None else getattr(data, "tokenizer", None)
    described = {}
    for place, (name, (dictionary, site)) in enumerate(dictionaries.items()):
        readout = _readout(host, data, site, tokenizer)
        atoms = Atoms(dictionary, site, host, readout, tokenizer)
        cofiring = Cofiring(survey.shards, place, dictionary.n_latents, text.context, config.seed)

        def latents(block: Block, name: str = name, atoms: Atoms = atoms, cofiring: Cofiring = cofiring) -> dict[str, Any]:
            span = block.first, block.first + block.n
            others = (atoms.columns(*span), cofiring.columns(*span), survey.ablations[name].columns(*span))
            return {**statistics(block, survey.kept), **others[0], **others[1], **others[2]}

        write_tables(
            folder / name, folder / WORK / f"tables-{place}", survey.shards, place, text.context, latents, windows.table,
            f"tables of '{name}'",
        )  # fmt: skip
        reason = readout if isinstance(readout, str) else ""
        if reason:
            log.info("dictionary '%s': no effects on logits are shown: %s", name, reason)
        update = {"no_effects": reason, "cofiring_positions": cofiring.positions}
        described[name] = manifest.dictionaries[name].model_copy(update=update)
    return manifest.model_copy(update={"finished": True, "tokens": survey.kept, "dictionaries": described})


def _readout(host: Host, data: DataSource, site: Site, tokenizer: Any) -> Readout | str:
    if tokenizer is None:
        return f"{host.name} has no tokenizer to name the tokens with"
    rows = data.held_out_rows if data.n_held_out else data.train_rows
    inputs = rows(torch.arange(1)).to(host.device).inputs
    return find_readout(host, site, host.find_head(inputs), inputs=inputs)


def _manifest(
    host: Host,
    data: DataSource,
    text: IndexedText,
    dictionaries: Mapping[str, tuple[Dictionary, Site]],
    headers: Mapping[str, dict[str, Any]],
    config: IndexConfig,
) -> Manifest:
    """Return the manifest of an index that is begun."""
    described = {
        name: IndexedDictionary(site=str(site), n_latents=dictionary.n_latents, weights_sha256=headers[name]["weights_sha256"])
        for name, (dictionary, site) in dictionaries.items()
    }
    taken = [name for name in described if name in (WORK, MANIFEST)]
    raise_all([f"a dictionary is named '{name}', which an index needs for itself; rename its folder" for name in taken])
    sites = {str(site): host.weights_digest(site) for _, site in dictionaries.values()}
    return Manifest(
        format=FORMAT,
        version=VERSION,
        finished=False,
        settings=config.model_dump(mode="json"),
        host={"name": host.name, "weights_sha256": sites},
        data=data.describe(),
        held_out_rows=data.n_held_out,
        first_row=text.first,
        rows=text.rows,
        context=text.context,
        tokens=0,
        dictionaries=described,
        versions=versions(),
    )


def _begun(run: Path, wanted: Manifest) -> bool:
    """Return whether the index that is wanted is there and finished; RunError if another one is there."""
    if not (run / FOLDER / MANIFEST).is_file():
        return False
    found = read_manifest(run / FOLDER)
    old, new = (flat(_identity(manifest)) for manifest in (found, wanted))
    changed = [key for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)]
    if changed:
        lines = "\n".join(f"  - {key}: there {old.get(key)!r}, here {new.get(key)!r}" for key in changed[:20])
        raise RunError(f"{run} already holds another index:\n{lines}\nMake it anew with --replace, or index with its settings.")
    return found.finished


def _identity(manifest: Manifest) -> dict[str, Any]:
    """Return what two runs of the same index have in common."""
    weights = {name: one.weights_sha256 for name, one in manifest.dictionaries.items()}
    kept = manifest.model_dump(mode="json", include={"settings", "host", "held_out_rows", "first_row", "rows", "context"})
    return {**kept, "data": manifest.data.get("digest"), "dictionaries": weights}
