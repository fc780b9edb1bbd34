"""The one exception that becomes one clear line for the person at the keyboard."""


class UserError(Exception):
    """Something the user can mend; its message names the thing and the remedy, without a trailing traceback."""
