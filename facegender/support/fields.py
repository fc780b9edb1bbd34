"""Fields of a configuration: type, default, limits, help and label of each are declared once, in a msgspec struct."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Literal, get_args, get_origin

import msgspec
from msgspec.structs import replace

from facegender.support.errors import UserError

Check = Callable[[Any], str]
"""Returns what is wrong with a value of a field's type, as a clause such as "must be …, not 0"; "" if nothing is."""


class Field(msgspec.Struct, frozen=True):
    """One field of a struct, declared as ``name: Annotated[type, Field(…)] = default``.

    Command lines, TOML files and forms all read it.

    Attributes:
        help: One sentence.
        check: Refuses values outside the limits.
        metavar: Stands for the value in ``--help``; derived from the type where empty.
        label: Label in a form; the name in words where empty.
        hint: Note beside the field of a form; the choices where empty.
        name: Name in the struct; this and the next two are read from there.
        type: Type of the value.
        default: Default value.
    """

    help: str
    check: Check = lambda value: ""
    metavar: str = ""
    label: str = ""
    hint: str = ""
    name: str = ""
    type: Any = str
    default: Any = None

    @property
    def choices(self) -> tuple[str, ...]:
        """All values, where there are only a few."""
        return get_args(self.type) if get_origin(self.type) is Literal else ()

    @property
    def expected(self) -> str:
        """What the field takes, in words, for an error message."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        if get_origin(self.type) is tuple:
            return f"three numbers such as {to_text(self.default)}"
        if get_origin(self.type) is dict:
            return "a table of names and texts"
        return {int: "a whole number", float: "a number", bool: "true or false"}.get(self.type, "text")

    def convert(self, value: Any) -> Any:
        """Convert plain data, such as a value of a TOML file, to the field's type.

        Raises:
            UserError: It does not fit the type; the message is a clause without the field's name.
        """
        try:
            return msgspec.convert(value, self.type, strict=False)
        except msgspec.ValidationError:
            raise UserError(f"must be {self.expected}") from None

    def parse(self, text: str) -> Any:
        """Convert the text that a person typed.

        Raises:
            UserError: It does not fit the type or the limits; the message is a clause without the field's name.
        """
        text = text.strip()
        is_tuple = get_origin(self.type) is tuple
        value = self.convert([part.strip() for part in text.split(",")] if is_tuple else text)
        if problem := self.check(value):
            raise UserError(problem)
        return value


def fields_of(struct: type[msgspec.Struct]) -> dict[str, Field]:
    """Return the fields of a struct by name, each with a metavar, a label and a hint in any case."""
    return {info.name: _complete(info) for info in msgspec.structs.fields(struct)}


def _complete(info: msgspec.structs.FieldInfo) -> Field:
    kind, declared = get_args(info.type)
    default = info.default if info.default_factory is msgspec.NODEFAULT else info.default_factory()
    field: Field = replace(declared, name=info.name, type=kind, default=default)
    return replace(
        field,
        metavar=field.metavar or {int: "N", float: "X"}.get(kind, "NAME"),
        label=field.label or info.name.replace("_", " "),
        hint=field.hint or " or ".join(filter(None, (", ".join(field.choices[:-1]), *field.choices[-1:]))),
    )


def between(low: int, high: int) -> Check:
    """Return a check that a number is at least ``low`` and at most ``high``."""
    return lambda value: "" if low <= value <= high else f"must be between {low} and {high}, not {value}"


def above_zero_to(high: float) -> Check:
    """Return a check that a number is above zero and at most ``high``."""
    return lambda value: "" if 0 < value <= high else f"must be above 0 and at most {high:g}, not {value:g}"


def matches(pattern: str, expected: str) -> Check:
    """Return a check that a whole text matches a regular expression; ``expected`` says in words what that means."""
    return lambda value: "" if re.fullmatch(pattern, value) else f"must be {expected}, not {shortened(value)!r}"


def to_text(value: Any) -> str:
    """Return the text that `Field.parse` converts to a value."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def shortened(text: str) -> str:
    """Cut a text after 64 characters, so that it fits into a message."""
    return text if len(text) <= 64 else text[:63] + "…"


def unknown_setting(name: str, known: Iterable[str]) -> str:
    """Say that a file sets something unknown, and what was probably meant."""
    import difflib  # only a mistake needs it; the interface's first screen should not wait for it

    close = difflib.get_close_matches(name, known, 1)
    remedy = f"did you mean {close[0]!r}?" if close else f"the settings are {', '.join(known)}"
    return f"unknown setting {shortened(name)!r}; {remedy}"
