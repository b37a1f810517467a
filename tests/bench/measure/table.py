# SPDX-License-Identifier: Apache-2.0
"""Figures beside their floors, medians with their uncertainty, and the table that shows them."""

import random
import statistics
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One line of the table. `compared`: the ratio or the difference that the budget speaks of."""

    row: str
    what: str
    ours: str
    floor: str
    compared: str
    budget: str
    is_met: bool

    @classmethod
    def at_least(cls, row, what, ours, floor, ratio, budget):
        return cls(row, what, ours, floor, f"{ratio:.2f} x", f">= {budget:g} x", ratio >= budget)

    @classmethod
    def at_most(cls, row, what, ours, floor, ratio, budget):
        return cls(row, what, ours, floor, f"{ratio:.2f} x", f"<= {budget:g} x", ratio <= budget)

    @classmethod
    def seconds(cls, row, what, took, budget):
        """A time that has a limit of its own and no floor."""
        return cls(row, what, f"{took:.2f} s", "", f"{took:.2f} s", f"<= {budget:g} s", took <= budget)

    @classmethod
    def limit(cls, row, what, ours, floor, more, budget):
        """Milliseconds that have a limit of their own; the floor is shown beside them."""
        return cls(row, what, f"{ours:.0f} ms", f"{floor:.0f} ms", f"{ours / floor:.2f} x; {more}", f"<= {budget:g} ms",
                   ours <= budget)

    @classmethod
    def within(cls, row, what, ours, floor, difference, interval, budget, both_ways=False):
        """A difference in ms with its interval. `both_ways`: too fast would be as odd as too slow."""
        is_met = abs(difference) <= budget if both_ways else difference <= budget
        low, high = interval
        return cls(row, what, f"{ours:.2f} ms", f"{floor:.2f} ms", f"{difference:+.2f} [{low:+.2f} {high:+.2f}] ms",
                   f"{'0 +-' if both_ways else '<= +'}{' ' if both_ways else ''}{budget:g} ms", is_met)


HEADINGS = ("#", "what", "ours", "floor", "compared", "budget", "")


def as_text(figures):
    rows = [HEADINGS, *((one.row, one.what, one.ours, one.floor, one.compared, one.budget,
                         "met" if one.is_met else "NOT MET") for one in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def paired(ours, floor):
    """The median of the differences of measurements that were taken in pairs, and its 95 % interval."""
    differences = [one - other for one, other in zip(ours, floor, strict=True)]
    return statistics.median(differences), _bootstrap(differences)


def _bootstrap(values, rounds=2000):
    chance = random.Random(1)  # the same numbers give the same interval
    medians = sorted(statistics.median(chance.choices(values, k=len(values))) for _ in range(rounds))
    return medians[int(rounds * 0.025)], medians[int(rounds * 0.975)]
