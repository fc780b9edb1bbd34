"""The mistakes screen: its photographs, epochs, filters and pages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import numpy as np
import pytest
import recorded
from mistaken import COUNT, NAMES, add_predictions, write_run
from piloting import COMMON, LARGE, WatchedApp, running, screen_text, shown_in, until, until_said
from textual.pilot import Pilot

from facegender.runs.events import PredictionsSaved
from facegender.runs.frames import write_frame
from facegender.runs.protocol import Answer, PhotographRequest
from facegender.support.errors import UserError
from tui.graphics.geometry import Area
from tui.graphics.terminal import Protocol, Terminal
from tui.graphics.widget import PictureView
from tui.host.processes import ClassifierProcess
from tui.screens.mistakes import Mistakes
from tui.screens.photograph import Photograph
from tui.widgets.gallery import gallery_layout


@asynccontextmanager
async def opened(root: Path, size: tuple[int, int] = LARGE) -> AsyncIterator[tuple[WatchedApp, Pilot[None], Mistakes]]:
    """The screen, opened with w and filled."""
    async with running(root, size) as (app, pilot):
        await until(lambda: app.dashboard.state is not None and app.dashboard.state.read)
        await pilot.press("w")
        await until(lambda: isinstance(app.screen, Mistakes) and app.screen.is_mounted)
        screen = app.screen
        assert isinstance(screen, Mistakes)
        yield app, pilot, screen


def order(screen: Mistakes) -> list[int]:
    return [] if screen._list is None else screen._list.order.tolist()


@pytest.mark.parametrize("size", [LARGE, COMMON], ids=str)
async def test_the_wrong_photographs_come_first_with_label_prediction_and_probability(
    root: Path, size: tuple[int, int]
) -> None:
    write_run(root)
    async with opened(root, size) as (app, _, screen):
        await until_said(app, "3 of 60 predictions are wrong")
        texts = ["✗ female 95.0%", "label male", "face_7.png", "✗ female 78.0%"]
        texts.append("male/face_7.png label male 5.00% predicted female 95.00% 1 of 60")
        await until(lambda: all(text in " ".join(screen_text(app).split()) for text in texts))
        assert order(screen)[:4] == [7, 3, 5, 0]


async def test_the_photographs_are_shown_as_pictures(root: Path) -> None:
    write_run(root)
    async with opened(root) as (_, _, screen):
        first = screen.query(PictureView).first()
        await until(lambda: shown_in(first) is not None)
        picture = shown_in(first)
        assert picture is not None
        assert (np.abs(picture.rgb()[-2, 2].astype(int) - [7 * 4, 100, 100]) < 8).all()


async def test_the_gallery_follows_the_epoch_and_the_dashboard_shows_it_afterwards(root: Path) -> None:
    write_run(root)
    async with opened(root) as (app, pilot, screen):
        await until_said(app, "epoch 3  3 of 60")
        await pilot.press("home")
        await until_said(app, "epoch 1  not the latest epoch")
        await until(lambda: order(screen)[:3] == [7, 11, 3])
        await pilot.press("right")
        await until_said(app, "epoch 2  not the latest epoch")
        await pilot.press("escape")
        await until(lambda: app.screen is app.dashboard)
        assert app.dashboard.browser.epoch == 1


async def test_those_that_changed_sides_since_the_frozen_epoch(root: Path) -> None:
    write_run(root)
    async with opened(root) as (app, pilot, screen):
        await until(lambda: order(screen))
        await pilot.press("s")
        await until_said(app, "changed sides since epoch 1: 2")
        assert order(screen) == [5, 11]
        await pilot.press("left", "f", "right")
        await until_said(app, "changed sides since epoch 2: 1")
        assert order(screen) == [5]
        await pilot.press("escape")
        await until(lambda: len(order(screen)) == COUNT)
        assert app.screen is screen


async def test_those_that_were_never_correct(root: Path) -> None:
    write_run(root)
    async with opened(root) as (app, pilot, screen):
        await until(lambda: order(screen))
        await pilot.press("v")
        await until_said(app, "never correct: 2")
        assert order(screen) == [7, 3]
        await pilot.press("v")
        await until(lambda: len(order(screen)) == COUNT)


async def test_pages_and_the_cursor(root: Path) -> None:
    write_run(root)
    async with opened(root, COMMON) as (app, pilot, screen):
        await until(lambda: order(screen))
        gallery = screen._gallery
        await until(lambda: gallery._layout is not None)
        per_page = gallery._layout.per_page
        pages = -(-COUNT // per_page)
        await until_said(app, f"page 1 of {pages}")
        await pilot.press("full_stop", "l")
        await until_said(app, f"page 2 of {pages}")
        assert gallery.cursor == per_page + 1
        for _ in range(pages + 3):
            await pilot.press("pagedown")
        await until_said(app, f"page {pages} of {pages}")
        assert gallery.cursor <= COUNT - 1
        await pilot.press("comma")
        await until_said(app, f"page {pages - 1} of {pages}")


async def test_a_new_epoch_is_followed_and_the_cursor_stays_on_its_photograph(root: Path) -> None:
    folder = write_run(root, epochs=2, ended=False)
    async with opened(root) as (app, pilot, screen):
        await until_said(app, "epoch 2  2 of 60")
        await pilot.press("l")
        await until(lambda: screen._gallery.item == 3)
        recorded.add_epoch(folder, 2)
        add_predictions(folder, 2)
        await until_said(app, "epoch 3  3 of 60")
        assert screen._gallery.item == 3
        await pilot.press("left")
        await until_said(app, "epoch 2  not the latest epoch")
        recorded.add_epoch(folder, 3)
        add_predictions(folder, 3)
        await until(lambda: screen._epochs == (0, 1, 2, 3))
        assert screen._shown_epoch == 1, "the user has chosen an epoch"


async def test_a_photograph_that_is_gone_says_so_and_the_others_are_shown(root: Path) -> None:
    write_run(root)
    (root / "data" / NAMES[7]).unlink()
    async with opened(root) as (app, _, _):
        await until_said(app, "cannot be read")
        assert "face_3.png" in screen_text(app)
        await until_said(app, "no such file")


async def test_a_run_without_a_list_of_photographs_shows_their_numbers(root: Path) -> None:
    write_run(root, photographs=False)
    async with opened(root) as (app, _, _):
        await until_said(app, "number 8")
        assert "label male" in screen_text(app)


async def test_a_run_of_an_earlier_version_says_what_to_do(root: Path) -> None:
    recorded.write_run(root, end="completed")
    async with opened(root) as (app, pilot, _):
        await until_said(app, "has no predictions of single photographs")
        assert "facegender train" in screen_text(app)
        for key in ("left", "right", "home", "end", "s", "v", "f", "l", "j", "full_stop", "enter", "tab"):
            await pilot.press(key)
        await pilot.press("escape")
        await until(lambda: app.screen is app.dashboard)


async def test_a_damaged_file_is_one_line_and_other_epochs_are_shown(root: Path) -> None:
    folder = write_run(root)
    folder.predictions_path(2).write_bytes(b"?")
    async with opened(root) as (app, pilot, screen):
        await until_said(app, "epoch_2_predictions.safetensors cannot be read")
        await pilot.press("left")
        await until(lambda: order(screen)[:2] == [7, 3])
        await pilot.press("l", "right")
        await until_said(app, "epoch_2_predictions.safetensors cannot be read")
        await pilot.press("enter", "l", "j", "full_stop")
        assert app.screen is screen, "there is no photograph to look at"
        assert "face_" not in screen_text(app)
        await pilot.press("2")
        await until_said(app, "the most doubtful label first")
        await until_said(app, "margin")


async def test_a_photograph_can_be_left_when_the_epoch_below_it_became_unreadable(
    root: Path, explained: Explained
) -> None:
    folder = write_run(root, epochs=2, ended=False)
    async with opened(root) as (app, pilot, screen):
        await until_said(app, "epoch 2  2 of 60")
        await pilot.press("enter")
        await until(lambda: isinstance(app.screen, Photograph))
        recorded.add_epoch(folder, 2)
        folder.predictions_path(2).write_bytes(b"?")
        recorded.append(folder, PredictionsSaved(time=0.0, epoch=2, file="epoch_2_predictions.safetensors"))
        await until(lambda: screen._epochs == (0, 1, 2) and screen._list is None)
        await pilot.press("l")
        await until_said(app, "epoch 2  2 of 60")
        await pilot.press("escape")
        await until_said(app, "epoch_2_predictions.safetensors cannot be read")


@pytest.mark.parametrize("protocol", list(Protocol), ids=lambda protocol: protocol.value)
@pytest.mark.parametrize("pane", [Area(148, 40), Area(78, 19), Area(58, 15), Area(300, 90), Area(10, 3), Area(1, 1)])
@pytest.mark.parametrize("pictures", [True, False])
def test_tiles_fill_the_pane_and_fit_into_it(protocol: Protocol, pane: Area, pictures: bool) -> None:
    layout = gallery_layout(pane, Terminal(protocol), captions=3, pictures=pictures)
    assert layout.columns * layout.tile_columns <= max(pane.columns, 17)
    assert layout.rows * (layout.picture_rows + layout.caption_rows) <= max(pane.rows, 2)
    assert layout.per_page >= 1
    if pane.columns >= 50:
        assert layout.columns * layout.tile_columns > 0.8 * pane.columns


def test_a_terminal_with_small_pictures_gets_narrower_rows() -> None:
    terminal = Terminal(Protocol.SIXEL, sixel_limit_px=(800, 600))
    layout = gallery_layout(Area(148, 40), terminal, captions=3, pictures=True)
    assert layout.columns * layout.tile_columns * terminal.cell_width_px <= 800


async def test_suspects_are_of_all_epochs_so_that_their_tab_shows_none(root: Path) -> None:
    write_run(root)
    async with opened(root) as (app, pilot, screen):
        await until(lambda: order(screen))
        await pilot.press("2")
        await until_said(app, "64 photographs, the most doubtful label first, from all epochs")
        assert not screen.query_one("#scrubber").display
        await pilot.press("left", "3")
        await until_said(app, "epoch 3  3 of 60 predictions are wrong")
        assert screen.query_one("#scrubber").display


async def test_suspects_are_ranked_with_a_reason_and_escape_leads_back(root: Path) -> None:
    write_run(root)
    async with opened(root) as (app, pilot, screen):
        await until(lambda: order(screen))
        await pilot.press("tab")
        await until_said(app, "1. margin")
        await until_said(app, "predicted female in 3 of 3 epochs")
        assert {(one.part, one.index) for one in screen._suspects[:2]} >= {("validation", 7)}
        await pilot.press("escape")
        await until_said(app, "✗ female 95.0%")
        assert app.screen is screen


async def test_a_cell_of_the_confusion_matrix_is_listed(root: Path) -> None:
    write_run(root)
    async with opened(root) as (app, pilot, screen):
        await until(lambda: order(screen))
        await pilot.press("3")
        await until_said(app, "rows are labels, columns are predictions")
        await until_said(app, "0 of 30 photographs")
        await pilot.press("j", "h")
        await until(lambda: screen._figures.matrix.cell == (1, 0))
        await until_said(app, "3 of 30 photographs (10.00%)")
        await until(lambda: screen._figures.positive == 1)
        assert "male against the rest" in screen_text(app)
        await pilot.press("enter")
        await until_said(app, "label male, predicted female: 3")
        assert order(screen) == [7, 3, 5]
        await pilot.press("escape")
        await until(lambda: len(order(screen)) == COUNT)


class Explained:
    """Stands in for the classify process."""

    def __init__(self, frame: Path) -> None:
        self.frame = frame
        self.asked: list[PhotographRequest] = []
        self.error = ""

    async def explain(self, run: str, photograph: PhotographRequest) -> Answer:
        self.asked.append(photograph)
        if self.error:
            raise UserError(self.error)
        heat = np.zeros((1, 8, 8), np.float32)
        heat[0, 2, 2] = 1
        frame = recorded.frame(2, probes=1)
        cams = dict.fromkeys(photograph.classes, heat)
        write_frame(self.frame, msgspec.structs.replace(frame, layers=[], cams=cams, images=frame.images[:1]))
        return Answer(
            source="run otter-3, last.ckpt, epoch 3 of 5", epoch=2, frame=str(self.frame), image_size=(24, 32)
        )


@pytest.fixture
def explained(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Explained:
    stand_in = Explained(tmp_path_factory.mktemp("frames") / "a.safetensors")
    monkeypatch.setattr(ClassifierProcess, "explain", lambda self, run, photograph: stand_in.explain(run, photograph))
    return stand_in


@pytest.mark.parametrize("size", [LARGE, COMMON], ids=str)
async def test_a_photograph_is_shown_with_where_the_network_looked_and_its_curve(
    root: Path, explained: Explained, size: tuple[int, int]
) -> None:
    write_run(root)
    async with opened(root, size) as (app, pilot, screen):
        await until(lambda: order(screen))
        await pilot.press("enter")
        await until(lambda: isinstance(app.screen, Photograph) and app.screen.is_mounted)
        shown = app.screen
        await until_said(app, "last.ckpt, epoch 3 of 5")
        await until(lambda: all(shown_in(view) is not None for view in shown.query(PictureView)))
        assert explained.asked == [PhotographRequest(name=NAMES[7], epoch=2, classes=["female", "male"])]
        await until_said(app, "Probability  epoch 3  ■ male 0.050  ● female 0.950")
        text = " ".join(screen_text(app).split())
        for wanted in (
            "male/face_7.png epoch 3 1 of 60",
            "label male 5.00% predicted ✗ female 95.00%",
            "for female, predicted",
        ):
            assert wanted in text
        await pilot.press("left")
        await until_said(app, "face_7.png  epoch 2")
        await until_said(app, "as there is no checkpoint of epoch 2")
        await pilot.press("l")
        await until_said(app, "male/face_3.png  epoch 2  2 of 60")
        await pilot.press("escape")
        await until(lambda: app.screen is screen)
        assert screen._gallery.item == 3


async def test_a_photograph_whose_network_is_not_known_says_why(root: Path, explained: Explained) -> None:
    explained.error = "run otter-3 has no checkpoint yet"
    write_run(root)
    async with opened(root) as (app, pilot, screen):
        await until(lambda: order(screen))
        await pilot.press("enter")
        await until_said(app, "run otter-3 has no checkpoint yet")
        await until_said(app, "Probability")


async def test_a_training_photograph_has_a_curve_of_its_margin(root: Path, explained: Explained) -> None:
    write_run(root)
    async with opened(root) as (app, pilot, screen):
        await until(lambda: order(screen))
        await pilot.press("2")
        await until_said(app, "1. margin")
        place = next(place for place, one in enumerate(screen._suspects) if one.part == "train")
        for _ in range(place):
            await pilot.press("l")
        await pilot.press("enter")
        await until_said(app, "Margin of the label while it was trained on")
        await until_said(app, "-3.000")


async def test_a_terminal_without_room_does_not_end_the_interface(root: Path) -> None:
    write_run(root)
    async with opened(root, (20, 6)) as (app, pilot, screen):
        await until(lambda: order(screen))
        for key in ("l", "full_stop", "tab", "tab", "j", "enter", "escape"):
            await pilot.press(key)
        await pilot.resize_terminal(150, 45)
        await until_said(app, "predictions are wrong")


async def test_a_click_on_the_wrong_ones_of_a_class_lists_them(root: Path) -> None:
    write_run(root)
    async with running(root) as (app, pilot):
        await until_said(app, "precision recall")
        rows = screen_text(app).splitlines()
        y = next(number for number, row in enumerate(rows) if "precision recall" in row) + 2
        await pilot.click(offset=(rows[y - 2].index("wrong") + 4, y))
        await until(lambda: isinstance(app.screen, Mistakes))
        await until_said(app, "label male, predicted female: 3")
