"""Frozen configuration objects: the same from Python, a YAML file or flags."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from pellucid.core.errors import ConfigError, did_you_mean, raise_all


class Config(BaseModel):
    """Base of every config: frozen, unknown keys refused, field docstrings are the help texts."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True)


C = TypeVar("C", bound=Config)


def build(cls: type[C], values: dict[str, Any], where: str = "config") -> C:
    """Make a `cls` from plain values.

    Raises ConfigError listing every unknown key (with the nearest known one) and every bad value at once.
    """
    try:
        return cls.model_validate(values)
    except ValidationError as error:
        problems = [_sentence(cls, item) for item in error.errors()]
    raise_all(problems, ConfigError, title=f"{where} does not fit {cls.__name__}")
    raise AssertionError("unreachable")


def load_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML mapping; ConfigError names the file and line if it is not one."""
    path = Path(path)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"config file {path} does not exist") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"config file {path} is not valid YAML: {error}") from None
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise ConfigError(f"config file {path} holds a {type(values).__name__}, wanted 'key: value' lines")
    return values


def load(cls: type[C], path: str | Path) -> C:
    """Read a `cls` from a YAML file; raises ConfigError as `build` does."""
    return build(cls, load_yaml(path), where=str(path))


def narrowed(cls: type[C], config: C) -> C:
    """Return those settings of a config that belong to `cls`, of which its class is a kind (a verb's, without its flags)."""
    return cls(**{name: getattr(config, name) for name in cls.model_fields})


def dump(config: Config) -> str:
    """Return the config as YAML, fields in their declared order."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def explain(cls: type[Config]) -> str:
    """Return the config's sentence and a line for each field but `kind`: name (default), then the field's sentence."""
    lines = [(cls.__doc__ or "").strip()]
    for name, field in cls.model_fields.items():
        if name != "kind":
            default = "required" if field.is_required() else f"default {field.get_default(call_default_factory=True)}"
            lines.append(f"  {name} ({default}): {field.description}")
    return "\n".join(lines)


def digest(config: Config) -> str:
    """Return the sha256 of the config's canonical JSON: equal configs, equal digests."""
    text = json.dumps(config.model_dump(mode="json"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _sentence(cls: type[Config], item: Any) -> str:
    path = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        key = str(item["loc"][-1])
        return f"unknown key '{path}'.{did_you_mean(key, _known_keys(cls))}"
    if item["type"] == "missing":
        return f"'{path}' is missing"
    message = item["msg"].removeprefix("Value error, ")
    found = item.get("input")
    return f"'{path}': {message}" if isinstance(found, dict) else f"'{path}': {message} (found {found!r})"


def _known_keys(cls: type[Config]) -> set[str]:
    """Field names of the config and of every config nested in it."""
    keys: set[str] = set()
    queue: list[Any] = [cls]
    seen: set[int] = set()
    while queue:
        kind = queue.pop()
        if id(kind) in seen:
            continue
        seen.add(id(kind))
        if isinstance(kind, type) and issubclass(kind, Config):
            keys |= set(kind.model_fields)
            queue += [field.annotation for field in kind.model_fields.values()]
            queue += kind.__subclasses__()  # a field may hold any of them, such as the config of any architecture
        else:
            queue += list(getattr(kind, "__args__", ()))
    return keys
