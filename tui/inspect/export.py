"""Write what the layer pane shows as a picture with captions, or its epochs as an animated GIF. It runs in a thread."""

from __future__ import annotations

import re
from pathlib import Path

from facegender.rendering import figures, views
from facegender.rendering.pages import write_png
from facegender.runs.folder import RunFolder, frame_name
from facegender.runs.frames import FrameUnreadable, open_frame
from facegender.runs.patches import PatchesUnreadable, read_patches
from facegender.runs.tensors import DamagedTensors
from facegender.support.errors import UserError
from facegender.support.text import one_line
from tui import format as fmt
from tui.inspect.compose import patch_lines
from tui.inspect.request import LayerRequest


def export_view(folder: RunFolder, request: LayerRequest, *, animated: bool) -> Path:
    """Write a file into the run's folder of pictures.

    Args:
        folder: The run.
        request: What the pane shows; a channel that it shows alone is alone in the file as well.
        animated: Write all epochs as a GIF instead of the shown one as a PNG.

    Returns:
        The file, which replaces an earlier one of the same view.

    Raises:
        UserError: The view has nothing to show, or the file cannot be written; one line says which.
    """
    try:
        chosen = _chosen(folder, request)
        view = re.sub(r"[^\w.-]+", "_", f"{chosen.layer}_{chosen.view}")
        channel = "" if chosen.channel is None else f"_channel_{chosen.channel + 1}"
        if animated:
            return _write_gif(folder, chosen, folder.visuals / f"epochs_{view}{channel}.gif")
        path = folder.visuals / f"{frame_name(chosen.epoch)}_{view}{channel}.png"
        write_png(path, figures.draw(_figure(folder, chosen, request)))
        return path
    except (views.NothingToShow, FrameUnreadable, PatchesUnreadable, DamagedTensors) as error:
        raise UserError(one_line(str(error))) from None
    except OSError as error:
        raise UserError(f"visuals/{folder.name}: the file cannot be written ({error.strerror})") from None


def _chosen(folder: RunFolder, request: LayerRequest) -> figures.Selection:
    selection, view = request.selection, request.selection.mode.view
    assert selection.epoch is not None
    with open_frame(request.file) as frame:
        layers = frame.info.layers
    alone = selection.zoomed or view == "top"
    paths = {folder.frame_path(epoch): epoch for epoch in folder.frame_epochs()}
    return figures.Selection(
        epoch=selection.epoch,
        layer=layers[min(selection.layer, len(layers) - 1)],
        view=view,
        channel=(selection.channel or 0) if alone else None,
        probe=selection.probe,
        reference=paths.get(request.reference) if request.reference is not None else None,
        scope=selection.scope if selection.scope in views.SCOPES[view] else None,
        variant=selection.variant if selection.variant in views.VARIANTS.get(view, ()) else None,
    )


def _figure(folder: RunFolder, chosen: figures.Selection, request: LayerRequest) -> figures.Figure:
    if chosen.view != "top":
        return figures.read_figure(folder, chosen)
    if request.patches is None:
        raise views.NothingToShow(request.no_patches or "the patches are not made yet: try again in a moment")
    patches = read_patches(request.patches)
    tiles = views.patch_tiles(patches, whole=chosen.variant == "photographs")
    title = f"{folder.name} · {fmt.epoch_name(chosen.epoch)} · {chosen.layer} · channel {(chosen.channel or 0) + 1}"
    return figures.figure_of(tiles, f"{title} · {figures.VIEW_TITLES['top']}", patch_lines(patches))


def _write_gif(folder: RunFolder, chosen: figures.Selection, path: Path) -> Path:
    if chosen.view == "top":
        raise views.NothingToShow("top patches are not played: they are made for one epoch")
    pictures = [figures.draw(figure) for figure in figures.epoch_figures(folder, chosen)]
    if not pictures:
        raise views.NothingToShow("no epoch has anything to show in this view")
    figures.write_gif(path, pictures)
    return path
