"""One safe line about what went wrong, with the remedy where there is one."""

from __future__ import annotations

import errno

from facegender.support.errors import UserError
from facegender.support.text import one_line

MAX_LENGTH = 300
_OUT_OF_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "failed to allocate",
    "std::bad_alloc",
)

_NO_ROOM = {
    errno.ENOSPC: "no space left on the disk",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "a file exceeds the limit of `ulimit -f`",
}


def is_out_of_memory(error: BaseException) -> bool:
    """Whether there was not enough memory, on whatever device."""
    return isinstance(error, MemoryError) or any(sign in str(error).lower() for sign in _OUT_OF_MEMORY)


def reason(error: BaseException) -> str:
    """Why something failed that training continues without, as a clause for the end of a sentence."""
    if isinstance(error, OSError) and error.strerror:
        return one_line(error.strerror)[:MAX_LENGTH]
    if isinstance(error, UserError):  # which says it in a sentence
        return one_line(str(error))[:MAX_LENGTH]
    return describe(error)


def describe(error: BaseException) -> str:
    """Describe an exception in one line."""
    text = one_line(str(error))
    if is_out_of_memory(error):
        return "out of memory: lower --batch-size or --image-size"
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return f"{_NO_ROOM[error.errno]} ({text}): make room, then --resume the run"
    # Lightning may raise another exception in place of the KeyboardInterrupt.
    if isinstance(error, KeyboardInterrupt) or isinstance(error.__context__, KeyboardInterrupt):
        return "interrupted twice: ended at once, without saving"
    line = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return line if len(line) <= MAX_LENGTH else line[: MAX_LENGTH - 1] + "…"
