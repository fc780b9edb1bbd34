"""Inline pictures in the terminal: which protocol, how pictures are encoded for it, the widget.

Names load on first use: asking the terminal what it can do must not wait for numpy, Pillow or Textual.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tui.graphics.cache import ByteCache
    from tui.graphics.context import (
        PictureStatistics,
        cursor_reported,
        discard_pending_reports,
        image_cleanup_sequence,
        reset_context,
        statistics,
        wait_until_flushed,
    )
    from tui.graphics.picture import Picture
    from tui.graphics.probe import Probe, fitted_to_window, start_probe, window_size
    from tui.graphics.terminal import Protocol, Terminal
    from tui.graphics.widget import PictureView

__all__ = [
    "ByteCache",
    "Picture",
    "PictureStatistics",
    "PictureView",
    "Probe",
    "Protocol",
    "Terminal",
    "cursor_reported",
    "discard_pending_reports",
    "fitted_to_window",
    "image_cleanup_sequence",
    "reset_context",
    "start_probe",
    "statistics",
    "wait_until_flushed",
    "window_size",
]

_HOME = {
    "ByteCache": "cache",
    "Picture": "picture",
    "PictureStatistics": "context",
    "PictureView": "widget",
    "Probe": "probe",
    "Protocol": "terminal",
    "Terminal": "terminal",
    "cursor_reported": "context",
    "wait_until_flushed": "context",
    "image_cleanup_sequence": "context",
    "reset_context": "context",
    "fitted_to_window": "probe",
    "discard_pending_reports": "context",
    "start_probe": "probe",
    "statistics": "context",
    "window_size": "probe",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
