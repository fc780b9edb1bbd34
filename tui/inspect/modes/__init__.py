"""The views of a layer, in the order in which the `m` key goes through them. A new view is a new module here."""

from __future__ import annotations

from tui.inspect.modes.average import ChannelAverage
from tui.inspect.modes.base import ViewMode
from tui.inspect.modes.filters import Filters
from tui.inspect.modes.maps import FeatureMaps

MODES: tuple[ViewMode, ...] = (FeatureMaps(), Filters(), ChannelAverage())
