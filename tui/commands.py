"""All commands: the key bindings, the command palette, the line of keys and the help derive from this list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from textual.binding import Binding

Group = Literal["runs", "pictures", "curves", "everywhere"]

GROUPS: dict[Group, str] = {
    "runs": "Runs",
    "pictures": "Pictures",
    "curves": "Curves",
    "everywhere": "Everywhere",
}


@dataclass(frozen=True)
class Command:
    """Something that the user can do on the dashboard.

    Attributes:
        name: Name in the command palette.
        keys: Textual's key names.
        key_display: The first key as people write it.
        action: Textual action of the dashboard or the app.
        description: One clause for the help and the palette.
        group: Section of the help.
        hint: One word for the line of keys; empty keeps the command out of that line.
    """

    name: str
    keys: tuple[str, ...]
    key_display: str
    action: str
    description: str
    group: Group
    hint: str = ""


COMMANDS: tuple[Command, ...] = (
    Command("train", ("t",), "t", "app.new_run", "start a new training run", "runs", "train"),
    Command("stop", ("S",), "S", "app.stop_run", "stop the run after this batch (asks first)", "runs", "stop"),
    Command("resume", ("R",), "R", "app.resume_run", "resume the run from its last checkpoint", "runs", "resume"),
    Command("runs", ("r",), "r", "app.runs", "list all runs: open, stop, resume, delete", "runs", "runs"),
    Command("classify", ("c",), "c", "open_prompt", "classify a photograph with this run", "runs", "classify"),
    Command("previous-epoch", ("left",), "←", "picture('move_epoch', -1)", "previous epoch", "pictures"),
    Command("next-epoch", ("right",), "→", "picture('move_epoch', 1)", "next epoch", "pictures"),
    Command("back-ten", ("shift+left",), "Shift ←", "picture('move_epoch', -10)", "ten epochs back", "pictures"),
    Command("forward-ten", ("shift+right",), "Shift →", "picture('move_epoch', 10)", "ten epochs forward", "pictures"),
    Command("first-epoch", ("home",), "Home", "picture('first_epoch')", "first epoch", "pictures"),
    Command("live", ("end",), "End", "picture('follow_live')", "latest epoch; follow the run live", "pictures"),
    Command("previous-layer", ("up",), "↑", "picture('move_layer', -1)", "previous layer", "pictures"),
    Command("next-layer", ("down",), "↓", "picture('move_layer', 1)", "next layer", "pictures"),
    Command(
        "view", ("m",), "m", "picture('next_mode')", "feature maps, filters or channel average", "pictures", "view"
    ),
    Command("next-probe", ("n",), "n", "picture('move_probe', 1)", "next probe photograph", "pictures"),
    Command("previous-probe", ("p",), "p", "picture('move_probe', -1)", "previous probe photograph", "pictures"),
    Command("channel-left", ("h",), "h", "picture('move_channel', -1)", "channel to the left", "pictures"),
    Command("channel-down", ("j",), "j", "picture('move_row', 1)", "channel below", "pictures"),
    Command("channel-up", ("k",), "k", "picture('move_row', -1)", "channel above", "pictures"),
    Command("channel-right", ("l",), "l", "picture('move_channel', 1)", "channel to the right", "pictures"),
    Command(
        "zoom", ("enter",), "Enter", "picture('zoom')", "show only the channel under the cursor, enlarged", "pictures"
    ),
    Command("back", ("escape",), "Esc", "back", "leave the channel, the prompt or the enlarged pane", "pictures"),
    Command("play", ("space",), "Space", "picture('play')", "play the epochs one after another", "pictures"),
    Command("log-scale", ("y",), "y", "toggle_log_scale", "logarithmic or linear loss axis", "curves"),
    Command("x-axis", ("x",), "x", "next_x_axis", "x axis: epochs, steps or minutes", "curves"),
    Command("smooth", ("s",), "s", "next_smoothing", "smoothing of the training curves: some, much or none", "curves"),
    Command("enlarge", ("plus",), "+", "enlarge", "enlarge the focused pane to the whole screen", "everywhere"),
    Command("shrink", ("underscore", "minus"), "_", "shrink", "show all panes again", "everywhere"),
    Command("palette", ("colon",), ":", "app.command_palette", "run a command by its name", "everywhere"),
    Command("redraw", ("g",), "g", "app.redraw", "probe the terminal again and redraw everything", "everywhere"),
    Command("help", ("question_mark", "f1"), "?", "app.help", "show this help", "everywhere", "help"),
    Command("quit", ("q",), "q", "app.detach", "detach: the run continues in the background", "everywhere", "detach"),
)

PANES = ("loss", "accuracy", "run", "machine", "layers", "log")

_LAST_HINTS = ("help", "detach")
HINTS = (
    ("←→", "epoch"),
    ("↑↓", "layer"),
    *((command.key_display, command.hint) for command in COMMANDS if command.hint and command.hint not in _LAST_HINTS),
)
LAST_HINTS = tuple((command.key_display, command.hint) for command in COMMANDS if command.hint in _LAST_HINTS)


def bindings() -> list[Binding]:
    """Return the key bindings of the dashboard, including the numbers of the panes."""
    return [
        Binding(
            ",".join(command.keys),
            command.action,
            command.description,
            show=False,
            key_display=command.key_display,
            # With priority, so that it takes effect before keys that were typed in one go with it.
            priority=command.action == "open_prompt",
        )
        for command in COMMANDS
    ] + [Binding(str(n), f"focus_pane('{pane}')", f"{pane} pane", show=False) for n, pane in enumerate(PANES, 1)]
