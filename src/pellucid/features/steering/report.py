"""What the verb `steer` shows: next tokens and a generation with and without edits, and a dose-response curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from pellucid.core import config as configs
from pellucid.core.config import Config
from pellucid.core.errors import ConfigError, SiteError
from pellucid.data import DataSource, load_text
from pellucid.features.logit_effects import logit_effects
from pellucid.features.steering.dose import DoseResponse, dose_response
from pellucid.features.steering.edit import Edit
from pellucid.features.steering.generate import Generation, generate
from pellucid.features.steering.logits import NextTokens, next_tokens
from pellucid.features.steering.means import with_means
from pellucid.features.steering.passes import EditedPass
from pellucid.features.steering.prompt import texts, tokenize
from pellucid.features.steering.steerable import Steerable
from pellucid.hosts import Host
from pellucid.training import run_config

MULTIPLES = (-4.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Strengths of a dose-response curve, in units of the edit's value."""
TOP_TOKENS = 3
"""Tokens that the curve follows: those the atom raises most on the direct path."""
TEXTS, CONTEXT = 8, 32
"""Held-out texts of the curve, and their length in tokens."""


class EditList(Config):
    """A file of edits."""

    edits: tuple[Edit, ...]
    """Edits that act together."""


@dataclass(frozen=True)
class SteeringReport:
    """What edits do to one prompt."""

    prompt: str
    edits: list[Edit]
    next_tokens: NextTokens
    before: Generation
    after: Generation
    curve: DoseResponse | None = None

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "prompt": self.prompt,
            "edits": [edit.model_dump(mode="json") for edit in self.edits],
            "next_tokens": asdict(self.next_tokens),
            "before": asdict(self.before),
            "after": asdict(self.after),
            "dose_response": None if self.curve is None else self.curve.to_json(),
        }

    def to_text(self) -> str:
        """Return what a person reads in a terminal."""
        edited = "; ".join(f"{site}: {_ranges(at)}" for site, at in self.next_tokens.edited.items()) or "none"
        lines = ["edits", *(f"  {edit.describe()}" for edit in self.edits), f"  positions of the prompt edited: {edited}", ""]
        lines += [f"next token after {self.prompt[-60:]!r} (KL {self.next_tokens.kl:.3g} nats)"]
        lines += [f"  {t.text!r:<20} {t.before:8.4f} -> {t.after:8.4f}" for t in self.next_tokens.tokens]
        lines += ["", f"without edits: {self.before.text!r}", f"with edits:    {self.after.text!r}"]
        return "\n".join([*lines, *([] if self.curve is None else _curve_lines(self.curve))])


def read_edits(path: str | Path) -> list[Edit]:
    """Read a YAML file with one key, `edits`: a list of edits. ConfigError says what does not fit."""
    return list(configs.load(EditList, path).edits)


def steer(
    run: str | Path,
    prompt: str,
    edits: Sequence[Edit],
    *,
    max_new_tokens: int = 32,
    temperature: float = 0.0,
    top: int = 8,
    curve: bool = False,
    seed: int = 0,
    host: Host | None = None,
    data: DataSource | None = None,
) -> SteeringReport:
    """Return what edits do to a prompt on a run's host: next tokens, a generation, and if `curve` a dose-response curve.

    `host` and `data` (needed for mean codes and curves) default to the run's own. Raises ConfigError, DataError or RunError
    for an edit, a prompt or a run that does not fit; warns by name of dictionaries trained on another host.
    """
    steerable = Steerable.open(run, host)
    tokens = tokenize(steerable.host, prompt)
    edits = list(edits)
    if curve and len(edits) != 1:
        raise ConfigError(f"a dose-response curve is of one edit, found {len(edits)}; give one")
    if data is None and (curve or any(e.operation == "ablate_mean" and e.value is None for e in edits)):
        data = load_text(run_config(Path(run)).data, steerable.host.tokenizer)
    if data is not None:
        edits = with_means(steerable, edits, data)
    changed = next_tokens(steerable, tokens, edits, top=top)
    before, after = (
        generate(steerable, tokens, some, max_new_tokens=max_new_tokens, temperature=temperature, seed=seed)
        for some in ((), edits)
    )
    found = None if not curve or data is None else _curve(steerable, edits[0], data)
    return SteeringReport(prompt, edits, changed, before, after, found)


def _curve(steerable: Steerable, edit: Edit, data: DataSource) -> DoseResponse:
    if edit.value in (None, 0.0):
        raise ConfigError(f"a dose-response curve is in units of the edit's value, found {edit.value}; give one other than 0")
    assert edit.value is not None
    rows = data.held_out_rows(torch.arange(min(TEXTS, data.n_held_out))).to(steerable.host.device).inputs["input_ids"]
    rows = rows[:, :CONTEXT]
    read = torch.ones_like(rows, dtype=torch.bool)
    read[:, : steerable.exclude_first] = False
    ((site, components),) = steerable.bind([edit], rows.shape[1], rows.shape[1]).components.items()
    text = EditedPass(steerable, rows, read=read, sites=[site])
    row = components[0].row.unsqueeze(0)
    effects = logit_effects(steerable.host, site, row, steerable.head(rows), inputs={"input_ids": rows[:1]})
    if effects.values is None:
        raise SiteError(f"a dose-response curve follows the tokens an atom raises, but {effects.reason}")
    tokens = effects.values[0].topk(TOP_TOKENS).indices
    strengths = [multiple * edit.value for multiple in MULTIPLES]
    return dose_response(text, edit, tokens.tolist(), strengths=strengths, names=texts(steerable.host, tokens))


def _curve_lines(curve: DoseResponse) -> list[str]:
    shape = curve.shape
    ends = [f"{end:g}" for end in (shape.broken_below, shape.broken_above) if end is not None]
    lines = ["", f"dose-response of {', '.join(map(repr, curve.tokens))} on held-out text"]
    lines += ["  strength  probability  log-odds       KL  perplexity  fluency  harmonic mean"]
    lines += [
        f"  {d.strength:8.4g}  {d.concept:11.4g}  {d.log_odds:8.3f} {d.kl:8.3f}  {d.perplexity:10.4g}  {d.fluency:7.3f}"
        f"  {d.harmonic_mean:13.4g}"
        for d in curve.doses
    ]
    lines += [f"  log-odds rise at every step from {shape.monotone_from:g} to {shape.monotone_to:g}"]
    return [*lines, f"  degenerate (perplexity over ten times the original's) at: {', '.join(ends) or 'no strength tried'}"]


def _ranges(positions: list[int]) -> str:
    """Write sorted positions with runs as 'first-last'."""
    parts: list[list[int]] = []
    for position in positions:
        if parts and position == parts[-1][-1] + 1:
            parts[-1][-1:] = [parts[-1][-1], position] if len(parts[-1]) == 1 else [position]
        else:
            parts.append([position])
    return ", ".join("-".join(map(str, part)) for part in parts) or "none"
