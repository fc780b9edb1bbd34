"""What screens have in common: keys wait for the widgets, Escape leads back, and some show pictures."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from textual import on
from textual.screen import ScreenResultType
from textual.widgets import Static

from tui.colours import Restyled
from tui.completion import complete_path
from tui.graphics.textual_internals import ForgivingScreen, QuietFocusScreen
from tui.graphics.widget import PictureView
from tui.inspect.browser import LayerBrowser
from tui.messages import SettingsChanged
from tui.settings import settings_of
from tui.widgets.prompt import Prompt


class BaseScreen(ForgivingScreen[ScreenResultType]):
    """A screen whose keys do nothing until all of its widgets are mounted.

    On a busy machine the first widget can have the focus long before the last one is mounted, and would pass on keys
    for actions that look for that one.
    """

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Allow actions once the screen is mounted, which is after its widgets are."""
        return self.is_mounted

    @property
    def is_open(self) -> bool:
        """Whether the screen is in the stack and has its widgets.

        It loses them while its workers still run, when it is left and when the program ends.
        """
        return self in self.app.screen_stack and bool(self.children)

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
        """Draw everything in the colours of another theme, in the names of which texts are kept."""
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


class PictureScreen(QuietFocusScreen[None], BaseScreen[None]):
    """A screen with a layer pane, and a prompt that asks for a photograph."""

    def __init__(self, root: Path, browser: LayerBrowser) -> None:
        super().__init__()
        self.root = root
        self.browser = browser
        self.prompt = Prompt(partial(complete_path, root=root), id="prompt")

    def classify(self, text: str) -> object:
        """Classify the file that a typed text means."""
        raise NotImplementedError

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave the key that opens the prompt to the prompt while it is open."""
        return super().check_action(action, parameters) and not (action == "open_prompt" and self.prompt.is_open)

    def action_picture(self, change: str, *by: int) -> None:
        """Call a method of the layer pane, with a number or without: the keys act on it wherever the focus is."""
        getattr(self.browser, change)(*by)

    def action_open_prompt(self) -> None:
        """Ask for a photograph."""
        self.prompt.open()

    @on(Prompt.Closed)
    def _prompt_closed(self, event: Prompt.Closed) -> None:
        self.prompt.close()
        if event.text:
            self.classify(event.text)
