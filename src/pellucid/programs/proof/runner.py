"""What the separate process runs: reads an order from stdin, limits itself, executes the code, writes the answer."""

import ast
import builtins
import json
import resource
import sys
from typing import Any

ALLOWED = ["abs", "bool", "dict", "divmod", "enumerate", "int", "len", "list", "max", "min", "range", "set", "sorted", "sum"]
ALLOWED += ["tuple", "zip"]
FORBIDDEN = (ast.Import, ast.ImportFrom, ast.Global, ast.Nonlocal, ast.ClassDef, ast.AsyncFunctionDef, ast.Try, ast.With)


def limit(seconds: int, memory: int) -> None:
    """Lower the limits of this process; they cannot be raised again."""
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))  # nothing can be opened any more, sockets included
    if hasattr(resource, "RLIMIT_NPROC"):
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


def refuse(source: str) -> None:
    """Raise SyntaxError for code that imports or reaches for private attributes."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, FORBIDDEN):
            raise SyntaxError(f"{type(node).__name__} is not allowed in a program")
        name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
        if name.startswith("_"):
            raise SyntaxError(f"the name {name} is not allowed in a program")


def as_list(ys: Any, number: int) -> list[Any]:
    """Return what the program returned for a sequence; TypeError if it is no list."""
    if not isinstance(ys, list):
        raise TypeError(f"it returned {type(ys).__name__} for sequence {number}, wanted a list")
    return ys


def main() -> None:
    """Run the order."""
    order = json.load(sys.stdin)
    limit(order["seconds"], order["bytes"])
    sequences = [[tuple(x) if isinstance(x, list) else x for x in xs] for xs in order["sequences"]]
    try:
        refuse(order["source"])
        names: dict[str, Any] = {"__builtins__": {name: getattr(builtins, name) for name in ALLOWED}}
        exec(compile(order["source"], "program.py", "exec"), names)
        if not callable(names.get("program")):
            raise NameError("it defines no program(xs)")
        outputs = [as_list(names["program"](list(xs)), i + 1) for i, xs in enumerate(sequences)]
    except Exception as error:  # noqa: BLE001 - whatever the program raises is the answer
        json.dump({"error": f"{type(error).__name__}: {error}"}, sys.stdout)
        return
    json.dump({"outputs": outputs}, sys.stdout)


if __name__ == "__main__":
    main()
