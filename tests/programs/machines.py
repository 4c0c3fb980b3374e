"""Random expressions and machines, and plain Python to run their text in."""

from __future__ import annotations

import random

from pellucid.programs.language import Call, Constant, Expression, Lookup, Machine, State, Variable

TWO = ("add", "sub", "mul", "min", "max")
BY_CONSTANT = ("mod", "floordiv")
ONE = ("abs", "neg")
RANKED = ("argmax", "argmin")
COMPARE = ("eq", "ne", "lt", "le", "ge")
JOINED = ("and", "or", "not")
USED = {*TWO, *BY_CONSTANT, *ONE, *RANKED, *COMPARE, *JOINED, "if"}


def expression(draw: random.Random, names: tuple[str, ...], depth: int = 3) -> Expression:
    """Return a whole-numbered expression over the names; every operator occurs but division into fractions."""
    if depth == 0 or draw.random() < 0.15:
        return Variable(draw.choice(names)) if draw.random() < 0.65 else Constant(draw.choice((0, 1, draw.randint(-9, 12))))

    def inner() -> Expression:
        return expression(draw, names, depth - 1)

    kind = draw.random()
    if kind < 0.35:
        return Call(draw.choice(TWO), (inner(), inner()))
    if kind < 0.5:
        return Call(draw.choice(BY_CONSTANT), (inner(), Constant(draw.randint(2, 9))))
    if kind < 0.6:
        return Call(draw.choice(ONE), (inner(),))
    if kind < 0.65:
        return Call(draw.choice(RANKED), tuple(inner() for _ in range(draw.choice((2, 3)))))
    if kind < 0.8:
        return Call("if", (truth(draw, names, depth - 1), inner(), inner()))
    return truth(draw, names, depth - 1)


def truth(draw: random.Random, names: tuple[str, ...], depth: int) -> Expression:
    """Return a condition: a comparison, or what is made of them."""
    if depth < 1 or draw.random() < 0.6:
        return Call(draw.choice(COMPARE), tuple(expression(draw, names, max(depth - 1, 0)) for _ in range(2)))
    operator = draw.choice(JOINED)
    return Call(operator, tuple(truth(draw, names, depth - 1) for _ in range(1 if operator == "not" else 2)))


def looked_up(argument: Expression, name: str = "T", start: int = -3) -> Lookup:
    """Return a table over the argument modulo 7."""
    key = Call("add", (Call("mod", (argument, Constant(7))), Constant(start)))
    return Lookup(name, tuple(((start + k,), (3 * k) % 5) for k in range(7)), (key,))


def machine(draw: random.Random, width: int = 1) -> Machine:
    """Return a machine of up to three states that read each other; they stay small, as they are taken modulo 50."""
    inputs = ("x",) if width == 1 else ("p", "q")
    names = tuple(f"s{i + 1}" for i in range(draw.randint(0, 3)))

    def update() -> Expression:
        return expression(draw, (*names, *inputs), 2)

    states = tuple(State(name, draw.randint(-3, 3), Call("mod", (update(), Constant(50)))) for name in names)
    outputs = tuple(update() for _ in range(draw.choice((1, 2))))
    if draw.random() < 0.5:
        outputs = (*outputs, looked_up(outputs[0]))
    return Machine(inputs, states, outputs, draw.random() < 0.5)


def program_of(source: str):
    """Return the function of emitted text, run with the built-ins that it may use alone."""
    names: dict = {"__builtins__": {"abs": abs, "int": int, "max": max, "min": min}}
    exec(compile(source, "program.py", "exec"), names)
    return names["program"]
