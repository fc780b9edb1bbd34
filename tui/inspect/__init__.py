"""From a frame file to a picture: view modes, selection, request, layout, composition, and the pane that shows it."""
