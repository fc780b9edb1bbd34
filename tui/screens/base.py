"""What screens have in common: keys wait for the widgets, Escape leads back, and some show pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from textual import on
from textual.screen import ScreenResultType
from textual.widgets import Static

from facegender.rendering.view_options import SCOPES, VARIANTS
from facegender.runs.folder import LIVE_STATES
from facegender.support.errors import UserError
from facegender.support.text import one_line
from tui.colours import Restyled
from tui.commands import REASONS, Command, bindings, shown_keys, with_hint
from tui.graphics.textual_internals import ForgivingScreen, PreparedScreen, QuietFocusScreen
from tui.graphics.widget import PictureView
from tui.host.access import access_of
from tui.inspect.browser import LayerBrowser
from tui.messages import SettingsChanged
from tui.settings import settings_of
from tui.widgets.keys import Hint, KeyHints


class BaseScreen(
    PreparedScreen[ScreenResultType], QuietFocusScreen[ScreenResultType], ForgivingScreen[ScreenResultType]
):
    """A screen whose keys do nothing until all of its widgets are mounted.

    On a busy machine the first widget can have the focus long before the last one is mounted, and would pass on keys
    for actions that look for that one.

    Attributes:
        SCREEN_COMMANDS: What can be done here, a table of `tui.commands`; the key bindings derive from it.
        FOOTER: What the line of keys shows: hints of commands, the most important first, those that are always shown
            behind a ``|``. ``_`` stands for a space, ``open=compare`` shows "compare" for the command with the hint
            "open", and ``↑↓:choose`` is shown as it is.
    """

    SCREEN_COMMANDS: ClassVar[tuple[Command, ...]] = ()
    FOOTER: ClassVar[str] = ""
    DEFAULT_CSS = "BaseScreen { layers: default palette; }"
    palette_is_open = False
    """Whether the keys are those of the palette."""

    def __init_subclass__(cls, **options: Any) -> None:
        """Make the key bindings of a screen's own commands."""
        if own := vars(cls).get("SCREEN_COMMANDS"):
            cls.BINDINGS = [*bindings(own), *vars(cls).get("BINDINGS", ())]
        super().__init_subclass__(**options)

    @property
    def keymap(self) -> Mapping[str, str]:
        """The keys that the user has given to commands, by their names."""
        return getattr(self.app, "keymap", {})

    def lacks(self) -> frozenset[str]:
        """Return which needs of commands are not met at the moment: words of `commands.REASONS`."""
        return frozenset({"writable", "new-runs"} if access_of(self.app).read_only else ())

    def footer(self) -> str:
        """Return what the line of keys shows at the moment, in the form of `FOOTER`."""
        return self.FOOTER

    def choices(self, argument: str) -> list[str]:
        """Return the arguments that the palette lists, by `Command.argument`; empty if any text may be one."""
        return []

    def reason(self, command: Command, lacks: frozenset[str] | None = None) -> str:
        """Return why a command does nothing at the moment; empty if it does something."""
        lacks = self.lacks() if lacks is None else lacks
        return next((REASONS[need] for need in command.needs.split() if need in lacks), "")

    def hints(self) -> tuple[list[Hint], list[Hint]]:
        """Return the keys that do something now, for `KeyHints`."""
        first, _, last = self.footer().partition("|")
        lacks = self.lacks()
        return list(self._hints(first.split(), lacks)), list(self._hints(last.split(), lacks))

    def _hints(self, words: Iterable[str], lacks: frozenset[str]) -> Iterable[Hint]:
        keymap = self.keymap
        for word in words:
            key, _, text = word.replace("_", " ").partition(":")
            if text:
                yield key, text
                continue
            hint, _, text = key.partition("=")
            keys = [
                shown_keys(keymap.get(command.name, command.keys))[0]
                for command in with_hint(self.SCREEN_COMMANDS, hint)
                if not self.reason(command, lacks)
            ]
            if keys:
                yield ("" if all(len(key) == 1 for key in keys) else " ").join(keys), text or hint

    def update_keys(self) -> None:
        """Show the keys that do something now."""
        for line in self.query_children(KeyHints):
            line.show(*self.hints())

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Allow actions once the screen is mounted, which is after its widgets are, unless the palette has the keys."""
        return self.is_mounted and not self.palette_is_open

    @property
    def is_open(self) -> bool:
        """Whether the screen is in the stack and has all its widgets.

        It loses one after the other while its workers still run, when it is left and when the program ends.
        """
        return self in self.app.screen_stack and bool(self.children) and self.display  # not if it is being removed

    def redraw(self) -> None:
        """Draw the pictures again, after the terminal was probed again or its cells have another size."""
        for view in self.query(PictureView):
            view.redraw()
        for browser in self.query(LayerBrowser):
            browser.redraw()

    @on(SettingsChanged)
    def _redraw_by_settings(self, event: SettingsChanged) -> None:
        settings, before = settings_of(self.app), event.before
        if (settings.levels, settings.colour_map) != (before.levels, before.colour_map):
            self.redraw()

    def restyle(self) -> None:
        """Draw everything in the colours of another theme. Texts hold the names of colours, not their values."""
        for widget in self.query():
            if isinstance(widget, Static):
                widget.update(widget.content, layout=False)
            elif isinstance(widget, Restyled):
                widget.restyle()
            widget.refresh()

    async def may_end(self) -> bool:
        """Return whether the screen may end; one with unfinished work asks."""
        return True

    def action_leave(self) -> None:
        """Go back to the screen below."""
        if self.is_active:
            self.dismiss(None)


class PictureScreen(BaseScreen[None]):
    """A screen with a layer pane, on which a photograph is classified."""

    def __init__(self, root: Path, browser: LayerBrowser) -> None:
        super().__init__()
        self.root = root
        self.browser = browser

    def classify(self, text: str) -> object:
        """Classify the file that a typed text means."""
        raise NotImplementedError

    def lacks(self) -> frozenset[str]:
        """Return what the view on the layer pane does not have."""
        return super().lacks() | lacks_of(self.browser)

    def action_classify(self, text: str) -> None:
        """Classify the file that a typed text means."""
        self.classify(text)

    def action_picture(self, change: str, *by: int) -> None:
        """Call a method of the layer pane, with a number or without: the keys act on it wherever the focus is."""
        getattr(self.browser, change)(*by)


def whole_number(text: str, name: str) -> int:
    """Return a typed number, which is not negative.

    Args:
        name: What the number means, for the message.

    Raises:
        UserError: It is not a whole number of at most 18 digits.
    """
    if not text.isdecimal() or len(text) > 18:  # `int` refuses thousands of digits
        raise UserError(f"{name} {one_line(text)}: it must be a whole number, e.g. {name} 3")
    return int(text)


def unmet(needs: Mapping[str, bool]) -> frozenset[str]:
    """Return the words of `commands.REASONS` whose need is not met."""
    return frozenset(word for word, is_met in needs.items() if not is_met)


def lacks_of_state(state: str) -> frozenset[str]:
    """Return what a run in a state does not have, words of `commands.REASONS`."""
    live = state in LIVE_STATES
    return unmet({"live": live, "ended": not live, "incomplete": state != "completed"})


def lacks_of(browser: LayerBrowser) -> frozenset[str]:
    """Return what the view on a layer pane does not have, words of `commands.REASONS`."""
    mode = browser.selection.mode
    return unmet(
        {
            "pictures": browser.shown is not None,
            "channels": mode.has_cursor,
            "probes": mode.shows_probe,
            "variants": mode.view in VARIANTS,
            "scales": len(SCOPES[mode.view]) > 1,
        }
    )
