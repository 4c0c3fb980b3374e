"""The 62 tasks of MIPS (Michaud et al. 2024, arXiv 2402.05110), by the names of its data set."""

from __future__ import annotations

from pellucid.core.errors import ConfigError, did_you_mean
from pellucid.programs.tasks import counting, machines, memory
from pellucid.programs.tasks.base import InputDomain
from pellucid.programs.tasks.rule import Batched, Plain, Rule

BITS, BIT_PAIRS = InputDomain(0, 1), InputDomain(0, 1, width=2)
DIGITS, BYTES = InputDomain(0, 9), InputDomain(0, 99)
LONG, SIGNED, FORCE = InputDomain(0, 99, length=20), InputDomain(-100, 99), InputDomain(-10, 10)
SQUARES = (0, 1, 4, 9, 16)


def _even(x: int) -> int:
    return 1 - x % 2


def _table() -> dict[str, tuple[InputDomain, tuple[Plain, Batched]]]:
    table: dict[str, tuple[InputDomain, tuple[Plain, Batched]]] = {}
    table["Binary_Addition"] = BIT_PAIRS, machines.digit_addition(2)
    for base in range(3, 8):
        table[f"Base_{base}_Addition"] = InputDomain(0, base - 1, width=2), machines.digit_addition(base)
    table["Bitwise_Xor"] = BIT_PAIRS, memory.pointwise_pairs(lambda p, q: p ^ q, lambda p, q: p ^ q)
    table["Bitwise_Or"] = BIT_PAIRS, memory.pointwise_pairs(lambda p, q: p | q, lambda p, q: p | q)
    table["Bitwise_And"] = BIT_PAIRS, memory.pointwise_pairs(lambda p, q: p & q, lambda p, q: p * q)
    table["Bitwise_Not"] = BITS, memory.pointwise(lambda x: 1 - x, lambda x: x == 0)
    for k in (2, 3, 4):
        table[f"Parity_Last{k}"] = BITS, memory.parity_last(k)
    table["Parity_All"] = BITS, counting.running_sum(lambda x: x, lambda x: x, mod=2)
    table["Parity_Zeros"] = BITS, counting.running_sum(lambda x: 1 - x, lambda x: x == 0, mod=2)
    table["Evens_Counter"] = DIGITS, counting.running_sum(_even, lambda x: x % 2 == 0)
    table["Sum_All"] = BYTES, counting.running_sum(lambda x: x, lambda x: x)
    for k in range(2, 8):
        table[f"Sum_Last{k}"] = LONG if k >= 5 else BYTES, memory.sum_last(k)
    table["Current_Number"] = BYTES, memory.previous(0)
    for k in range(1, 6):
        table[f"Prev{k}"] = LONG if k >= 5 else BYTES, memory.previous(k)
    table["Previous_Equals_Current"] = InputDomain(0, 7), memory.of_last_two(lambda a, b: int(a == b), lambda a, b: a == b)
    table["Diff_Last2"] = SIGNED, memory.of_last_two(lambda a, b: b - a, lambda a, b: b - a)
    table["Abs_Diff"] = SIGNED, memory.of_last_two(lambda a, b: abs(b - a), lambda a, b: (b - a).abs())
    table["Abs_Current"] = SIGNED, memory.pointwise(abs, lambda x: x.abs())
    table["Diff_Abs_Values"] = SIGNED, memory.of_last_two(lambda a, b: abs(b) - abs(a), lambda a, b: b.abs() - a.abs())
    table["Min_Seen"], table["Max_Seen"] = (DIGITS, counting.smallest()), (BYTES, counting.largest())
    for n in (2, 3, 4):
        table[f"Majority_0_{n - 1}"] = InputDomain(0, n - 1), counting.majority(n)
    table["Evens_Detector"] = DIGITS, memory.pointwise(_even, lambda x: x % 2 == 0)
    square = memory.pointwise(lambda x: int(x in SQUARES), lambda x: x.double().sqrt().frac() == 0)
    table["Perfect_Square_Detector"] = InputDomain(0, 19), square
    table["Bit_Palindrome"] = BITS, counting.palindrome()
    table["Balanced_Parenthesis"] = BITS, counting.balanced_parenthesis()
    table["Parity_Bits_Mod2"] = BITS, counting.index_parity()
    for k in (3, 4):
        table[f"Alternating_Last{k}"] = BITS, memory.alternating_last(k)
    table["Bit_Shift_Right"] = BITS, memory.previous(1)
    table["Bit_Dot_Prod_Mod2"] = BIT_PAIRS, counting.dot_product_mod2()
    for n in (3, 5, 7):
        table[f"Div_{n}"] = BITS, machines.long_division(n)
    for n in range(3, 9):
        table[f"Add_Mod_{n}"] = InputDomain(0, n - 1), counting.running_sum(lambda x: x, lambda x: x, mod=n)
    table["Dithering"] = InputDomain(0, 15), machines.dithering(15)
    table["Newton_Freebody"] = FORCE, machines.newton()
    table["Newton_Gravity"] = FORCE, machines.newton(gravity=1)
    table["Newton_Spring"] = FORCE, machines.newton(spring=1)
    table["Newton_Magnetic"] = InputDomain(-10, 10, width=2), machines.newton_magnetic()
    return table


OUT_WIDTHS = {"Newton_Magnetic": 2}
SAMPLERS = {"Bit_Palindrome": counting.palindrome_prefixes}

TASKS: dict[str, Rule] = {
    name: Rule(name, domain, plain, batched, OUT_WIDTHS.get(name, 1), SAMPLERS.get(name))
    for name, (domain, (plain, batched)) in _table().items()
}
"""Name -> task, in the order of the data set."""


def named_task(name: str) -> Rule:
    """Return the task of this name; ConfigError lists near names if there is none."""
    if name not in TASKS:
        raise ConfigError(f"there is no task {name!r}.{did_you_mean(name, TASKS)} All {len(TASKS)}: {', '.join(TASKS)}")
    return TASKS[name]
