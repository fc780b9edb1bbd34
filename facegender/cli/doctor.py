"""``facegender doctor``: what a bug report needs and what a new user wonders."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import psutil

from facegender import __version__
from facegender.cli.cache import account
from facegender.support.cache_dir import cache_folder
from facegender.support.files import exists
from facegender.support.machine import available_processors

PACKAGES = ("torch", "pytorch-lightning", "torchmetrics", "textual", "rich", "numpy", "pillow", "onnx")
TERMINAL = ("TERM", "TERM_PROGRAM", "COLORTERM", "TMUX", "STY", "SSH_TTY", "LANG", "LC_ALL")


def findings(root: Path) -> list[tuple[str, str]]:
    """Names and what was found, in the order to print them."""
    memory = psutil.virtual_memory()
    rows = [
        ("facegender-tui", __version__),
        ("python", f"{platform.python_version()} ({sys.executable})"),
        ("system", platform.platform()),
        ("processors", f"{available_processors()}"),
        ("memory", f"{_gib(memory.available)} of {_gib(memory.total)} free"),
    ]
    rows += [(name, _version(name)) for name in PACKAGES]
    rows += _devices()
    rows += [("root", _disk(root.absolute())), ("cache", _disk(cache_folder())), ("photographs", account())]
    rows += [(name, os.environ[name]) for name in TERMINAL if name in os.environ]
    size = shutil.get_terminal_size()
    where = f"{size.columns}×{size.lines}" if sys.stdout.isatty() else "standard output is not a terminal"
    rows.append(("terminal", where))
    return rows + _pictures()


def _pictures() -> list[tuple[str, str]]:
    """What pictures the terminal can show: asked by a process of the interface, which this side does not import."""
    try:
        answer = subprocess.run(
            [sys.executable, "-m", "tui.graphics"], stdout=subprocess.PIPE, timeout=10, check=True, text=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return [("pictures", "could not be found out")]
    return [(name, text) for line in answer.splitlines() for name, _, text in [line.partition("\t")]]


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
            rows.append((f"cuda:{index}", f"{about.name}, {_gib(about.total_memory)}, {half}"))
    elif torch.version.cuda:
        rows.append(("cuda", f"torch is built for CUDA {torch.version.cuda} but finds no GPU or driver"))
    else:
        rows.append(("cuda", "torch is built without CUDA"))
    if torch.backends.mps.is_available():
        rows.append(("mps", "available"))
    rows.append(("cpu", f"{torch.get_num_threads()} threads"))
    return rows


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _disk(folder: Path) -> str:
    existing = next((path for path in (folder, *folder.parents) if exists(path)), Path("/"))
    writable = "" if os.access(existing, os.W_OK) else ", not writable"
    return f"{folder} ({_gib(shutil.disk_usage(existing).free)} free{writable})"


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"
