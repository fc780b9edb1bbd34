"""Views of state: they take data and post messages, open no file and start no process."""
