"""The palette: finds commands, runs and settings, takes arguments, and says in place what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
import recorded
from piloting import COMMON, LARGE, SMALL, WatchedApp, palette_of, running, screen_text, type_at_once, until, until_said
from textual import events

from facegender.support.cache_dir import cache_folder
from facegender.support.errors import UserError
from tui.host.history import MAX_LINES, History
from tui.messages import SetEpochs, SetLearningRate
from tui.screens.base import whole_number
from tui.screens.compare import Compare
from tui.screens.help import Help
from tui.screens.new_run import NewRun
from tui.screens.palette import Palette
from tui.screens.runs import Runs
from tui.widgets.layers import LayerList


@pytest.fixture(autouse=True)
def _own_history(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEGENDER_CACHE", str(root / "cache"))


async def seen(app: WatchedApp, epoch: int) -> None:
    """Wait until an epoch, counted from 0, is selected and some picture is shown."""
    browser = app.dashboard.browser
    await until(lambda: browser.shown is not None and browser.epoch == epoch)


async def test_a_command_is_found_by_some_of_its_letters(root: Path) -> None:
    recorded.write_run(root)
    async with running(root) as (app, pilot):
        await seen(app, 2)
        await pilot.press("colon", *"nxlay")
        await until_said(app, "next layer")
        await pilot.press("enter")
        await until(lambda: app.dashboard.browser.selection.layer == 1)
        assert app.screen is app.dashboard


@pytest.mark.parametrize("size", [LARGE, COMMON, SMALL, (20, 3), (1, 1)], ids=str)
async def test_every_key_is_harmless_at_every_size(root: Path, size: tuple[int, int]) -> None:
    recorded.write_run(root)
    async with running(root, size) as (app, pilot):
        for key in ("ctrl+p", "pagedown", "pageup"):  # in one go, as they arrive over a slow link
            app.simulate_key(key)
        await until(lambda: palette_of(app))
        await pilot.press("pagedown", "pageup", "up", "down", "tab", "q", "escape")
        await until(lambda: app.screen is app.dashboard)


async def test_what_is_typed_in_one_burst_arrives(root: Path) -> None:
    for name in ("heron", "otter"):
        recorded.write_run(root, name)
    async with running(root) as (app, _):
        type_at_once(app, ":compare heron otter\r")
        await until(lambda: isinstance(app.screen, Compare))
        type_at_once(app, "q:open heron\r:epoch 2\r")
        await until(lambda: app.screen is app.dashboard and app.dashboard.folder.name == "heron")
        await until(lambda: app.screen is app.dashboard or palette_of(app))


async def test_characters_that_arrive_together_are_matched_together(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    matched: list[str] = []
    match = Palette._match

    def counted(palette: Palette, **options: bool) -> None:
        match(palette, **options)
        matched.append(palette.input.value)

    monkeypatch.setattr(Palette, "_match", counted)
    recorded.write_run(root)
    async with running(root) as (app, _):
        type_at_once(app, ":")
        await until(lambda: palette_of(app))
        matched.clear()
        text = "no command is like this"
        type_at_once(app, text)
        app.post_message(events.Key("left", None))  # a key that changes nothing comes last
        await until(lambda: matched and matched[-1] == text)
        assert len(matched) < len(text) / 2
        await until_said(app, f"no match: no command and no run is like “{text}”")


async def test_a_run_is_found_by_a_part_of_its_name(root: Path) -> None:
    for name in ("heron", "otter"):
        recorded.write_run(root, name)
    async with running(root, run=None) as (app, pilot):
        other = "heron" if app.dashboard.folder.name == "otter" else "otter"
        await pilot.press("colon", *other[:4])
        await until_said(app, f"open {other}")
        await pilot.press("enter")
        await until(lambda: app.dashboard.folder.name == other)


async def test_an_argument_is_asked_for_and_what_is_wrong_with_it_is_said_in_place(root: Path) -> None:
    recorded.write_run(root)
    async with running(root) as (app, pilot):
        await seen(app, 2)
        await pilot.press("colon", *"epoch", "enter")
        await until_said(app, "epoch takes a number; the first epoch is 1")
        await pilot.press(*"99", "enter")
        await until_said(app, "epoch 99: the run has epochs 1 to 3")
        await pilot.press("1", "enter")
        await seen(app, 0)
        assert app.screen is app.dashboard


async def test_ctrl_u_empties_the_line_although_only_the_wrong_argument_is_selected(root: Path) -> None:
    recorded.write_run(root)
    async with running(root) as (app, pilot):
        await seen(app, 2)
        await pilot.press("colon", *"epoch 99", "enter")
        await until_said(app, "epoch 99: the run has epochs 1 to 3")
        await pilot.press("ctrl+u", *"epoch 1", "enter")
        await seen(app, 0)


async def test_what_begins_with_the_typed_letters_comes_first(root: Path) -> None:
    recorded.write_run(root)
    async with running(root) as (app, pilot):
        await seen(app, 2)
        await pilot.press("colon", *"ep", "tab")
        assert palette_of(app)
        assert palette_of(app).input.value == "epoch "


async def test_a_command_that_cannot_be_run_now_is_not_replaced_by_another(root: Path) -> None:
    recorded.write_run(root, end="completed")
    async with running(root) as (app, pilot):
        await seen(app, 2)
        await pilot.press("colon", *"lea", "enter")
        await until_said(app, "the run is not training")
        assert palette_of(app)
        assert palette_of(app).input.value == "lea"


async def test_a_command_without_an_argument_is_not_run_with_one(root: Path) -> None:
    recorded.write_run(root)
    async with running(root) as (app, pilot):
        await seen(app, 2)
        await pilot.press("colon", *"first-epoch 2", "enter")
        await until_said(app, "first-epoch takes no argument")
        assert app.dashboard.browser.epoch == 2


def test_a_number_of_thousands_of_digits_is_refused_like_any_other_wrong_one() -> None:
    with pytest.raises(UserError, match="it must be a whole number"):
        whole_number("9" * 5000, "epoch")


async def test_a_layer_is_completed_and_shown(root: Path) -> None:
    recorded.write_run(root)
    async with running(root) as (app, pilot):
        await seen(app, 2)
        name = app.dashboard.browser.layers[1]
        await pilot.press("colon", *"layer", "space", *name[-2:], "tab")
        assert palette_of(app)
        assert palette_of(app).input.value == f"layer {name}"
        await pilot.press("enter")
        await until(lambda: app.dashboard.browser.selection.layer == 1)


async def test_no_match_is_said(root: Path) -> None:
    recorded.write_run(root)
    async with running(root) as (app, pilot):
        await pilot.press("colon", *"xyzzy")
        await until_said(app, "no match: no command and no run is like “xyzzy”")
        await pilot.press("enter")
        assert palette_of(app)


async def test_a_command_that_does_nothing_here_says_why(root: Path) -> None:
    recorded.write_run(root)
    async with running(root) as (app, pilot):
        await until(lambda: app.dashboard.state is not None and app.dashboard.state.read)
        await pilot.press("colon", *"mistakes", "enter")
        await until_said(app, "mistakes: this run has no predictions of single photographs")
        assert palette_of(app)


async def test_c_opens_it_with_the_word_classify(root: Path) -> None:
    (root / "ann.jpg").touch()
    recorded.write_run(root)
    async with running(root) as (app, pilot):
        type_at_once(app, "ca")
        await until(lambda: palette_of(app) and palette_of(app).input.value == "classify a")
        await pilot.press("tab")
        assert palette_of(app)
        await until(lambda: palette_of(app).input.value == "classify ann.jpg")
        await pilot.press("escape")
        assert app.screen is app.dashboard


@pytest.mark.parametrize(
    ("text", "message"), [("learning-rate 1e-4", SetLearningRate), ("epochs 20", SetEpochs)], ids=str
)
async def test_a_live_run_is_steered(
    root: Path, text: str, message: type[SetLearningRate | SetEpochs], monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded.write_run(root)
    sent: list[object] = []
    async with running(root) as (app, _):
        monkeypatch.setattr(app._run_control, "submit", sent.append)
        await until(lambda: app.dashboard.state is not None and app.dashboard.state.read)
        type_at_once(app, f":{text}\r")
        await until(lambda: sent)
        assert isinstance(sent[0], message)
        assert sent[0].value == float(text.split()[1])
        type_at_once(app, ":epochs -3\r")
        await until_said(app, "epochs -3: must be")


async def test_a_setting_is_changed(root: Path) -> None:
    recorded.write_run(root)
    async with running(root) as (app, _):
        type_at_once(app, ":setting x_")
        await until_said(app, "x_axis: Unit of the x axis of the curves. Values: epochs, steps or minutes.")
        type_at_once(app, "axis minutes\r")
        await until(lambda: app.settings.x_axis == "minutes")
        type_at_once(app, ":setting x_axis parsecs\r")
        await until_said(app, "x_axis parsecs: must be one of epochs, steps, minutes")


async def test_a_theme_is_completed_as_a_setting_too_and_checked_before_it_is_kept(root: Path) -> None:
    recorded.write_run(root)
    async with running(root) as (app, pilot):
        await pilot.press("colon")
        await until(lambda: palette_of(app) and palette_of(app)._names)
        await pilot.press(*"setting theme nor", "enter")
        await until(lambda: app.settings.theme == "nord")
        await pilot.press("colon", *"setting theme mauve-99", "enter")
        await until_said(app, "theme 'mauve-99' does not exist")
        assert app.settings.theme == "nord"


async def test_it_works_on_other_screens(root: Path) -> None:
    recorded.write_run(root)
    async with running(root) as (app, pilot):
        type_at_once(app, "r:reverse\r")
        await until(lambda: isinstance(app.screen, Runs) and app.screen._view.descending)
        await pilot.press("question_mark", "ctrl+p", *"beginn")
        await until_said(app, "beginning")
        await pilot.press("escape")
        assert isinstance(app.screen, Help)


async def test_what_was_typed_is_recalled_also_in_the_next_session(root: Path) -> None:
    recorded.write_run(root)
    async with running(root) as (app, pilot):
        await seen(app, 2)
        type_at_once(app, ":epoch 1\r")
        await until((cache_folder() / "history").is_file)
        type_at_once(app, ":epoch 2\r")
        await until(lambda: (cache_folder() / "history").read_text() == "epoch 1\nepoch 2\n")
        assert (cache_folder() / "history").stat().st_mode & 0o777 == 0o600
    async with running(root) as (app, pilot):
        await pilot.press("colon")
        await until_said(app, "typed before")
        await pilot.press("up", "up")
        assert palette_of(app)
        assert palette_of(app).input.value == "epoch 1"
        await pilot.press("down", "down")
        assert palette_of(app).input.value == ""


def test_the_history_is_bounded() -> None:
    for number in range(3 * MAX_LINES):
        history = History()
        if number == 0:
            history.load()
            kept = history
        kept.add(f"epoch {number}")
        kept.save(f"epoch {number}")
    history.load()
    assert history.lines == [f"epoch {number}" for number in range(2 * MAX_LINES, 3 * MAX_LINES)]
    assert len((cache_folder() / "history").read_text().splitlines()) == MAX_LINES


async def test_control_characters_of_names_are_not_shown(root: Path) -> None:
    recorded.write_run(root)
    kept = History()
    kept.load()
    kept.save("epoch \x1b[31m1")
    async with running(root) as (app, pilot):
        await pilot.press("colon")
        await until_said(app, "typed before")
        assert "\x1b" not in screen_text(app)
        assert app.screen.query(LayerList) is not None


async def test_in_a_form_its_keys_are_those_of_the_palette(root: Path) -> None:
    recorded.write_run(root)
    async with running(root) as (app, pilot):
        await pilot.press("t")
        await until(lambda: isinstance(app.screen, NewRun) and app.screen.is_mounted)
        field = app.focused
        await pilot.press("ctrl+p", *"hel", "tab")
        palette = palette_of(app)
        assert palette is not None
        assert palette.input.value == "help"
        await pilot.press("enter")
        await until(lambda: isinstance(app.screen, Help))
        await pilot.press("q")
        await until(lambda: app.focused is field)
