"""Explanations and scores as they are made: a line each, on disk at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from pellucid.core.errors import FileFormatError, RunError
from pellucid.core.logging import JsonLines
from pellucid.features.explanations.schema import EXPLANATIONS
from pellucid.training.folder import flat


class Work:
    """The lines of one dictionary and explainer; what a job that goes on starts from.

    The first line holds the settings; others hold a latent with its text, why it was left out, or one of its scores.
    """

    def __init__(self, path: Path, explainer: str, settings: dict[str, Any]) -> None:
        """Open or begin; RunError if what is there was made with other settings, FileFormatError if it is broken."""
        self.path, self.explainer = path, explainer
        self.texts: dict[int, str] = {}
        self.skipped: dict[int, str] = {}
        self.scores: dict[tuple[int, str], dict[str, Any]] = {}
        self.costs: list[dict[str, float]] = []
        offset = self._read(settings) if path.is_file() else 0
        self._lines = JsonLines(path, offset)
        if offset == 0:
            self._lines.write(settings=settings)

    def add_text(self, latent: int, text: str) -> None:
        """Keep an explanation."""
        self.texts[latent] = text = _storable(text)
        self._lines.write(latent=latent, text=text)

    def skip(self, latent: int, reason: str) -> None:
        """Keep why a latent has no explanation."""
        self.skipped[latent] = reason
        self._lines.write(latent=latent, skipped=reason)

    def add_score(self, latent: int, score: str, values: dict[str, Any]) -> None:
        """Keep one score of a latent: value, low, high, n, shuffled."""
        self.scores[latent, score] = values
        self._lines.write(latent=latent, score=score, values=values)

    def add_cost(self, cost: dict[str, float]) -> None:
        """Keep what a job has used."""
        if any(cost.values()):
            self.costs.append(cost)
            self._lines.write(cost=cost)

    def close(self) -> None:
        """Close the file."""
        self._lines.close()

    def table(self) -> pa.Table:
        """Return everything as the columns of `EXPLANATIONS`."""
        rows: dict[int, dict[str, Any]] = {
            latent: {"latent": latent, "explainer": self.explainer, "text": self.texts[latent]} for latent in sorted(self.texts)
        }
        for (latent, score), values in self.scores.items():
            endings = ("low", "high", "shuffled", "n")
            rows[latent] |= {score: values["value"], **{f"{score}_{ending}": values[ending] for ending in endings}}
        return pa.Table.from_pylist(list(rows.values()), schema=EXPLANATIONS)

    def _read(self, settings: dict[str, Any]) -> int:
        """Take up the whole lines that are there; return where they end."""
        raw = self.path.read_bytes()
        end = raw.rfind(b"\n") + 1  # what follows the last line break was being written when the job was killed
        for number, line in enumerate(raw[:end].splitlines(), start=1):
            try:
                self._take(json.loads(line), settings)
            except (ValueError, KeyError, TypeError, AttributeError):
                raise FileFormatError(
                    f"line {number} of {self.path} cannot be read. Explain again from the start with --replace"
                ) from None
        return end

    def _take(self, values: dict[str, Any], settings: dict[str, Any]) -> None:
        if "settings" in values:
            self._check(values["settings"], settings)
        elif "cost" in values:
            self.costs.append(dict(values["cost"]))
        elif "text" in values:
            self.texts[int(values["latent"])] = str(values["text"])
        elif "skipped" in values:
            self.skipped[int(values["latent"])] = str(values["skipped"])
        else:
            self.scores[int(values["latent"]), str(values["score"])] = dict(values["values"])

    def _check(self, old: dict[str, Any], new: dict[str, Any]) -> None:
        before, after = flat(old), flat(json.loads(json.dumps(new)))
        changed = [key for key in sorted(before.keys() | after.keys()) if before.get(key) != after.get(key)]
        if changed:
            lines = "\n".join(f"  - {key}: there {before.get(key)!r}, here {after.get(key)!r}" for key in changed)
            raise RunError(
                f"{self.path} holds explanations made with other settings:\n{lines}\n"
                f"Give the same settings to go on, or --replace to explain again"
            )


def _storable(text: str) -> str:
    """Return the text with half surrogate pairs, which no file of text can hold, replaced."""
    return text.encode("utf-8", "replace").decode()
