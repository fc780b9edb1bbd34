"""Carries out the commands of the run page: each opens the form or the screen that it needs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
from textual.app import App

from facegender.runs.details import Detail
from facegender.runs.folder import Manifest, RunFolder
from facegender.runs.summary import finished_epochs
from facegender.support.files import exists
from facegender.support.text import counted, one_line, printable
from tui.messages import REQUESTS


async def carry_out(app: App[None], folder: RunFolder, line: Detail) -> None:
    """Carry out a command of a run; call it in a worker, because it waits for screens.

    Args:
        line: A line of `facegender.runs.details` with an action.
    """
    manifest = await asyncio.to_thread(folder.read_manifest)
    match line.action:
        case "stop" | "resume":
            app.post_message(REQUESTS[line.action](folder))
        case "evaluate":
            await _show_output(app, f"Evaluate {folder.name}", line.arguments)
        case "export-safetensors" | "export-onnx" | "export-pth":
            await _export(app, folder, line)
        case _ if manifest is None:
            app.notify(f"run {folder.name} has no readable run.json", severity="error", markup=False)
        case "train":
            await _open_form(app, folder, manifest, "")
        case "longer":
            await _train_longer(app, folder, manifest)
        case "find-rate":
            await _find_rate(app, folder, manifest, line.arguments)


async def _show_output(app: App[None], title: str, arguments: tuple[str, ...]) -> None:
    from tui.screens.command import CommandScreen

    await app.push_screen(CommandScreen[None](title, arguments))


async def _export(app: App[None], folder: RunFolder, line: Detail) -> None:
    """Export into the current folder, as the command does; ask before a file is overwritten."""
    from tui.screens.confirm import Confirm

    target = Path(f"{folder.name}.{line.action.removeprefix('export-')}")
    overwrite: tuple[str, ...] = ()
    if await asyncio.to_thread(exists, target):
        question = Confirm(f"Overwrite {target.name}?", f"It exists in {printable(Path.cwd())}.")
        if not await app.push_screen_wait(question):
            return
        overwrite = ("--force",)
    await _show_output(app, f"Export {folder.name}", (*line.arguments, *overwrite))


async def _open_form(app: App[None], folder: RunFolder, manifest: Manifest, change: str) -> None:
    from tui.screens.new_run import NewRun

    origin = one_line(f"what {folder.name} was trained with{change}")
    await app.push_screen(NewRun(folder.root, manifest.config, origin))


async def _train_longer(app: App[None], folder: RunFolder, manifest: Manifest) -> None:
    from tui.screens.new_run import NewRun

    _, finished = await asyncio.to_thread(finished_epochs, folder)
    done = len(finished)
    origin = f"{counted(done, 'epoch')} of {manifest.config.epochs} are done: give more"
    form = NewRun(folder.root, manifest.config, origin, first="epochs", resumed=folder, epochs_done=done)
    await app.push_screen(form)


async def _find_rate(app: App[None], folder: RunFolder, manifest: Manifest, arguments: tuple[str, ...]) -> None:
    """Find a learning rate for the configuration of the run, and open the form with it if it is taken."""
    from tui.screens.find_rate import FindRate

    rate = await app.push_screen_wait(FindRate(arguments, manifest.config))
    if rate is not None:
        found = msgspec.structs.replace(manifest, config=msgspec.structs.replace(manifest.config, learning_rate=rate))
        await _open_form(app, folder, found, ", with the learning rate found")
