"""Inline pictures in the terminal: the probe, the protocols, and the widget that shows a picture.

Names load on first use: the probe must not wait for numpy, Pillow or Textual.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tui.graphics.context import PictureStatistics as PictureStatistics
    from tui.graphics.context import cursor_reported as cursor_reported
    from tui.graphics.context import discard_pending_reports as discard_pending_reports
    from tui.graphics.context import image_cleanup_sequence as image_cleanup_sequence
    from tui.graphics.context import reset_context as reset_context
    from tui.graphics.context import statistics as statistics
    from tui.graphics.context import wait_until_flushed as wait_until_flushed
    from tui.graphics.picture import Picture as Picture
    from tui.graphics.probe import Probe as Probe
    from tui.graphics.probe import fitted_to_window as fitted_to_window
    from tui.graphics.probe import start_probe as start_probe
    from tui.graphics.probe import window_size as window_size
    from tui.graphics.terminal import Protocol as Protocol
    from tui.graphics.terminal import Terminal as Terminal
    from tui.graphics.widget import PictureView as PictureView

_NAMES = {
    "context": "PictureStatistics cursor_reported discard_pending_reports image_cleanup_sequence reset_context "
    "statistics wait_until_flushed",
    "picture": "Picture",
    "probe": "Probe fitted_to_window start_probe window_size",
    "terminal": "Protocol Terminal",
    "widget": "PictureView",
}
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
