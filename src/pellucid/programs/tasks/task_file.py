"""A user's task: a Python file with LOW, HIGH, LENGTH, optionally WIDTH, and outputs(xs)."""

from __future__ import annotations

import traceback
import types
from collections.abc import Callable
from numbers import Integral
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor

from pellucid.core.errors import ConfigError, DataError, did_you_mean, raise_all
from pellucid.programs.tasks.base import InputDomain

NAMES = ("LOW", "HIGH", "LENGTH", "WIDTH")
LARGEST_OUTPUT = 2**53
"""Outputs from here on are not exact in float64."""


class FileTask:
    """The task of a Python file. The file is the user's own code: it is run as it is, in this process."""

    def __init__(self, path: str | Path, source: str, domain: InputDomain, outputs: Callable[[list[Any]], Any]) -> None:
        self.name, self.path, self.domain = Path(path).stem, Path(path), domain
        self._source, self._outputs = source, outputs
        self.out_width = 1
        probe = domain.uniform(8, domain.length, torch.Generator().manual_seed(0)).tolist()
        self.out_width = _width(self._called(_as_inputs(probe[0])), self.path)
        for steps in probe:
            self._probe(_as_inputs(steps))

    def outputs(self, xs: list[Any]) -> list[Any]:
        """Return the outputs of one sequence; DataError naming file and line if the file's function fails."""
        ys = self._called(xs)
        if not isinstance(ys, (list, tuple)):
            raise DataError(f"{self.path}: outputs({_short(xs)}) returned {type(ys).__name__}, wanted a list of integers")
        if len(ys) != len(xs):
            raise DataError(
                f"{self.path}: outputs({_short(xs)}) returned {len(ys)} outputs for {len(xs)} inputs, wanted one for each"
            )
        return [self._checked(y, t, xs) for t, y in enumerate(ys)]

    def outputs_of(self, xs: Int64[Tensor, "n t i"]) -> Int64[Tensor, "n t o"]:
        """Return the outputs of many sequences, one call of the file's function for each."""
        rows = [self.outputs(_as_inputs(steps)) for steps in xs.tolist()]
        return torch.tensor(rows, dtype=torch.int64).view(len(xs), xs.shape[1], self.out_width)

    def sample(self, n: int, length: int, generator: torch.Generator | None = None) -> Int64[Tensor, "n t i"]:
        """Return n sequences of independent uniform inputs."""
        return self.domain.uniform(n, length, generator)

    def _called(self, xs: list[Any]) -> Any:
        try:
            return self._outputs(list(xs))
        except Exception as error:
            raise DataError(f"{self.path}{_place(error, self.path)}: outputs({_short(xs)}) raised {_said(error)}") from error

    def _checked(self, y: Any, t: int, xs: list[Any]) -> Any:
        parts = [y] if self.out_width == 1 else y
        where = f"{self.path}: output {t + 1} of outputs({_short(xs)})"
        if not isinstance(parts, (list, tuple)) or len(parts) != self.out_width:
            raise DataError(f"{where} is {y!r:.80}, wanted {self.out_width} integers as in the other outputs")
        for part in parts:
            if not isinstance(part, Integral):  # True and False count as 1 and 0, as they do in Python
                raise DataError(f"{where} is {part!r:.80} ({type(part).__name__}), wanted an integer: use int(...) in the file")
            if abs(int(part)) >= LARGEST_OUTPUT:
                raise DataError(f"{where} is {part}, wanted less than 2^53, beyond which float64 is not exact")
        return int(y) if self.out_width == 1 else tuple(int(part) for part in parts)

    def _probe(self, xs: list[Any]) -> None:
        """Refuse outputs that change from call to call, or that depend on inputs still to come."""
        ys = self.outputs(xs)
        if self.outputs(xs) != ys:
            raise DataError(f"{self.path}: outputs({_short(xs)}) gave two different answers; a task must be deterministic")
        for t in {1, len(xs) // 2} - {0}:
            start = self.outputs(xs[:t])
            if start != ys[:t]:
                raise DataError(
                    f"{self.path}: outputs({_short(xs[:t])}) is {_short(start)}, but the same inputs with more behind them "
                    f"begin with {_short(ys[:t])}. An output may depend on the inputs so far alone"
                )


def load_task(path: str | Path) -> FileTask:
    """Run a task file and return its task.

    Raises ConfigError listing everything that is missing or of a wrong kind, DataError naming file and line if the file
    or its function raises.
    """
    path = Path(path)
    try:
        source = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"task file {path} does not exist") from None
    except (UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"task file {path} cannot be read as text: {error}") from None
    module = types.ModuleType(path.stem)
    module.__file__ = str(path)
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)  # the user's own file, as `python my_task.py` would
    except SyntaxError as error:
        raise ConfigError(f"{path} line {error.lineno}: {error.msg}") from None
    except (Exception, SystemExit) as error:
        raise DataError(f"{path}{_place(error, path)}: running the file raised {_said(error)}") from error
    return FileTask(path, source, _domain(path, module), module.outputs)


def _domain(path: Path, module: types.ModuleType) -> InputDomain:
    problems: list[str] = []
    values: dict[str, Any] = {}
    written = [name for name in vars(module) if not name.startswith("_")]
    for name in NAMES:
        value = getattr(module, name, 1 if name == "WIDTH" else None)
        if value is None:
            problems.append(f"{name} is missing.{did_you_mean(name, written)}")
        elif isinstance(value, bool) or not isinstance(value, int):
            problems.append(f"{name} is {value!r:.80}, wanted an integer")
        values[name.lower()] = value
    if not callable(getattr(module, "outputs", None)):
        problems.append(f"a function outputs(xs) is missing.{did_you_mean('outputs', written)}")
    raise_all(problems, ConfigError, title=f"task file {path} lacks what a task needs")
    try:
        return InputDomain(**values)
    except ConfigError as error:
        raise ConfigError(f"task file {path}: {error}") from None


def _width(ys: Any, path: Path) -> int:
    """Return how many integers the first output holds; anything odd is left for the check of each output."""
    first = ys[0] if isinstance(ys, (list, tuple)) and ys else 0
    if isinstance(first, (list, tuple)):
        if not first:
            raise DataError(f"{path}: the first output is an empty {type(first).__name__}, wanted integers")
        return len(first)
    return 1


def _as_inputs(steps: list[list[int]]) -> list[Any]:
    """Inputs of one sequence as the file's function gets them: ints, or tuples where there are several a step."""
    return [step[0] if len(step) == 1 else tuple(step) for step in steps]


def _place(error: BaseException, path: Path) -> str:
    """' line N' of the last frame in the file itself, or ''."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f" line {lines[-1]}" if lines else ""


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _short(values: list[Any]) -> str:
    text = repr(list(values))
    return text if len(text) <= 80 else text[:77] + "..."
