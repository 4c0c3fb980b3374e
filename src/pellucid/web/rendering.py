"""Templates with one set of filters; whatever a template does not mark as ours is escaped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pellucid.core.errors import PellucidError
from pellucid.web.text import visible

TEMPLATES = Path(__file__).parent / "templates"


def environment(*folders: Path) -> Any:
    """Return a jinja2 environment over template folders, the first that has a name winning.

    PellucidError if jinja2 is not installed.
    """
    try:
        import jinja2
        import markupsafe
    except ImportError:
        raise PellucidError("pages need jinja2, which is not installed: pip install 'pellucid[web]'") from None
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folders),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    # Our own style and script, and SVG whose texts are escaped when it is built, are the only unescaped parts.
    made.filters |= {
        "visible": visible,
        "flat": flat,
        "sentence": sentence,
        "svg": markupsafe.Markup,
        "ours": markupsafe.Markup,
    }
    return made


def sentence(text: str) -> str:
    """Return text with a capital at its start and a full stop at its end."""
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def flat(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Return nested JSON as (dotted key, text) pairs; a list of plain values becomes one text."""
    if isinstance(value, dict):
        return [pair for key, inner in value.items() for pair in flat(inner, f"{prefix}.{key}" if prefix else str(key))]
    if isinstance(value, list) and any(isinstance(inner, (dict, list)) for inner in value):
        return [pair for index, inner in enumerate(value) for pair in flat(inner, f"{prefix}.{index}")]
    text = " ".join(map(str, value)) if isinstance(value, list) else "not stated" if value is None else str(value)
    return [(prefix, visible(text))]
