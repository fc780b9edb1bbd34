"""Every command once: key bindings, the command palette, the prompt and the help are all made from this list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from textual.binding import Binding

Place = Literal["everywhere", "run", "pictures", "curves"]

PLACES: dict[Place, str] = {
    "run": "Runs",
    "pictures": "Pictures",
    "curves": "Curves",
    "everywhere": "Everywhere",
}


@dataclass(frozen=True)
class Command:
    """Something a person can do.

    Attributes:
        name: What to type after ``:``.
        keys: Textual's key names, the first one shown.
        action: Textual action on the dashboard or the app.
        text: One clause for the help and the palette.
        hint: One word for the line of keys at the bottom; empty keeps it out of there.
        shown_key: The key as people write it.
    """

    name: str
    keys: tuple[str, ...]
    action: str
    text: str
    place: Place
    shown_key: str
    hint: str = ""


COMMANDS: tuple[Command, ...] = (
    Command("train", ("t",), "app.new_run", "start a new training run", "run", "t", "train"),
    Command("stop", ("S",), "app.stop_run", "stop the run after this batch (asks first)", "run", "S", "stop"),
    Command(
        "resume",
        ("R",),
        "app.resume_run",
        "go on with a stopped or crashed run from its last checkpoint",
        "run",
        "R",
        "resume",
    ),
    Command("runs", ("r",), "app.runs", "all runs: open, stop, resume, delete", "run", "r", "runs"),
    Command("classify", ("c",), "open_prompt", "classify a photograph with this run", "run", "c", "classify"),
    Command("previous-epoch", ("left",), "move_epoch(-1)", "previous epoch", "pictures", "←"),
    Command("next-epoch", ("right",), "move_epoch(1)", "next epoch", "pictures", "→"),
    Command("back-ten", ("shift+left",), "move_epoch(-10)", "ten epochs back", "pictures", "Shift ←"),
    Command("forward-ten", ("shift+right",), "move_epoch(10)", "ten epochs on", "pictures", "Shift →"),
    Command("first-epoch", ("home",), "first_epoch", "first epoch", "pictures", "Home"),
    Command("live", ("end",), "follow_live", "latest epoch, and follow the run live", "pictures", "End"),
    Command("previous-layer", ("up",), "move_layer(-1)", "previous layer", "pictures", "↑"),
    Command("next-layer", ("down",), "move_layer(1)", "next layer", "pictures", "↓"),
    Command("view", ("m",), "next_mode", "feature maps, filters or channel average", "pictures", "m", "view"),
    Command("next-probe", ("n",), "move_probe(1)", "next probe photograph", "pictures", "n"),
    Command("previous-probe", ("p",), "move_probe(-1)", "previous probe photograph", "pictures", "p"),
    Command("channel-left", ("h",), "move_channel(-1, 0)", "channel to the left", "pictures", "h"),
    Command("channel-down", ("j",), "move_channel(0, 1)", "channel below", "pictures", "j"),
    Command("channel-up", ("k",), "move_channel(0, -1)", "channel above", "pictures", "k"),
    Command("channel-right", ("l",), "move_channel(1, 0)", "channel to the right", "pictures", "l"),
    Command("zoom", ("enter",), "zoom", "only the channel under the cursor, large", "pictures", "Enter"),
    Command("back", ("escape",), "back", "back from the channel, the prompt or a large pane", "pictures", "Esc"),
    Command("play", ("space",), "play", "play the epochs one after another", "pictures", "Space"),
    Command("log-scale", ("y",), "toggle_log_scale", "loss on a logarithmic scale", "curves", "y"),
    Command("x-axis", ("x",), "next_x_axis", "x axis: epochs, steps or minutes", "curves", "x"),
    Command("smooth", ("s",), "next_smoothing", "smooth the training curves: off, some, much", "curves", "s"),
    Command("enlarge", ("plus",), "enlarge", "give the focused pane the whole screen", "everywhere", "+"),
    Command("shrink", ("underscore", "minus"), "shrink", "show all panes again", "everywhere", "_"),
    Command("palette", ("colon",), "app.command_palette", "find a command by its name", "everywhere", ":"),
    Command(
        "redraw",
        ("g",),
        "app.redraw",
        "draw everything again, and ask the terminal anew what it can do",
        "everywhere",
        "g",
    ),
    Command("help", ("question_mark", "f1"), "app.help", "this help", "everywhere", "?", "help"),
    Command("quit", ("q",), "app.detach", "detach: the run goes on without the interface", "everywhere", "q", "detach"),
)

PANES = ("loss", "accuracy", "run", "machine", "layers", "log")

DIRECTIONS_HINT = (("←→", "epoch"), ("↑↓", "layer"))


def bindings() -> list[Binding]:
    """Key bindings of the dashboard, the numbered panes included."""
    made = [
        Binding(
            ",".join(command.keys),
            command.action,
            command.text,
            show=False,
            key_display=command.shown_key,
            # With priority, so that it takes effect before keys that were typed in one go with it.
            priority=command.action == "open_prompt",
        )
        for command in COMMANDS
        if command.keys
    ]
    made += [Binding(str(n), f"focus_pane('{pane}')", f"{pane} pane", show=False) for n, pane in enumerate(PANES, 1)]
    return made
