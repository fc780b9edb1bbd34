"""``python -m tui.graphics``: probe the terminal and print what it can show, one ``name<TAB>value`` per line."""

from __future__ import annotations

import os

from tui.graphics.probe import Probe
from tui.graphics.terminal import AUTO, ENVIRONMENT_VARIABLE, Protocol, invalid_override


def main() -> None:
    """Probe the terminal and print the result."""
    terminal = Probe().finish()
    where = " in ".join(filter(None, (terminal.multiplexer, terminal.name)))
    delay = "" if terminal.round_trip_s is None else f", round trip {1000 * terminal.round_trip_s:.0f} ms"
    print(f"pictures\tby {terminal.protocol.value}: {terminal.reason}")
    if value := invalid_override(os.environ):
        known = ", ".join((AUTO, *(protocol.value for protocol in Protocol)))
        print(f"{ENVIRONMENT_VARIABLE}\tunknown value {value!r}: choose from {known}")
    print(f"cells\t{terminal.cell_width_px}×{terminal.cell_height_px} px, {terminal.colours} colours{delay}")
    if where:
        print(f"terminal\t{where}")
    if terminal.advice:
        print(f"better\t{terminal.advice}")


if __name__ == "__main__":
    main()
