"""All commands: the key bindings, the command palette, the line of keys and the help derive from this list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from textual.binding import Binding

Group = Literal["Runs", "Pictures", "Curves", "Everywhere"]


@dataclass(frozen=True)
class Command:
    """Something that the user can do on the dashboard.

    Attributes:
        name: Name in the command palette.
        keys: Textual's key names, with commas between them.
        key_display: The first key as people write it.
        action: Textual action of the dashboard or the app.
        description: One clause for the help and the palette.
        group: Title of its section of the help.
        hint: One word for the line of keys; empty keeps the command out of that line.
    """

    name: str
    keys: str
    key_display: str
    action: str
    description: str
    group: Group
    hint: str = ""


COMMANDS: tuple[Command, ...] = (
    Command("train", "t", "t", "app.new_run", "start a new training run", "Runs", "train"),
    Command("stop", "S", "S", "app.request('stop')", "stop the run after this batch (asks first)", "Runs", "stop"),
    Command("resume", "R", "R", "app.request('resume')", "resume the run from its last checkpoint", "Runs", "resume"),
    Command("frame", "F", "F", "app.request('frame')", "make pictures of the current weights now", "Runs"),
    Command("runs", "r", "r", "app.runs", "all runs: sort, filter, compare, delete", "Runs", "runs"),
    Command(
        "run-page", "i", "i", "app.request('page')", "all about the run: files, settings, commands", "Runs", "info"
    ),
    Command("classify", "c", "c", "open_prompt", "classify a photograph with this run", "Runs", "classify"),
    Command("mistakes", "w", "w", "mistakes", "what it gets wrong, suspect labels, figures", "Runs", "mistakes"),
    Command("previous-epoch", "left", "←", "move_epoch(-1)", "previous epoch", "Pictures"),
    Command("next-epoch", "right", "→", "move_epoch(1)", "next epoch", "Pictures"),
    Command("back-ten", "shift+left", "Shift ←", "move_epoch(-10)", "ten epochs back", "Pictures"),
    Command("forward-ten", "shift+right", "Shift →", "move_epoch(10)", "ten epochs forward", "Pictures"),
    Command("first-epoch", "home", "Home", "first_epoch", "first epoch", "Pictures"),
    Command("live", "end", "End", "picture('follow_live')", "latest epoch; follow the run live", "Pictures"),
    Command("previous-layer", "up", "↑", "picture('move_layer', -1)", "previous layer", "Pictures"),
    Command("next-layer", "down", "↓", "picture('move_layer', 1)", "next layer", "Pictures"),
    Command("view", "m", "m", "picture('next_mode')", "next view: maps, filters, average …", "Pictures", "view"),
    Command("variant", "v", "v", "picture('next_variant')", "variant of filters, difference, top patches", "Pictures"),
    Command("scale", "o", "o", "picture('next_scope')", "colour scale: per tile, layer or all epochs", "Pictures"),
    Command("freeze", "f", "f", "picture('freeze')", "freeze this epoch to compare with it", "Pictures"),
    Command("beside", "b", "b", "beside", "show this epoch beside the frozen one", "Pictures"),
    Command("next-probe", "n", "n", "picture('move_probe', 1)", "next probe photograph", "Pictures"),
    Command("previous-probe", "p", "p", "picture('move_probe', -1)", "previous probe photograph", "Pictures"),
    Command("channel-left", "h", "h", "picture('move_channel', -1)", "channel to the left", "Pictures"),
    Command("channel-down", "j", "j", "picture('move_row', 1)", "channel below", "Pictures"),
    Command("channel-up", "k", "k", "picture('move_row', -1)", "channel above", "Pictures"),
    Command("channel-right", "l", "l", "picture('move_channel', 1)", "channel to the right", "Pictures"),
    Command("previous-page", "comma", ",", "picture('move_page', -1)", "previous page of channels", "Pictures"),
    Command("next-page", "full_stop", ".", "picture('move_page', 1)", "next page of channels", "Pictures"),
    Command("explore", "enter", "Enter", "enter", "open the explorer, then enlarge a channel", "Pictures", "explore"),
    Command("back", "escape", "Esc", "back", "leave the channel, the explorer or the pane", "Pictures"),
    Command("health", "H", "H", "health", "list what is unhealthy: dead channels, gradients", "Pictures"),
    Command("play", "space", "Space", "picture('play')", "play the epochs one after another, or pause", "Pictures"),
    Command("export", "e", "e", "export(False)", "write the view as a PNG into the run's visuals", "Pictures"),
    Command("export-epochs", "E", "E", "export(True)", "write the view of all epochs as a GIF", "Pictures"),
    Command("metric", "a", "a", "next_metric", "metric of the second chart: accuracy, F1 …", "Curves"),
    Command("log-scale", "y", "y", "curves('toggle_log_scale')", "logarithmic or linear loss axis", "Curves"),
    Command("x-axis", "x", "x", "curves('next_x_axis')", "x axis: epochs, steps or minutes", "Curves"),
    Command("smooth", "s", "s", "curves('next_smoothing')", "smooth training curves: some, much or none", "Curves"),
    Command("enlarge", "plus", "+", "enlarge(True)", "enlarge the focused pane to the whole screen", "Everywhere"),
    Command("shrink", "underscore,minus", "_", "enlarge(False)", "show all panes again", "Everywhere"),
    Command("palette", "colon", ":", "app.command_palette", "run a command by its name", "Everywhere"),
    Command("settings", "O", "O", "app.settings", "settings: theme, graphics, curves, keys …", "Everywhere"),
    Command("redraw", "g", "g", "app.redraw", "probe the terminal again and redraw everything", "Everywhere"),
    Command("help", "question_mark,f1", "?", "app.help", "show this help", "Everywhere", "help"),
    Command("quit", "q", "q", "app.detach", "detach: the run continues in the background", "Everywhere", "detach"),
)

PANES = ("loss", "accuracy", "run", "machine", "layers", "log")

_LAST_HINTS = ("help", "detach")
HINTS = (
    ("←→", "epoch"),
    ("↑↓", "layer"),
    *((command.key_display, command.hint) for command in COMMANDS if command.hint and command.hint not in _LAST_HINTS),
)
EXPLORER_HINTS = (
    ("←→", "epoch"),
    ("↑↓", "layer"),
    ("Enter", "enlarge"),
    ("hjkl", "channel"),
    ("m", "view"),
    ("n", "probe"),
    ("Space", "play"),
    ("H", "health"),
    ("f", "freeze"),
    ("b", "beside"),
    (",.", "page"),
    ("o", "scale"),
    ("e", "export"),
    ("w", "mistakes"),
)
EXPLORER_LAST_HINTS = (("?", "help"), ("Esc", "back"))
LAST_HINTS = tuple((command.key_display, command.hint) for command in COMMANDS if command.hint in _LAST_HINTS)


BINDINGS = [
    Binding(
        command.keys,
        command.action,
        command.description,
        show=False,
        # With priority, so that it takes effect before keys that were typed in one go with it.
        priority=command.action == "open_prompt",
    )
    for command in COMMANDS
] + [Binding(str(n), f"focus_pane('{pane}')", f"{pane} pane", show=False) for n, pane in enumerate(PANES, 1)]
"""The key bindings of the dashboard, including the numbers of the panes."""
