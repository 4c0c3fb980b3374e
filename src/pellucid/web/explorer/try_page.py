"""The page with the host: what was typed and changed is in its address."""

from __future__ import annotations

from typing import Any

from pellucid.core.errors import ConfigError
from pellucid.features.steering import Edit
from pellucid.web.explorer.examples_view import line
from pellucid.web.explorer.explored import ExploredRun
from pellucid.web.explorer.links import Links
from pellucid.web.explorer.trial import MAX_CHARACTERS, MAX_NEW_TOKENS, MAX_TOKENS

OPERATIONS = {
    "add": "add to it",
    "set": "set it to",
    "scale": "multiply it by",
    "ablate_zero": "switch it off",
}
"""Changes offered, with the words before their value."""
PROMPT = "The president of the United States lives in the"


def values(run: ExploredRun, parameters: dict[str, str], links: Links) -> dict[str, Any]:
    """Return what the template shows; ConfigError if a change in the address cannot be read."""
    name = run.of(parameters.get("dictionary") or next(iter(run.features))).name
    latent, operation, value = ([*parameters.get("change", "").split(":"), "", ""])[:3]
    if latent and (not latent.isdecimal() or operation not in OPERATIONS):
        wanted = f"LATENT:OPERATION:VALUE with one of {', '.join(OPERATIONS)}"
        raise ConfigError(f"the change '{parameters['change'][:80]}' cannot be read; wanted {wanted}")
    return {
        "name": name,
        "names": list(run.features),
        "text": parameters.get("text") or "",
        "example": PROMPT,
        "latent": latent,
        "operation": operation or "add",
        "value": value,
        "operations": OPERATIONS,
        "help": Edit.model_fields["operation"].description,
        "max_tokens": MAX_TOKENS,
        "max_characters": MAX_CHARACTERS,
        "max_new_tokens": MAX_NEW_TOKENS,
        "command": f"pellucid explore {run.run}",
    }


def explained(run: ExploredRun, name: str, found: dict[str, Any]) -> dict[str, Any]:
    """Add to the active features of a text what is known of each: explanation, best example, greatest code, link."""
    features = run.of(name)
    explanations, statistics = features.explanations(), features.statistics()
    about: dict[str, dict[str, Any]] = {}
    for latent in {latent for token in found["tokens"] for latent, _ in token["latents"]}:
        text = explanations.text(latent) if explanations else None
        about[str(latent)] = {
            "text": text,
            "example": [[piece.text, piece.peak] for piece in line(features.best(latent, 0.0 if about else 2.0))],
            "max": statistics.value("max", latent),
        }
    return found | {"features": about}
