"""The actions of a screen with a layer pane: bindings name an action of their screen, which passes it to the pane."""

from __future__ import annotations

from tui.inspect.browser import LayerBrowser


class PictureActions:
    """Mixin for a screen with a `LayerBrowser`."""

    @property
    def browser(self) -> LayerBrowser:
        """The layer pane."""
        raise NotImplementedError

    @property
    def selected_layer(self) -> int:
        """Index of the selected layer."""
        return self.browser.selection.layer

    def action_move_epoch(self, by: int) -> None:
        """Move by `by` frames."""
        self.browser.move_epoch(by)

    def action_first_epoch(self) -> None:
        """Show the first epoch."""
        self.browser.first_epoch()

    def action_follow_live(self) -> None:
        """Show the latest epoch and follow the run."""
        self.browser.follow_live()

    def action_move_layer(self, by: int) -> None:
        """Move by `by` layers."""
        self.browser.move_layer(by)

    def action_move_probe(self, by: int) -> None:
        """Move by `by` probe photographs."""
        self.browser.move_probe(by)

    def action_move_channel(self, right: int, down: int) -> None:
        """Move the channel cursor."""
        self.browser.move_channel(right, down)

    def action_next_mode(self) -> None:
        """Switch to the next view."""
        self.browser.next_mode()

    def action_zoom(self) -> None:
        """Show only the channel under the cursor."""
        self.browser.zoom()

    def action_play(self) -> None:
        """Play the epochs."""
        self.browser.play()
