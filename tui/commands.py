"""All commands of all screens. Keys, palette, line of keys and help derive from these tables.

A screen names its table as `BaseScreen.SCREEN_COMMANDS`; those of `EVERYWHERE` belong to the application. The same
thing has the same name on every screen, and by that name the settings give it another key.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache

import msgspec
from msgspec.structs import replace
from textual.binding import Binding
from textual.keys import key_to_character


class Command(msgspec.Struct, frozen=True):
    """Something that the user can do on a screen.

    Attributes:
        name: Its name in the palette and in the settings.
        keys: Textual's key names, separated by commas; empty for a command that has only a name.
        action: Textual action of the screen or, with ``app.``, of the application. With an argument it is the name of
            an action that takes one text; its key then opens the palette with the name typed.
        description: One clause for the help and the palette.
        hint: A word for the line of keys. Commands that share a word share its place: "←→ epoch".
        group: Title of its section of the help.
        needs: What the command needs at the moment: words of `REASONS`, separated by spaces.
        argument: What follows its name in the palette, a word of `ARGUMENTS`; empty if nothing does.
        priority: Look for the key before the focused widget does.
    """

    name: str
    keys: str
    action: str
    description: str
    hint: str = ""
    group: str = ""
    needs: str = ""
    argument: str = ""
    priority: bool = False


REASONS = {
    "run": "no run is open: r lists the runs",
    "live": "the run is not training",
    "ended": "the run is still training",
    "incomplete": "the run is complete",
    "writable": "the run is read-only",
    "new-runs": "no run can be started with --read-only",
    "recipe": "this run was trained by its own script: do this there",
    "pictures": "there are no pictures yet",
    "channels": "this view has no channels to choose",
    "probes": "this view does not depend on a probe photograph",
    "variants": "this view has no variants; filters, difference and top patches have",
    "scales": "this view has only one colour scale",
    "predictions": "this run has no predictions of single photographs",
    "health": "the health of the layers was not measured yet",
    "row": "the list is empty",
    "marks": "mark two runs with Space",
    "rate": "there is no suggestion yet",
    "new-run": "a resumed run keeps its learning rate",
    "deleting": "no run is about to be deleted",
    "one-chart": "both charts are shown",
    "seeds": "no two of these runs differ only in their seed",
    "photographs": "only in the lists of photographs",
    "mistakes": "only in the list of mistakes",
    "epochs": "suspects are ranked over all epochs",
}
"""Why a command does nothing, by the need that is not met."""

ARGUMENTS = {
    "epoch": "a number; the first epoch is 1",
    "layer": "a layer, by name or number",
    "channel": "a number; the first channel is 1",
    "view": "a view",
    "metric": "a metric",
    "run": "a run",
    "runs": "two runs or more",
    "path": "the path of a photograph",
    "theme": "a theme",
    "setting": "a setting and its value",
    "rate": "a learning rate, e.g. 1e-4",
    "count": "a number of epochs",
    "format": "safetensors, onnx or pth",
}
"""What is asked for, by `Command.argument`."""


def _epochs(move: str, first: str, last: str) -> tuple[Command, ...]:
    """Return the commands that go through the epochs; `move` has ``{}`` for the number of epochs."""
    return (
        Command("previous-epoch", "left", move.format(-1), "previous epoch", "epoch", "Pictures"),
        Command("next-epoch", "right", move.format(1), "next epoch", "epoch", "Pictures"),
        Command("back-ten", "shift+left", move.format(-10), "ten epochs back", "", "Pictures"),
        Command("forward-ten", "shift+right", move.format(10), "ten epochs forward", "", "Pictures"),
        Command("first-epoch", "home", first, "first epoch", "", "Pictures"),
        Command("live", "end", last, "latest epoch; follow the run live", "", "Pictures"),
    )


EVERYWHERE = (
    Command("palette", "colon,ctrl+p", "app.palette", "run any command by its name", "commands", "Everywhere"),
    Command("help", "question_mark,f1", "app.help", "show the keys and what they do", "help", "Everywhere"),
    Command("jump", "ctrl+o,apostrophe", "app.jump", "show a letter on each pane; that letter focuses it", "jump",
            "Everywhere"),
    Command("settings", "O", "app.settings", "settings: theme, graphics, curves, keys …", "", "Everywhere"),
    Command("redraw", "g", "app.redraw", "probe the terminal again and redraw everything", "", "Everywhere"),
    Command("open", "", "app.open_named", "show a run on the dashboard", "", "Runs", argument="run"),
    Command("compare", "", "app.compare_named", "lay runs over each other", "", "Runs", argument="runs"),
    Command("theme", "", "app.choose_theme", "change the colours", "", "Everywhere", argument="theme"),
    Command("setting", "", "app.change_setting", "change a setting", "", "Everywhere", argument="setting"),
    Command("suspend", "ctrl+z", "app.suspend", "suspend the program; fg resumes it", "", "Everywhere"),
    Command("quit", "ctrl+q,ctrl+c", "app.detach", "leave the program; runs continue in the background", "",
            "Everywhere"),
)  # fmt: skip
"""What works on every screen, unless a table of a screen has the key."""

_BACK = Command("back", "escape", "leave", "back to the screen below", "back", "Everywhere")
_CLOSE = Command("close", "q", "leave", "close this screen", "", "Everywhere")

_PICTURES = (
    *_epochs("move_epoch({})", "first_epoch", "picture('follow_live')"),
    Command("previous-layer", "up", "picture('move_layer', -1)", "previous layer", "layer", "Pictures"),
    Command("next-layer", "down", "picture('move_layer', 1)", "next layer", "layer", "Pictures"),
    Command("view", "m", "picture('next_mode')", "next view: maps, filters, average …", "view", "Pictures", "pictures"),
    Command("variant", "v", "picture('next_variant')", "variant of filters, difference, top patches", "", "Pictures",
            "pictures variants"),
    Command("scale", "o", "picture('next_scope')", "colour scale: per tile, layer or all epochs", "scale", "Pictures",
            "pictures scales"),
    Command("freeze", "f", "picture('freeze')", "freeze this epoch to compare with it", "freeze", "Pictures",
            "pictures"),
    Command("next-probe", "n", "picture('move_probe', 1)", "next probe photograph", "probe", "Pictures",
            "pictures probes"),
    Command("previous-probe", "p", "picture('move_probe', -1)", "previous probe photograph", "", "Pictures",
            "pictures probes"),
    Command("channel-left", "h", "picture('move_channel', -1)", "channel to the left", "channel", "Pictures",
            "pictures channels"),
    Command("channel-down", "j", "picture('move_row', 1)", "channel below", "channel", "Pictures",
            "pictures channels"),
    Command("channel-up", "k", "picture('move_row', -1)", "channel above", "channel", "Pictures", "pictures channels"),
    Command("channel-right", "l", "picture('move_channel', 1)", "channel to the right", "channel", "Pictures",
            "pictures channels"),
    Command("previous-page", "comma", "picture('move_page', -1)", "previous page of channels", "page", "Pictures",
            "pictures"),
    Command("next-page", "full_stop", "picture('move_page', 1)", "next page of channels", "page", "Pictures",
            "pictures"),
    Command("play", "space", "picture('play')", "play the epochs one after another, or pause", "play", "Pictures",
            "pictures"),
)  # fmt: skip

_OF_A_RUN = (
    Command("train-longer", "T", "app.carry_out('longer')", "resume a completed run with more epochs", "", "Runs",
            "run ended recipe writable"),
    Command("evaluate", "A", "app.carry_out('evaluate')", "measure the run on its validation photographs", "", "Runs",
            "run"),
    Command("find-rate", "ctrl+l", "app.carry_out('find-rate')", "find a learning rate for this configuration", "",
            "Runs", "run recipe"),
    Command("export-network", "", "app.export_network", "write the network as a file for other programs", "", "Runs",
            "run recipe", "format"),
)  # fmt: skip

PANES = ("loss", "accuracy", "run", "machine", "layers", "log")

DASHBOARD = (
    Command("train", "t", "app.new_run", "start a new training run", "train", "Runs", "new-runs"),
    Command("stop", "S", "app.request('stop')", "stop the run after this batch (asks first)", "stop", "Runs",
            "run live writable"),
    Command("resume", "R", "app.request('resume')", "resume the run from its last checkpoint", "resume", "Runs",
            "run ended incomplete recipe writable"),
    Command("frame", "F", "app.request('frame')", "make pictures of the current weights now", "", "Runs",
            "run live writable"),
    Command("runs", "r", "app.runs", "all runs: sort, filter, compare, delete", "runs", "Runs"),
    Command("run-page", "i", "app.request('page')", "everything about the run: settings, files …", "info", "Runs",
            "run"),
    Command("classify", "c", "classify", "classify a photograph with this run", "classify", "Runs", "run recipe",
            "path"),
    Command("mistakes", "w", "mistakes", "what it gets wrong, suspect labels, figures", "mistakes", "Runs",
            "run predictions"),
    *_PICTURES,
    Command("beside", "b", "beside", "show this epoch beside the frozen one", "beside", "Pictures", "pictures"),
    Command("explore", "enter", "enter", "open the explorer, then enlarge a channel", "explore", "Pictures"),
    replace(_BACK, action="back", description="leave the channel, the explorer or the pane", group="Pictures"),
    Command("health", "H", "health", "list what is unhealthy: dead channels, gradients", "health", "Pictures",
            "run health"),
    Command("export", "e", "export(False)", "write the view as a PNG into the run's visuals", "export", "Pictures",
            "pictures writable"),
    Command("export-epochs", "E", "export(True)", "write the view of all epochs as a GIF", "", "Pictures",
            "pictures writable"),
    Command("metric", "a", "next_metric", "metric of the second chart: accuracy, F1 …", "", "Curves", "run"),
    Command("log-scale", "y", "curves('toggle_log_scale')", "logarithmic or linear loss axis", "", "Curves"),
    Command("x-axis", "x", "curves('next_x_axis')", "x axis: epochs, steps or minutes", "", "Curves"),
    Command("smooth", "s", "curves('next_smoothing')", "smooth training curves: some, much or none", "", "Curves"),
    Command("enlarge", "plus,equals_sign", "enlarge(True)", "enlarge the focused pane to the whole screen", "",
            "Everywhere"),
    Command("shrink", "underscore,minus", "enlarge(False)", "show all panes again", "", "Everywhere"),
    Command("next-pane", "tab", "next_pane(1)", "focus the next pane", "", "Everywhere"),
    Command("previous-pane", "shift+tab", "next_pane(-1)", "focus the previous pane", "", "Everywhere"),
    Command("filter", "slash", "filter", "show only log lines that contain a text; in the explorer, layers", "filter",
            "Everywhere"),
    Command("log-up", "pageup", "scroll_log(-1)", "scroll the log up", "", "Everywhere"),
    Command("log-down", "pagedown", "scroll_log(1)", "scroll the log down", "", "Everywhere"),
    *(
        Command(f"pane-{pane}", str(n), f"focus_pane('{pane}')", f"focus the {pane} pane", "", "Everywhere")
        for n, pane in enumerate(PANES, 1)
    ),
    *_OF_A_RUN,
    Command("epoch", "", "show_epoch", "show an epoch", "", "Pictures", "run", "epoch"),
    Command("layer", "", "show_layer", "show a layer", "", "Pictures", "pictures", "layer"),
    Command("channel", "", "show_channel", "put the cursor on a channel", "", "Pictures", "pictures channels",
            "channel"),
    Command("show", "", "show_view", "show a view", "", "Pictures", "pictures", "view"),
    Command("learning-rate", "", "app.set_learning_rate", "change the learning rate of the live run", "", "Runs",
            "run live writable", "rate"),
    Command("epochs", "", "app.set_epochs", "change how many epochs the live run trains in total", "", "Runs",
            "run live writable", "count"),
    Command("checkpoint", "", "app.request('checkpoint')", "save last.ckpt of the live run now", "", "Runs",
            "run live writable"),
    replace(_CLOSE, action="close", description="leave the explorer; on the dashboard leave the program (runs "
            "continue)", hint="detach"),
)  # fmt: skip

DASHBOARD_FOOTER = (
    "epoch layer train stop resume runs info classify mistakes view explore filter | help commands detach"
)
EXPLORER_FOOTER = (
    "epoch layer explore=enlarge channel view probe play health freeze beside page scale export filter mistakes"
    " | help commands back"
)

BESIDE = (
    *_PICTURES,
    Command("explore", "enter", "enter", "enlarge a channel", "enlarge", "Pictures", "pictures"),
    Command("side", "tab", "next_moved", "choose the side that the epoch keys move", "side", "Pictures"),
    replace(_BACK, action="back", description="leave the channel or the screen"),
    _CLOSE,
)
BESIDE_FOOTER = "epoch layer side view probe channel enlarge page scale play | help commands back"

_ON_CLASSIFY = ("layer", "channel", "page", "scale")
CLASSIFY = (
    *(command for command in _PICTURES if command.hint in _ON_CLASSIFY),
    Command("heatmap", "m", "toggle_heatmap", "show or hide where it looked", "heatmap", "Pictures"),
    Command("checkpoint-choice", "b", "switch_checkpoint", "best or last checkpoint", "checkpoint", "Pictures"),
    Command("explore", "enter", "picture('zoom')", "enlarge the channel under the cursor", "zoom", "Pictures"),
    Command("classify", "c", "classify", "classify another photograph", "another", "Runs", argument="path"),
    _BACK, _CLOSE,
)  # fmt: skip
CLASSIFY_FOOTER = "layer heatmap checkpoint another channel zoom | help commands back"

COMPARE = (
    *_epochs("move({})", "first", "last"),
    Command("step-back", "comma", "step(-1)", "cursor one column to the left"),
    Command("step-forward", "full_stop", "step(1)", "cursor one column to the right"),
    Command("previous-run", "up", "highlight(-1)", "previous run", "run"),
    Command("next-run", "down", "highlight(1)", "next run", "run"),
    Command("hide", "space", "toggle_entry", "show or hide the run", "hide"),
    *(Command(f"hide-{n}", str(n), f"toggle_number({n})", f"show or hide run {n}") for n in range(1, 10)),
    Command("only", "o", "only", "show only this run, or all", "only"),
    Command("explore", "enter", "open", "open the run", "open"),
    Command("x-axis", "x", "change('axis')", "x axis: epochs, steps or minutes", "axis"),
    Command("smooth", "s", "change('smoothing')", "smooth training curves", "smooth"),
    Command("log-scale", "y", "log_scale", "logarithmic loss", "log"),
    Command("metric", "a", "next_metric", "metric of the second chart", "metric"),
    Command("curves", "v", "change('names')", "training curves, validation curves, or both", "train/val"),
    Command("seeds", "B", "seeds", "show runs that differ only in seed as a band, or each run", "seeds", "", "seeds"),
    Command("freeze", "f", "freeze", "make this run the reference of the pictures"),
    Command("beside", "b", "beside", "pictures beside those of the reference", "pictures"),
    Command("zoom-in", "z", "zoom(1)", "zoom in", "zoom"),
    Command("zoom-out", "Z", "zoom(-1)", "zoom out"),
    Command("pan-left", "h", "pan(-1)", "pan to the left"),
    Command("pan-right", "l", "pan(1)", "pan to the right"),
    Command("differences", "d", "columns", "show values or differences first", "differences"),
    Command("next-pane", "tab", "next_chart", "the other chart", "chart", "", "one-chart"),
    _BACK, _CLOSE,
)  # fmt: skip
COMPARE_FOOTER = (
    "epoch run chart hide zoom axis smooth log metric train/val pictures seeds only differences open"
    " | help commands back"
)

RUNS = (
    # The table has the first three itself; while the filter is typed the arrows move in it all the same.
    Command("previous-run", "up", "move(-1)", "previous run"),
    Command("next-run", "down", "move(1)", "next run"),
    Command("explore", "enter", "open", "open the run; with marks compare the marked ones", "open"),
    Command("mark", "space", "mark", "mark the run or unmark it, and go to the next one", "mark", "", "row"),
    Command("filter", "slash", "edit('filter')", "filter while you type", "filter"),
    Command("sort-left", "left", "choose_column(-1)", "sort by the column to the left (or click a header)", "sort"),
    Command("sort-right", "right", "choose_column(1)", "sort by the column to the right", "sort"),
    Command("reverse", "o", "reverse", "reverse the order", "reverse"),
    Command("delete", "d,D", "delete", "delete the marked runs, or this one, after some seconds", "delete", "",
            "row writable"),
    Command("keep", "u", "keep", "keep the runs that are about to be deleted", "keep", "", "deleting"),
    Command("note", "N", "edit('note')", "write a note", "note", "", "row writable"),
    Command("rename", "f2", "edit('name')", "rename the run", "rename", "", "row writable"),
    Command("stop", "S", "request('stop')", "stop the run after this batch (asks first)", "stop", "",
            "row live writable"),
    Command("resume", "R", "request('resume')", "resume the run from its last checkpoint", "resume", "",
            "row ended incomplete writable"),
    Command("run-page", "i", "request('page')", "everything about the run: settings, files …", "info", "", "row"),
    Command("train", "t", "app.new_run", "start a new run", "new run", "", "new-runs"),
    replace(_BACK, action="back", description="close the line, clear the filter, then the marks, or go back"),
    replace(_CLOSE, keys="q,r"),
)  # fmt: skip
RUNS_FOOTER = "filter sort reverse delete keep info note rename stop resume new_run | help commands back"

MISTAKES = (
    *(replace(command, needs="epochs") for command in _epochs("move_epoch({})", "first_epoch", "follow_live")),
    Command("channel-left", "h", "move('move', -1)", "photograph or cell to the left", "photograph"),
    Command("channel-down", "j,down", "move('move_row', 1)", "photograph or cell below", "photograph"),
    Command("channel-up", "k,up", "move('move_row', -1)", "photograph or cell above", "photograph"),
    Command("channel-right", "l", "move('move', 1)", "photograph or cell to the right", "photograph"),
    Command("previous-page", "comma,pageup", "move('move_page', -1)", "previous page", "page", "", "photographs"),
    Command("next-page", "full_stop,pagedown", "move('move_page', 1)", "next page", "page", "", "photographs"),
    Command("explore", "enter", "enter", "enlarge the photograph, or list those of the cell", "open"),
    Command("next-pane", "tab", "next_tab(1)", "next tab", "tab", priority=True),
    Command("previous-pane", "shift+tab", "next_tab(-1)", "previous tab", priority=True),
    Command("tab-mistakes", "1", "show_tab('mistakes')", "list the wrong predictions"),
    Command("tab-suspects", "2", "show_tab('suspects')", "list the suspect labels"),
    Command("tab-figures", "3", "show_tab('figures')", "show confusion, calibration and ROC"),
    Command("freeze", "f", "freeze", "freeze this epoch as the reference", "freeze", "", "mistakes"),
    Command("changed-sides", "s", "changed_sides", "show only photographs that changed sides since the reference",
            "changed sides", "", "mistakes"),
    Command("never-correct", "v", "never_correct", "show only photographs that were never correct", "never correct", "",
            "mistakes"),
    replace(_BACK, action="back", description="clear the filter, or back"),
    replace(_CLOSE, keys="q,w"),
)  # fmt: skip
MISTAKES_FOOTER = "epoch photograph open page changed_sides never_correct freeze tab | help commands back"

PHOTOGRAPH = (
    *_epochs("move_epoch({})", "move_epoch(-1_000_000)", "move_epoch(1_000_000)"),
    Command("previous-photograph", "h,k,up,comma", "move(-1)", "previous photograph", "previous, next photograph"),
    Command("next-photograph", "l,j,down,full_stop", "move(1)", "next photograph", "previous, next photograph"),
    _BACK, _CLOSE,
)  # fmt: skip
PHOTOGRAPH_FOOTER = "epoch previous,_next_photograph | help commands back"

_DOCUMENT = (
    Command("previous-line", "up,k", "details('move', -1)", "previous line", "line"),
    Command("next-line", "down,j", "details('move', 1)", "next line", "line"),
    Command("page-up", "pageup", "details('page', -1)", "page up"),
    Command("page-down", "pagedown", "details('page', 1)", "page down"),
    Command("beginning", "home", "details('first')", "first line"),
    Command("end", "end", "details('last')", "last line"),
    Command("copy", "Y", "copy", "copy the line, or the section on its title (OSC 52)", "copy"),
)
RUN_PAGE = (
    *_DOCUMENT,
    Command("previous-section", "left,h,shift+tab", "section(-1)", "previous section", "section"),
    Command("next-section", "right,l,tab", "section(1)", "next section", "section"),
    Command("explore", "enter", "details('choose')", "carry out the command under the cursor", "do it"),
    Command("filter", "slash", "filter", "show only lines that contain a text", "filter"),
    Command("stop", "S", "request('stop')", "stop the run after this batch (asks first)", "stop", "", "live writable"),
    Command("resume", "R", "request('resume')", "resume the run from its last checkpoint", "resume", "",
            "ended incomplete recipe writable"),
    Command("train", "t", "carry_out('train')", "start a new run with this configuration", "new run", "",
            "new-runs"),
    *(replace(command, action=command.action.removeprefix("app.")) for command in _OF_A_RUN),
    replace(_BACK, action="back", description="clear the filter, or back"),
    replace(_CLOSE, keys="q,i"),
)  # fmt: skip
RUN_PAGE_FOOTER = "line section do_it copy filter stop resume new_run | help commands back"

_CANCEL = "cancel the command, or back"
COMMAND_OUTPUT: tuple[Command, ...] = (
    *_DOCUMENT,
    Command("run-again", "r", "run_again", "run it again", "run again"),
    replace(_BACK, description=_CANCEL), replace(_CLOSE, description=_CANCEL),
)  # fmt: skip
COMMAND_OUTPUT_FOOTER = "line copy run_again | help commands back"

FIND_RATE = (Command("explore", "enter", "take", "take the suggestion", "take it", "", "rate"), *COMMAND_OUTPUT)
FIND_RATE_FOOTER = "take_it line copy run_again | help commands back"

SETTINGS = (
    _BACK,
    Command("edit-file", "ctrl+e", "edit", "open the file in $EDITOR", "editor"),
    Command("default", "ctrl+d", "reset", "set this setting to its default", "default"),
    Command("change", "enter,space", "change", "change this setting", "change"),
    Command("previous-value", "left", "step(-1)", "previous value", "other value"),
    Command("next-value", "right", "step(1)", "next value", "other value"),
    replace(_CLOSE, keys="q,O"),
)
SETTINGS_FOOTER = "change other_value default editor | help commands back"

NEW_RUN = (
    _BACK,
    Command("start", "ctrl+s", "start", "start the run", "start"),
    Command("complete", "ctrl+t", "complete", "complete the path", "complete path"),
    Command("all-settings", "ctrl+n", "show_all", "show all settings, or only those in use", "all settings"),
    # With priority, because the fields themselves have the key.
    Command("default", "ctrl+d", "restore", "restore the default of the field", "default", priority=True),
    Command("find-rate", "ctrl+l", "find_rate", "find a learning rate", "learning rate", "", "new-run"),
    # With priority, so that what is typed in one go with such a key goes to the field that the key leads to.
    Command("next-field", "tab,down,enter", "move(1)", "next field", "field", priority=True),
    Command("previous-field", "shift+tab,up", "move(-1)", "previous field", priority=True),
)
NEW_RUN_FOOTER = "field Space:choices all_settings default learning_rate complete_path | start back"

WELCOME = (
    replace(_BACK, description="the dashboard", hint="dashboard"),
    Command("runs", "r", "app.runs", "all runs", "runs", "Runs"),
    replace(_CLOSE, action="app.detach", description="leave the program", hint="quit"),
)
WELCOME_FOOTER = "↑↓:choose Enter:continue dashboard runs | help commands quit"

HELP = (
    Command("up", "up,k", "scroll('up')", "up", "scroll"),
    Command("down", "down,j", "scroll('down')", "down", "scroll"),
    Command("page-down", "pagedown,space", "scroll('page_down')", "page down", "page"),
    Command("page-up", "pageup", "scroll('page_up')", "page up"),
    Command("beginning", "home,g", "scroll('home')", "beginning", "beginning"),
    Command("end", "end,G", "scroll('end')", "end", "end"),
    _BACK,
    replace(_CLOSE, keys="q,question_mark,f1"),
)
HELP_FOOTER = "scroll page beginning end | back"

TABLES: dict[str, tuple[Command, ...]] = {
    "the dashboard": DASHBOARD, "pictures side by side": BESIDE, "classifying": CLASSIFY, "comparing": COMPARE,
    "the runs": RUNS, "the run page": RUN_PAGE, "the output of a command": COMMAND_OUTPUT,
    "the learning rates": FIND_RATE, "the settings": SETTINGS, "the mistakes": MISTAKES, "a photograph": PHOTOGRAPH,
    "the form for a new run": NEW_RUN, "the first screen": WELCOME, "the help": HELP,
}  # fmt: skip
"""The tables by the screens that have them, in words."""


def bindings(commands: Iterable[Command]) -> list[Binding]:
    """Return the key bindings of commands, by whose names the keymap changes their keys."""
    return [
        Binding(
            command.keys,
            f"app.palette('{command.name} ')" if command.argument else command.action,
            command.description,
            show=False,
            priority=command.priority,
            id=command.name,
        )
        for command in commands
        if command.keys
    ]


_SHOWN = {
    "left": "←", "right": "→", "up": "↑", "down": "↓", "escape": "Esc", "space": "Space", "pageup": "PgUp",
    "pagedown": "PgDn", "slash": "/", "plus": "+", "minus": "-", "underscore": "_",
}  # fmt: skip


def shown_keys(keys: str) -> list[str]:
    """Return keys as people write them, e.g. ``Ctrl+P``."""
    return [_shown(key.strip()) for key in keys.split(",") if key]


def _shown(key: str) -> str:
    *modifiers, last = key.split("+")
    character = key_to_character(last) or ""
    name = _SHOWN.get(last) or (character if character.isprintable() and character else last.title())
    return "+".join([*map(str.title, modifiers), name.upper() if modifiers and len(name) == 1 else name])


@cache
def with_hint(table: tuple[Command, ...], hint: str) -> tuple[Command, ...]:
    """Return the commands of a screen or the application that have keys, and this word in the line of keys."""
    return tuple(command for command in (*table, *EVERYWHERE) if command.hint == hint and command.keys)


def for_palette(table: Sequence[Command]) -> list[Command]:
    """Return the commands of a screen and those of the application that the screen does not replace."""
    own = {command.name for command in table}
    return [*table, *(command for command in EVERYWHERE if command.name not in own)]
