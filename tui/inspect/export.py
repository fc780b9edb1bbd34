"""Write what the layer pane shows as a picture with captions, or its epochs as an animated GIF. It runs in a thread."""

from __future__ import annotations

from pathlib import Path

from facegender.rendering import figures
from facegender.rendering.view_options import SCOPES, VARIANTS
from facegender.rendering.views import NothingToShow
from facegender.runs.folder import RunFolder
from facegender.runs.frames import FrameUnreadable, open_frame
from facegender.runs.patches import PatchesUnreadable, read_patches
from facegender.support.errors import UserError
from facegender.support.text import one_line
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
        path = folder.visuals / figures.file_name(chosen, ".gif" if animated else ".png")
        if chosen.view == "top":
            _write_patches(path, folder, chosen, request, animated=animated)
        elif animated:
            figures.write_animation(path, folder, chosen)
        else:
            figures.write_figure(path, figures.read_figure(folder, chosen))
        return path
    except (NothingToShow, FrameUnreadable, PatchesUnreadable) as error:
        raise UserError(one_line(str(error))) from None
    except OSError as error:
        raise UserError(f"visuals/{folder.name}: the file cannot be written ({error.strerror})") from None


def _chosen(folder: RunFolder, request: LayerRequest) -> figures.FigureRequest:
    """Return the figure of what the pane shows."""
    selection, view = request.selection, request.selection.mode.view
    assert selection.epoch is not None
    with open_frame(request.file) as frame:
        layers = frame.info.layers
    alone = selection.zoomed or view == "top"
    paths = {folder.frame_path(epoch): epoch for epoch in folder.frame_epochs()}
    return figures.FigureRequest(
        epoch=selection.epoch,
        layer=layers[min(selection.layer, len(layers) - 1)],
        view=view,
        channel=(selection.channel or 0) if alone else None,
        probe=selection.probe,
        reference=paths.get(request.reference) if request.reference is not None else None,
        scope=selection.scope if selection.scope in SCOPES[view] else None,
        variant=selection.variant if selection.variant in VARIANTS.get(view, ()) else None,
    )


def _write_patches(
    path: Path, folder: RunFolder, chosen: figures.FigureRequest, request: LayerRequest, *, animated: bool
) -> None:
    if animated:
        raise NothingToShow("top patches cannot be animated: they are those of one epoch")
    if request.patches is None:
        raise NothingToShow(request.no_patches or "the patches are not made yet: try again in a moment")
    figures.write_figure(path, figures.patches_figure(folder.name, chosen, read_patches(request.patches)))
