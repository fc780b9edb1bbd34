"""What the keys of a screen do to its layer pane; bindings name an action of their screen, and this hands it on."""

from __future__ import annotations

from tui.inspect.browser import LayerBrowser


class PictureActions:
    """Actions of a screen that has a `LayerBrowser`; the screen says which."""

    @property
    def browser(self) -> LayerBrowser:
        """The layer pane."""
        raise NotImplementedError

    @property
    def selected_layer(self) -> int:
        """Index of the layer that is looked at."""
        return self.browser.selection.layer

    def action_move_epoch(self, by: int) -> None:
        """Other epoch."""
        self.browser.move_epoch(by)

    def action_first_epoch(self) -> None:
        """First epoch."""
        self.browser.first_epoch()

    def action_follow_live(self) -> None:
        """Latest epoch."""
        self.browser.follow_live()

    def action_move_layer(self, by: int) -> None:
        """Other layer."""
        self.browser.move_layer(by)

    def action_move_probe(self, by: int) -> None:
        """Other probe photograph."""
        self.browser.move_probe(by)

    def action_move_channel(self, right: int, down: int) -> None:
        """Other channel."""
        self.browser.move_channel(right, down)

    def action_next_mode(self) -> None:
        """Maps, filters, average."""
        self.browser.next_mode()

    def action_zoom(self) -> None:
        """One channel."""
        self.browser.zoom()

    def action_play(self) -> None:
        """Play the epochs."""
        self.browser.play()
