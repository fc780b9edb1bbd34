"""What screens have in common: keys wait for the widgets, Escape leads back, and some have pictures and a prompt."""

from __future__ import annotations

from pathlib import Path

from textual import on
from textual.screen import Screen, ScreenResultType

from tui.completion import complete_path
from tui.graphics.textual_internals import QuietFocusScreen
from tui.inspect.browser import LayerBrowser
from tui.widgets.prompt import Prompt


class BaseScreen(Screen[ScreenResultType]):
    """A screen whose keys do nothing until all of its widgets are mounted.

    On a busy machine the first widget can have the focus long before the last one is mounted, and would pass on keys
    for actions that look for that one.
    """

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Allow actions once the screen is mounted, which is after its widgets are."""
        return self.is_mounted

    @property
    def is_open(self) -> bool:
        """Whether the screen is in the stack. One that was left loses its widgets while its workers still run."""
        return self in self.app.screen_stack

    def action_leave(self) -> None:
        """Go back to the screen below."""
        if self.is_current:
            self.dismiss(None)


class PictureScreen(QuietFocusScreen[None], BaseScreen[None]):
    """A screen with a `LayerBrowser` and a `Prompt`."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root = root

    def complete(self, text: str) -> tuple[str, str]:
        """Complete a path that begins at the root."""
        return complete_path(text, self.root)

    @property
    def browser(self) -> LayerBrowser:
        """The layer pane."""
        return self.query_one(LayerBrowser)

    def action_picture(self, method: str, by: int = 0) -> None:
        """Call a method of the layer pane, wherever the focus is; those that move take `by`."""
        call = getattr(self.browser, method)
        call(by) if by else call()

    @property
    def prompt(self) -> Prompt:
        """The prompt."""
        return self.query_one(Prompt)

    def classify(self, text: str) -> None:
        """Classify the file that a typed text means."""
        raise NotImplementedError

    def restore_focus(self) -> None:
        """Focus what had the focus before the prompt was opened."""
        raise NotImplementedError

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave the key that opens the prompt to the prompt while it is open."""
        return super().check_action(action, parameters) and not (action == "open_prompt" and self.prompt.is_open)

    def action_open_prompt(self) -> None:
        """Ask for a photograph."""
        self.prompt.open()

    @on(Prompt.Closed)
    def _prompt_closed(self) -> None:
        self.prompt.close()
        self.restore_focus()

    @on(Prompt.Submitted)
    def _prompt_submitted(self, event: Prompt.Submitted) -> None:
        self._prompt_closed()
        self.classify(event.text)
