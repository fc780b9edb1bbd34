"""Train a face-gender CNN and record what it sees: everything that works without the interface."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from facegender.classifier import Classifier, load_classifier
    from facegender.training.callbacks.recorder import RunRecorder

__version__ = "0.1.0"
__all__ = ["Classifier", "RunRecorder", "load_classifier"]

_MODULES = {
    "Classifier": "facegender.classifier",
    "RunRecorder": "facegender.training.callbacks.recorder",
    "load_classifier": "facegender.classifier",
}


def __getattr__(name: str) -> object:
    """Import what `__all__` names when it is first used, because torch and Lightning take seconds to import."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)
