"""The views of a layer, in the order in which the `m` key goes through them.

Plain data, so that the first screen does not wait for numpy: `facegender.rendering.views` computes what they show.
"""

from __future__ import annotations

import msgspec

from facegender.rendering.view_options import VIEW_TITLES, View


class ViewMode(msgspec.Struct, frozen=True):
    """A view as the interface presents it.

    Attributes:
        view: Its name in `facegender.rendering.view_options`.
        noun: What one tile shows.
        has_cursor: Whether a channel can be chosen and enlarged.
        shows_probe: Whether the view depends on the probe photograph.
    """

    view: View
    noun: str = "channel"
    has_cursor: bool = True
    shows_probe: bool = True

    @property
    def title(self) -> str:
        """Its name in the title of the pane."""
        return VIEW_TITLES[self.view]


MODES: tuple[ViewMode, ...] = (
    ViewMode("maps"),
    ViewMode("filters", noun="filter", shows_probe=False),
    ViewMode("average", has_cursor=False),
    ViewMode("difference"),
    ViewMode("cam", noun="class", has_cursor=False),
    ViewMode("top", shows_probe=False),
)
