"""One dictionary on disk: config.json and weights.safetensors in a folder."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field

from pellucid.core import files
from pellucid.core.config import Config, build
from pellucid.core.errors import ConfigError, FileFormatError, NumericsError, raise_all
from pellucid.core.header import read_header
from pellucid.dictionaries.base import LARGEST, Dictionary
from pellucid.dictionaries.registry import AnyArchitecture, empty_dictionary

FORMAT = "pellucid-dictionary"
VERSION = 1
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "weights.safetensors"
LARGEST_CONFIG = 2**24
"""Bytes of config.json beyond which it is not read."""
DTYPES = {"float32": torch.float32, "float64": torch.float64, "float16": torch.float16, "bfloat16": torch.bfloat16}


class HostRecord(Config):
    """Which network a dictionary was trained on."""

    name: str
    """Name or path the host was loaded from."""
    weights_sha256: str
    """Hash of the host's weights at the site, compared when the dictionary is used."""
    target_weights_sha256: str | None = None
    """The same at the target, where that is another site."""


class DictionaryHeader(Config):
    """What config.json says about a dictionary."""

    format: Literal["pellucid-dictionary"]
    """Always 'pellucid-dictionary'."""
    version: Literal[1]
    """Version of the file format."""
    name: str = ""
    """Name of the dictionary in its run."""
    site: str
    """Name of the site it reads, and writes unless there is a target."""
    target: str | None = None
    """Name of the site it writes, where that is another one (a transcoder)."""
    d_in: int = Field(ge=1, le=LARGEST)
    """Width of the site."""
    d_out: int | None = Field(default=None, ge=1, le=LARGEST)
    """Width of the target; None: that of the site."""
    dtype: Literal["float32", "float64", "float16", "bfloat16"]
    """Type of the weights."""
    architecture: AnyArchitecture
    """Config of the architecture, told apart by `kind`."""
    objective: dict[str, Any]
    """Config of the objective it was trained with."""
    host: HostRecord
    """Host it was trained on."""
    tokens: int = Field(ge=0)
    """Tokens it was trained on."""
    provenance: dict[str, Any] = Field(default_factory=dict)
    """Anything else worth keeping: data digest, seed, versions."""
    weights_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    """sha256 of weights.safetensors."""


def save_dictionary(folder: str | Path, dictionary: Dictionary, header: dict[str, Any]) -> None:
    """Write a dictionary to `folder`, whole or not at all; an older one there is replaced.

    `header` holds at least site (str), objective (dict), host (dict: name, weights_sha256) and tokens (int); name (str),
    target (str, a transcoder's) and provenance (dict) are optional. Format, architecture, widths, dtype and hash are filled in.
    Raises ConfigError listing what the header lacks or has too much, NumericsError naming weights that are not finite,
    FileFormatError if `folder` holds anything but a dictionary.
    """
    folder = Path(folder)
    tensors = dict(dictionary.state_dict())
    _refuse_non_finite(tensors, f"the dictionary for {folder}", NumericsError)
    _refuse_other_content(folder)
    filled = {
        "format": FORMAT,
        "version": VERSION,
        "d_in": dictionary.d_in,
        "d_out": dictionary.d_out if dictionary.d_out != dictionary.d_in else None,
        "dtype": str(dictionary.dtype).removeprefix("torch."),
        "architecture": dictionary.config.model_dump(mode="json"),
        "weights_sha256": "0" * 64,
    }
    taken = sorted(filled.keys() & header.keys())
    raise_all([f"'{key}' is filled in by save_dictionary, leave it out" for key in taken], title="header")
    record = build(DictionaryHeader, {**header, **filled}, where="header")
    with _replaced(folder) as inner:
        files.save_tensors(inner / WEIGHTS_FILE, tensors)
        record = record.model_copy(update={"weights_sha256": files.sha256_file(inner / WEIGHTS_FILE)})
        files.write_json(inner / CONFIG_FILE, _plain(record))


def load_dictionary(folder: str | Path, device: str | torch.device = "cpu") -> tuple[Dictionary, dict[str, Any]]:
    """Read a dictionary, in inference mode, and its header; the files are treated as hostile.

    The header is checked first, then the hash of the weights, then names, shapes and dtypes of all tensors against the
    header, before any of them is allocated. Nothing is unpickled.
    Raises FileFormatError naming the file and everything in it that does not fit.
    """
    folder = Path(folder)
    header = read_header(
        folder / CONFIG_FILE,
        DictionaryHeader,
        what="dictionary",
        weights=WEIGHTS_FILE,
        form=FORMAT,
        version=VERSION,
        largest=LARGEST_CONFIG,
    )
    weights = folder / WEIGHTS_FILE
    if not weights.is_file():
        raise FileFormatError(f"{weights} does not exist")
    found = files.sha256_file(weights)
    if found != header.weights_sha256:
        raise FileFormatError(
            f"{weights} has sha256 {found}, but {CONFIG_FILE} says {header.weights_sha256}. "
            f"One of them was changed or cut short: fetch or write the dictionary again."
        )
    dtype = DTYPES[header.dtype]
    with torch.device("meta"):  # shapes without memory
        dictionary = _described(header).to(dtype)
    shapes = {name: tuple(tensor.shape) for name, tensor in dictionary.state_dict().items()}
    tensors = files.load_tensors(weights, shapes)
    problems = [f"tensor '{name}' is {t.dtype}, wanted {dtype}" for name, t in sorted(tensors.items()) if t.dtype != dtype]
    raise_all(problems, FileFormatError, title=f"{weights} does not hold what its config says")
    _refuse_non_finite(tensors, str(weights), FileFormatError)
    dictionary.load_state_dict(tensors, assign=True)
    raise_all(dictionary.problems(), FileFormatError, title=f"{weights} holds what no training leaves")
    return dictionary.to(device).eval(), _plain(header)


def _described(header: DictionaryHeader) -> Dictionary:
    """Return an empty dictionary of the header's widths; ConfigError is a fault of the file here."""
    try:
        return empty_dictionary(header.architecture, header.d_in, header.d_out)
    except ConfigError as error:
        raise FileFormatError(f"{CONFIG_FILE} of dictionary '{header.name}': {error}") from error


def _refuse_non_finite(tensors: dict[str, torch.Tensor], what: str, error: type[NumericsError | FileFormatError]) -> None:
    problems = [
        f"tensor '{name}' has {int((~tensor.isfinite()).sum())} of {tensor.numel()} values that are not finite"
        for name, tensor in sorted(tensors.items())
        if not bool(tensor.isfinite().all())
    ]
    raise_all(problems, error, title=f"{what} holds weights that are not numbers")


def _refuse_other_content(folder: Path) -> None:
    """Replacing a folder removes it, so it must hold a dictionary and nothing else."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise FileFormatError(f"{folder} is a file, wanted a folder for the dictionary")
    others = sorted({entry.name for entry in folder.iterdir()} - {CONFIG_FILE, WEIGHTS_FILE})
    if others:
        raise FileFormatError(f"{folder} holds other files ({', '.join(others[:5])}); choose an empty or new folder")


@contextmanager
def _replaced(folder: Path) -> Iterator[Path]:
    """Yield an empty folder that takes the place of `folder` on success.

    A folder cannot be renamed over a full one, so the older is set aside for the moment of the swap, put back if that
    fails and removed if not.
    """
    older: Path | None = None
    try:
        with files.atomic_path(folder) as inner:
            inner.mkdir()
            yield inner
            if folder.exists():
                aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.older.", dir=folder.parent))
                older = aside / folder.name
                os.replace(folder, older)
    finally:
        if older is not None and not folder.exists():
            os.replace(older, folder)
        if older is not None:
            shutil.rmtree(older.parent)


def _plain(header: DictionaryHeader) -> dict[str, Any]:
    """Return a header as JSON values; a host's target is named only where there is one."""
    values = header.model_dump(mode="json")
    values["host"] = header.host.model_dump(mode="json", exclude_none=True)
    return values
