"""``facegender doctor``: what a bug report needs to say about the machine."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from pathlib import Path

from facegender import __version__
from facegender.cli.options import AnyRoot
from facegender.support.cache_dir import cache_folder
from facegender.support.files import nearest_existing
from facegender.support.machine import available_processors
from facegender.support.text import counted, printable, size_in_words

PACKAGES = (
    "torch", "torchvision", "pytorch-lightning", "torchmetrics", "textual", "textual-image", "rich", "numpy", "pillow",
    "onnx",
)  # fmt: skip
TERMINAL_VARIABLES = ("TERM", "TERM_PROGRAM", "COLORTERM", "TMUX", "STY", "SSH_TTY", "LANG", "LC_ALL")


def doctor(root: AnyRoot = Path()) -> None:
    """Print what the program finds on this machine: versions, devices, disk, terminal."""
    import psutil

    from facegender.cli.data import cache_summary

    memory = psutil.virtual_memory()
    size = shutil.get_terminal_size()
    rows = [
        ("facegender-tui", __version__),
        ("python", f"{platform.python_version()} ({sys.executable})"),
        ("system", platform.platform()),
        ("processors", f"{available_processors()}"),
        ("memory", f"{size_in_words(memory.available)} of {size_in_words(memory.total)} free"),
        *((name, _version(name)) for name in PACKAGES),
        *_devices(),
        ("root", _disk(root.absolute())),
        ("cache", _disk(cache_folder())),
        ("photographs", cache_summary()),
        *((name, os.environ[name]) for name in TERMINAL_VARIABLES if name in os.environ),
        ("terminal", f"{size.columns}×{size.lines}" if sys.stdout.isatty() else "standard output is not a terminal"),
        ("pictures", "`facegender-tui --doctor` asks the terminal which pictures it can show"),
    ]
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        print(f"{name.ljust(width)}  {printable(text)}")


def _devices() -> list[tuple[str, str]]:
    try:
        import torch
    except (ImportError, OSError) as error:
        return [("devices", f"torch cannot be imported: {error}")]
    rows = []
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            about = torch.cuda.get_device_properties(index)
            half = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "no bf16"
            rows.append((f"cuda:{index}", f"{about.name}, {size_in_words(about.total_memory)}, {half}"))
    elif torch.version.cuda:
        rows.append(("cuda", f"torch is built for CUDA {torch.version.cuda} but finds no GPU or driver"))
    else:
        rows.append(("cuda", "torch is built without CUDA"))
    if torch.backends.mps.is_available():
        rows.append(("mps", "available"))
    rows.append(("cpu", counted(torch.get_num_threads(), "thread")))
    return rows


def _version(package: str) -> str:
    import importlib.metadata

    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _disk(folder: Path) -> str:
    existing = nearest_existing(folder)
    writable = "" if os.access(existing, os.W_OK) else ", not writable"
    return f"{folder} ({size_in_words(shutil.disk_usage(existing).free)} free{writable})"
