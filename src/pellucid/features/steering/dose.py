"""Dose and response: what an edit does as it gets stronger."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from pellucid.core.errors import ConfigError, raise_all
from pellucid.features.steering.curve import Shape, shape, with_zero
from pellucid.features.steering.edit import Edit
from pellucid.features.steering.passes import EditedPass, kl_divergence, log_odds

DEGENERATE = 0.1
"""Fluency below which an edited host counts as degenerate: its perplexity on the text is ten times the original's."""
STRENGTHS = (-1.0, -0.5, -0.25, -0.1, -0.05, 0.0, 0.05, 0.1, 0.25, 0.5, 1.0)
"""Strengths in lengths of the site's value."""


@dataclass(frozen=True)
class Dose:
    """The response to one strength, means over the read positions."""

    strength: float
    concept: float
    """Probability of the concept's tokens together."""
    log_odds: float
    """Mean of log(P / (1 - P)) of the concept's tokens, in nats."""
    tokens: list[float]
    """Mean probability of each of them."""
    kl: float
    """KL(original || edited) in nats."""
    perplexity: float
    """exp of the edited host's mean cross-entropy on the text's own next tokens."""
    fluency: float
    """Perplexity of the original over that of the edited host, at most 1."""
    harmonic_mean: float
    """2 concept fluency / (concept + fluency): high only where the concept comes and the language stays."""


@dataclass(frozen=True)
class DoseResponse:
    """A curve over strengths, and how far it is monotone."""

    edit: str
    tokens: list[str]
    """The concept's tokens, as text or numbers."""
    doses: list[Dose]
    """In order of strength."""
    shape: Shape
    """Where the log-odds rise at every step; broken means degenerate, fluency under DEGENERATE."""

    def to_json(self) -> dict[str, Any]:
        """Return the curve as JSON values."""
        return asdict(self)


def dose_response(
    texts: EditedPass, edit: Edit, tokens: Sequence[int], *, strengths: Sequence[float] = STRENGTHS, names: Sequence[str] = ()
) -> DoseResponse:
    """Return the response of `tokens` to `edit` with each of `strengths` in the place of its value.

    The texts must have next tokens at some of the read positions (perplexity). Strength 0 is always among the strengths; for
    additions it is the original. `names` are the tokens' texts. Raises ConfigError if a strength is not finite, the edit's
    operation takes no value or the log-odds of the tokens are not defined, and as `EditedPass.after` does.
    """
    problems = [f"strength {s} is not a finite number" for s in strengths if not math.isfinite(s)]
    if edit.operation not in ("add", "set", "scale"):
        problems.append(f"operation '{edit.operation}' has no strength; wanted add, set or scale")
    places, labels = texts.labels()
    if not len(places):
        problems.append("no read position has a next token in its text, so perplexity is not defined; read earlier positions")
    raise_all(problems, ConfigError)
    original = _perplexity(texts.before, places, labels)
    doses = []
    for strength in with_zero(strengths):
        after = texts.after([edit.model_copy(update={"value": strength})])
        perplexity = _perplexity(after, places, labels)
        probabilities = after[:, list(tokens)].exp().mean(dim=0)
        concept, fluency = float(probabilities.sum()), min(1.0, original / perplexity)
        doses.append(
            Dose(
                strength,
                concept,
                float(log_odds(after, tokens).mean()),
                probabilities.tolist(),
                float(kl_divergence(texts.before, after).mean()),
                perplexity,
                fluency,
                harmonic_mean(concept, fluency),
            )
        )
    broken = [dose.fluency < DEGENERATE for dose in doses]
    curve = shape([dose.strength for dose in doses], [dose.log_odds for dose in doses], broken)
    return DoseResponse(edit.describe(), list(names) or [str(token) for token in tokens], doses, curve)


def harmonic_mean(a: float, b: float) -> float:
    """Return 2 a b / (a + b); 0 if both are 0."""
    return 2 * a * b / (a + b) if a + b > 0 else 0.0


def _perplexity(log_p: Float[Tensor, "r v"], places: Tensor, labels: Tensor) -> float:
    # Clamped, so that a host which degenerates altogether has a number that JSON can hold.
    return math.exp(min(float(-log_p[places, labels].double().mean()), 700.0))
