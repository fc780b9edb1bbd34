"""An application whose theme, keys and graphics follow the settings file, also when that changes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

from textual import on, work
from textual.theme import Theme

from facegender.support.errors import UserError
from facegender.support.text import one_line
from tui.colours import ColouredApp
from tui.graphics.terminal import Terminal
from tui.graphics.textual_internals import LateReplyApp
from tui.keymap import checked_keymap
from tui.messages import ChangeSetting, SettingsChanged
from tui.screens.base import BaseScreen
from tui.settings import Problems, Settings, SettingsError, load_settings, settings_path
from tui.themes import AUTO, THEMES_FOLDER, automatic_theme, find_theme


def unknown_names(settings: Settings) -> Problems:
    """Return what is wrong with names of themes, commands and keys, for `load_settings`."""
    wrong_keys = checked_keymap(settings.keys)[1]
    problems: Problems = {("keys", name): f"keys.{name}: {problem}" for name, problem in wrong_keys.items()}
    if settings.theme != AUTO:
        try:
            find_theme(settings.theme, settings_path().parent / THEMES_FOLDER)
        except UserError as error:
            problems["theme",] = str(error)
    return problems


def _stamp(file: Path) -> tuple[int, int] | None:
    """Return a value that differs if the file has changed; None while it cannot be read."""
    try:
        found = file.stat()
    except (OSError, ValueError):  # the second one: no file can have such a name
        return None
    return found.st_mtime_ns, found.st_size


class ConfiguredApp(ColouredApp, LateReplyApp):
    """Puts settings into force, reads them again when their file has changed, and writes a changed one to the file.

    Args:
        graphics: The protocol to use, or "auto", when the terminal is probed again; None for that of the settings.
        settings: What was read from the settings file; None for the defaults.
        settings_error: What is wrong in that file.

    Attributes:
        terminal: What the terminal can show; `PictureView` reads it.
        settings: The settings in force, which screens and widgets read. `SettingsChanged` says that they have changed.
        settings_path: Their file, which need not exist.
        keymap: Keys that the user has given to commands, by their names.
    """

    def __init__(
        self,
        terminal: Terminal,
        *,
        graphics: str | None,
        settings: Settings | None,
        settings_error: SettingsError | None,
    ) -> None:
        super().__init__()
        self.terminal = terminal
        self._graphics = graphics
        self.settings = settings or Settings()
        self.settings_path = settings_path()
        self.keymap: Mapping[str, str] = {}
        self._settings_error = settings_error
        self._settings_lock = asyncio.Lock()
        self._settings_stamp = _stamp(self.settings_path) if settings else None
        # Before there is a screen: a change of theme restyles and repaints every widget.
        self._theme_stamp = _stamp(self.themes_folder / f"{self.settings.theme}.toml")
        self._theme_error: UserError | None = None
        try:
            self._use_theme(self._find_theme())
        except UserError as error:
            self._theme_error = error
            self._use_theme(find_theme(automatic_theme(terminal.background, os.environ), self.themes_folder))

    def on_mount(self) -> None:
        """Put the keys into force, and say what is wrong in the files."""
        self.theme_changed_signal.subscribe(self, self._restyle, immediate=True)
        if self._theme_error is not None:
            self._notify_theme(self._theme_error, "the automatic theme is used")
        self._use_keys()
        if self._settings_error is not None:
            self._notify_settings(self._settings_error, "the default is used for what is wrong")

    def action_redraw(self) -> None:
        """Probe the terminal again and redraw everything."""
        raise NotImplementedError

    @property
    def themes_folder(self) -> Path:
        """The folder of the user's themes, beside the settings file."""
        return self.settings_path.parent / THEMES_FOLDER

    def _find_theme(self) -> Theme:
        """Return the theme of the settings; "auto" means the light or the dark one, by the terminal's background."""
        name = self.settings.theme
        return find_theme(
            automatic_theme(self.terminal.background, os.environ) if name == AUTO else name, self.themes_folder
        )

    def _use_theme(self, theme: Theme) -> None:
        before = self.get_theme(theme.name)
        self.register_theme(theme)
        if theme.name != self.theme:
            self.theme = theme.name
        elif theme != before:  # its file has changed
            self.refresh_css(animate=False)
            self._restyle(theme)

    @work(group="theme", exclusive=True)
    async def _change_theme(self) -> None:
        """Use the theme of the settings, once its file has been read."""
        try:
            self._use_theme(await asyncio.to_thread(self._find_theme))
        except UserError as error:
            self._notify_theme(error, "the theme stays as it was")

    def _restyle(self, _: object) -> None:
        for screen in self.screen_stack:
            if isinstance(screen, BaseScreen):
                screen.restyle()

    def _check_settings(self) -> None:
        """Read the settings again if their file has changed, unless the disk has not answered the last time."""
        if not any(worker.group == "settings" and not worker.is_finished for worker in self.workers):
            self._reload_settings()

    @work(group="settings")
    async def _reload_settings(self) -> None:
        files = self.settings_path, self.themes_folder / f"{self.settings.theme}.toml"
        stamp, theme_stamp = await asyncio.to_thread(lambda: [_stamp(file) for file in files])
        if theme_stamp != self._theme_stamp:
            self._theme_stamp = theme_stamp
            self._change_theme()
        if stamp == self._settings_stamp:
            return
        self._settings_stamp = stamp
        try:
            settings = await asyncio.to_thread(load_settings, self.settings_path, unknown_names)
        except SettingsError as error:
            self._notify_settings(error, "the settings stay as they were")
        else:
            self.use_settings(settings)

    @on(ChangeSetting)
    def _change_setting(self, event: ChangeSetting) -> None:
        from tui.settings_edit import with_setting

        self.use_settings(with_setting(self.settings, event.name, event.value))
        self._save_setting(event.name, event.value)

    @work(group="settings")
    async def _save_setting(self, name: str, value: object) -> None:
        from tui.settings_edit import save_setting

        async with self._settings_lock:
            try:
                await asyncio.to_thread(save_setting, self.settings_path, name, value)
            except UserError as error:
                consequence = f"{name} is in force until the program ends"
                self.notify(one_line(f"not saved: {error}; {consequence}"), severity="error", markup=False, timeout=20)

    def use_settings(self, settings: Settings) -> None:
        """Put other settings into force, and tell every screen."""
        self.retract("settings")
        before, self.settings = self.settings, settings
        if settings == before:
            return
        if settings.graphics != before.graphics and self._graphics is None:
            self.action_redraw()
        if settings.theme != before.theme:
            self._change_theme()
        self._use_keys()
        for screen in self.screen_stack:
            screen.post_message(SettingsChanged(before))

    def _use_keys(self) -> None:
        """Give commands the keys of the settings, those that can be used, and show them in the line of keys."""
        keymap, _ = checked_keymap(self.settings.keys)
        if keymap != self.keymap:
            self.keymap = keymap
            self.set_keymap(keymap)
            for screen in self.screen_stack:
                if isinstance(screen, BaseScreen):
                    screen.update_keys()

    def _notify_settings(self, error: SettingsError, consequence: str) -> None:
        lines = map(one_line, (f"in {error.path}:", *error.problems, f"({consequence})"))
        self.notify_about("settings", "\n".join(lines), severity="warning", timeout=20)

    def _notify_theme(self, error: UserError, consequence: str) -> None:
        self.notify_about("theme", one_line(f"{error} ({consequence})"), severity="warning", timeout=20)
