"""What the network makes of one file: the photograph, the three lines, and the file's own feature maps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.widgets import Static

from facegender.runs.protocol import Answer
from facegender.support.text import printable
from tui import format as fmt
from tui.inspect.actions import PictureActions
from tui.inspect.browser import LayerBrowser
from tui.inspect.layer_picture import LayerPicture
from tui.inspect.view import probability_bars
from tui.screens.prompting import PromptScreen
from tui.widgets.prompt import Prompt

CAVEAT = "Says which training folder it resembles,\nnot who anybody is."


class Classify(PictureActions, PromptScreen):
    """Shows one answer, or why there is none; ``c`` asks about another file."""

    CSS_PATH = "classify.tcss"
    BINDINGS = [
        ("escape,q", "leave", "back"),
        Binding("c", "classify", "another file", priority=True),
        ("m", "toggle_heatmap", "heatmap"),
        ("up", "move_layer(-1)", "previous layer"),
        ("down", "move_layer(1)", "next layer"),
        ("h", "move_channel(-1, 0)", "channel to the left"),
        ("l", "move_channel(1, 0)", "channel to the right"),
        ("k", "move_channel(0, -1)", "channel above"),
        ("j", "move_channel(0, 1)", "channel below"),
        ("enter", "zoom", "one channel"),
        ("g", "app.redraw", "draw again"),
        ("question_mark,f1", "app.help", "help"),
    ]

    def __init__(self, root: Path, layer: int) -> None:
        super().__init__(root)
        self._layer = layer
        self._answer = Answer()

    def compose(self) -> ComposeResult:
        """The title, the pane with everything, the prompt."""
        yield Static(id="title", markup=False)
        yield LayerBrowser("", caption=self._caption, id="answer")
        yield Prompt("c classifies another photograph", id="prompt")
        yield Static(" ↑↓ layer  m heatmap  hjkl channel  Enter zoom  c another  ? help  Esc back", id="way-out")

    @property
    def browser(self) -> LayerBrowser:
        """The pane."""
        return self.query_one(LayerBrowser)

    def take_focus_back(self) -> None:
        """To the pane, at once: a refusal may come back at once and wants the prompt again."""
        self.set_focus(self.browser)

    def on_mount(self) -> None:
        """Look at the layer that was looked at before."""
        self.browser.selection = replace(self.browser.selection, layer=self._layer)
        self.take_focus_back()

    def wait_for(self, path: Path, process_is_warm: bool) -> None:
        """Say that an answer is on its way."""
        self._title(path, "")
        first = "" if process_is_warm else "; the first time takes some seconds, while torch is imported"
        self.browser.close()
        self._say(f"classifying{first}…")

    def show_problem(self, path: Path, why: str) -> None:
        """Say why there is no answer."""
        self._title(path, "")
        self.browser.close()
        self._say(why)

    def ask_again(self, typed: str) -> None:
        """Open the prompt with what was typed, to be mended or typed over, unless a person is elsewhere by now."""
        if self.is_current and not self.prompt.is_open:
            self.prompt.open("classify", typed)
            self.prompt.input.select_all()

    def show_answer(self, path: Path, answer: Answer) -> None:
        """Show an answer and its frame file."""
        self._answer = answer
        width, height = answer.image_size
        self._title(path, f"{width}×{height} px")
        layer = self.browser.selection.layer
        self.browser.aspect = width / height if width and height else 1.0
        self.browser.open(lambda _: Path(answer.frame))
        self.browser.selection = replace(self.browser.selection, layer=layer)
        self.browser.update_frames((answer.epoch,), (), live=False, placeholder="")

    def _title(self, path: Path, note: str) -> None:
        shown = Text.assemble((" " + printable(path.name), "bold"), (f"  {note}  {printable(path.parent)}", "dim"))
        self.query_one("#title", Static).update(shown)

    def _say(self, text: str) -> None:
        self.browser.update_frames((), (), live=False, placeholder=text)

    def _caption(self, picture: LayerPicture) -> Text:
        answer = self._answer
        pairs = ", ".join(f"{name.capitalize()}: {fmt.percent(share)}" for name, share in answer.probabilities.items())
        out = Text.assemble(
            ("Predicted: ", "dim"), (printable(answer.label), "bold"), "\n",
            ("Confidence: ", "dim"), fmt.percent(answer.confidence), "\n",
            ("Probabilities: ", "dim"), printable(pairs),
        )  # fmt: skip
        out.append_text(probability_bars(answer.probabilities, 24))
        source = f"{answer.checkpoint} of {answer.run}, epoch {answer.epoch}, {answer.seconds * 1000:.0f} ms"
        out.append("\n\n").append(printable(source), "dim")
        if self.browser.heatmap:
            out.append("\nthe yellower, the more it looked there (m)", "dim")
        return out.append(f"\n{CAVEAT}", "dim italic")

    def action_toggle_heatmap(self) -> None:
        """Show or hide where the network looked."""
        self.browser.heatmap = not self.browser.heatmap
        self.browser.redraw()

    def action_leave(self) -> None:
        """Out of the zoom, or back to where you were."""
        if not self.browser.back():
            self.dismiss(None)
