"""Inline pictures in the terminal: which protocol, how pictures are encoded for it, the widget.

Names load on first use: asking the terminal what it can do must not wait for numpy, Pillow or Textual.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tui.graphics.cache import ByteCache
    from tui.graphics.late import LateAnswer
    from tui.graphics.picture import Picture
    from tui.graphics.probe import Probe, refitted, start_probe, window_size
    from tui.graphics.session import PictureStatistics, acknowledged, drained, farewell, forget, settle, statistics
    from tui.graphics.terminal import Protocol, Terminal
    from tui.graphics.widget import PictureView

__all__ = [
    "ByteCache",
    "LateAnswer",
    "Picture",
    "PictureStatistics",
    "PictureView",
    "Probe",
    "Protocol",
    "Terminal",
    "acknowledged",
    "drained",
    "farewell",
    "forget",
    "refitted",
    "settle",
    "start_probe",
    "statistics",
    "window_size",
]

_HOME = {
    "ByteCache": "cache",
    "LateAnswer": "late",
    "Picture": "picture",
    "PictureStatistics": "session",
    "PictureView": "widget",
    "Probe": "probe",
    "Protocol": "terminal",
    "Terminal": "terminal",
    "acknowledged": "session",
    "drained": "session",
    "farewell": "session",
    "forget": "session",
    "refitted": "probe",
    "settle": "session",
    "start_probe": "probe",
    "statistics": "session",
    "window_size": "probe",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
