"""The standard streams of a process, which whoever starts it may have closed."""

from __future__ import annotations

import os
import sys


def complete_streams() -> None:
    """Let closed standard streams lead nowhere: reading finds an end, and what is written is not kept.

    Python has None in their place, and the next file that is opened would get the number of one of them.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
        if getattr(sys, name) is None:
            stream = open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115 - until the end
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
