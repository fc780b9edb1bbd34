"""The language that filters runs, in the interface and in the shell, e.g. ``recipe:tuned lr<0.01 best>0.9 -demo``."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from facegender.runs.run_table import Column, find_column
from facegender.runs.summary import RunSummary
from facegender.support.errors import UserError
from facegender.support.text import one_line

HELP = (
    'Filter: words match name and note; column:text, column=text, and < <= > >= = != with numbers, e.g. "recipe:tuned '
    'lr<0.01 best>0.9 age<2d"; a comma separates alternatives, quotes keep blanks together, -word negates.'
)

_TERM = re.compile(
    r"""(?P<minus>-?)
    (?:(?P<column>[A-Za-z_]+)\s*(?P<sign>:|<=|>=|!=|=|<|>)\s*)?
    (?P<text>(?:"[^"]*"?|[^"\s])*)""",
    re.VERBOSE,
)
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, ":": math.isclose, "=": math.isclose,
    "!=": lambda value, wanted: not math.isclose(value, wanted),
}  # fmt: skip
_UNITS = {"": 1.0, "%": 0.01, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}

Test = Callable[[RunSummary, float], bool]
"""Whether a run matches, given the seconds since 1970 that it is now."""


@dataclass(frozen=True)
class RunFilter:
    """A parsed filter: a run matches if it matches all terms."""

    terms: tuple[Test, ...] = ()

    def matches(self, run: RunSummary, now: float) -> bool:
        """Tell whether a run matches.

        Args:
            now: Seconds since 1970.
        """
        return all(term(run, now) for term in self.terms)

    def select(self, runs: Iterable[RunSummary], now: float) -> list[RunSummary]:
        """Return the runs that match, in their order."""
        return [run for run in runs if self.matches(run, now)]


def parse_filter(text: str) -> RunFilter:
    """Parse a filter. An empty one matches all runs.

    Raises:
        UserError: Names the part that cannot be understood, and what is possible there.
    """
    return RunFilter(tuple(_term(match) for match in _TERM.finditer(text) if match[0]))


def _term(match: re.Match[str]) -> Test:
    if not match["column"]:
        words = match["text"].replace('"', "") or match[0]
        test: Test = partial(_has_words, words.casefold())
    else:
        try:
            test = _comparison(find_column(match["column"]), match["sign"], match["text"])
        except UserError as error:
            raise UserError(f"filter {one_line(match[0])[:64]!r}: {error}") from None
    return (lambda run, now: not test(run, now)) if match["minus"] and match[0] != "-" else test


def _has_words(words: str, run: RunSummary, now: float) -> bool:
    return words in run.run.casefold() or words in run.note.casefold()


def _comparison(column: Column, sign: str, text: str) -> Test:
    quoted = '"' in text
    alternatives = [text.replace('"', "")] if quoted else text.split(",")
    if column.is_text:
        if sign in ("<", "<=", ">", ">="):
            raise UserError(f"{column.name} is a text: compare it with : or = or !=")
        wanted = [alternative.casefold() for alternative in alternatives]

        def test(run: RunSummary, now: float) -> bool:
            value = str(column.value(run, now)).casefold()
            if sign == ":":
                return any(alternative in value for alternative in wanted)
            return (value in wanted) == (sign == "=")

        return test
    numbers = [_number(alternative) for alternative in alternatives]
    compare = _COMPARE[sign]
    # Different from all, but equal to one, or below one, of the alternatives.
    combine = all if sign == "!=" else any
    return lambda run, now: combine(
        not math.isnan(value := float(column.value(run, now))) and compare(value, number) for number in numbers
    )


def _number(text: str) -> float:
    found = re.fullmatch(r"([+-]?[\d.]+(?:e[+-]?\d+)?)\s*([a-z%]*)", text.lower())
    try:
        if found:
            return float(found[1]) * _UNITS[found[2]]
    except (ValueError, KeyError):
        pass
    raise UserError(
        f"needs a number such as 0.9, 90%, 1e-3 or, for age and duration, 30min, 12h or 2d, not {text[:64]!r}"
    )
