"""The classify screen: a photograph, the prediction, and the feature maps of the photograph."""

from __future__ import annotations

import asyncio
from pathlib import Path

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.widgets import Static

from facegender.runs.checkpoints import CheckpointChoice
from facegender.runs.protocol import Answer
from facegender.support.errors import UserError
from facegender.support.files import typed_path
from facegender.support.text import one_line, printable, printable_strings
from tui import commands
from tui import format as fmt
from tui.host.processes import ClassifierProcess
from tui.inspect.browser import LayerBrowser
from tui.inspect.captions import most_probable, probability_bars
from tui.screens.base import PictureScreen
from tui.widgets.keys import KeyHints

CAVEAT = "Says which training folder it resembles,\nnot who anybody is."


class Classify(PictureScreen):
    """Classifies a file and shows the answer, or why there is none; ``c`` asks for another file."""

    CSS_PATH = "classify.tcss"
    SCREEN_COMMANDS = commands.CLASSIFY
    FOOTER = commands.CLASSIFY_FOOTER

    def __init__(self, root: Path, classifier: ClassifierProcess, run: str, text: str, layer: int) -> None:
        """Create the screen for a run, whose name is empty if there is none, and the typed path of a file."""
        super().__init__(root, LayerBrowser("", caption=self._caption, id="answer"))
        self._classifier = classifier
        self._run = run
        self._text = text
        self._layer = layer
        self._answer = Answer()
        self._checkpoint: CheckpointChoice = "auto"

    def compose(self) -> ComposeResult:
        """The title and the pane with everything."""
        yield Static(id="title", markup=False)
        yield self.browser
        yield KeyHints(*self.hints())

    def on_mount(self) -> None:
        """Show the layer that the dashboard showed, and classify."""
        self.browser.open(None, self._layer)
        self.set_focus(self.browser)
        self.classify(self._text)

    def action_switch_checkpoint(self) -> None:
        """Classify the file again, with the last checkpoint if the best one answered, or else with the best one."""
        self._checkpoint = "last" if self._answer.checkpoint == "best.ckpt" else "best"
        self.classify(self._text)

    @work(group="classify", exclusive=True)
    async def classify(self, text: str) -> None:
        """Classify the file that a typed text means, and show the answer."""
        self._text = text
        path = await asyncio.to_thread(typed_path, text, self.root)
        if not self.is_open:
            return
        self._show_title(path, "")
        self.browser.open(None, self.browser.selection.layer)
        if not self._run:
            self._show_message("there is no run to classify with yet: t starts one")
            return
        cold = "" if self._classifier.is_warm else "; the first time takes some seconds, while torch is imported"
        self._show_message(f"classifying{cold}…")
        try:
            answer = await self._classifier.classify(path.absolute(), run=self._run, checkpoint=self._checkpoint)
        except UserError as error:
            if self.is_open:
                self._show_message(str(error))
            if self.is_active:
                await self.app.run_action(f"app.palette({f'classify {text}'!r}, {one_line(str(error))!r})")
        else:
            if self.is_open:
                self.show_answer(path, answer)

    def show_answer(self, path: Path, answer: Answer) -> None:
        """Show an answer and its feature maps."""
        self._answer = printable_strings(answer)
        width, height = answer.image_size
        self._show_title(path, f"{width}×{height} px")
        self.browser.aspect = width / height if width and height else 1.0
        self.browser.open(lambda _: Path(answer.frame), self.browser.selection.layer)
        self.browser.update_frames((answer.epoch,), (), live=False, placeholder="")

    def _show_title(self, path: Path, note: str) -> None:
        title = Text.assemble((" " + printable(path.name), "bold"), (f"  {note}  {printable(path.parent)}", "dim"))
        self.query_one("#title", Static).update(title)

    def _show_message(self, text: str) -> None:
        self.browser.update_frames((), (), live=False, placeholder=text)

    def _caption(self) -> Text:
        answer = self._answer
        shown = most_probable(answer.probabilities)
        pairs = ", ".join(f"{name.capitalize()}: {fmt.percent(share)}" for _, name, share in shown)
        out = Text.assemble(
            ("Predicted: ", "dim"), (answer.label, "bold"), "\n",
            ("Confidence: ", "dim"), fmt.percent(answer.confidence), "\n",
            ("Probabilities: ", "dim"), pairs,
        )  # fmt: skip
        out.append_text(probability_bars(answer.probabilities, 24))
        out.append(f"\n\n{answer.source}", "dim")
        if self.browser.heatmap:
            out.append("\nbrighter = more influence on the prediction (m)", "dim")
        return out.append(f"\n{CAVEAT}", "dim italic")

    def action_toggle_heatmap(self) -> None:
        """Show or hide the LayerCAM heatmap."""
        self.browser.heatmap = not self.browser.heatmap
        self.browser.redraw()

    def action_leave(self) -> None:
        """Leave the zoom, or the screen."""
        if self.is_active and not self.browser.back():
            self.dismiss(None)
