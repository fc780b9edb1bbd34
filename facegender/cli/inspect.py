"""Commands that look inside a network: ``facegender health``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from facegender.cli.options import Json, Root, not_empty
from facegender.runs.events import LayerHealth
from facegender.runs.folder import open_run
from facegender.runs.health import findings, read_health
from facegender.support.errors import UserError
from facegender.support.text import counted, json_line, table

Run = Annotated[str, typer.Argument(metavar="RUN", parser=not_empty, help="The run to look into.")]


def health(
    run: Run,
    epoch: Annotated[
        int | None, typer.Option("--epoch", metavar="N", min=1, help="Counted from 1; the newest by default.")
    ] = None,
    json: Json = False,
    root: Root = Path(),
) -> None:
    """List dead, stuck and duplicate channels of each layer, its gradient, and how much a step changes its weights."""
    folder = open_run(root, run)
    measured = read_health(folder)
    if not measured:
        raise UserError(
            f"run {run} has no figures about its layers: it has not finished an epoch, or an earlier version trained it"
        )
    if epoch is not None and epoch - 1 not in measured:
        known = f"{min(measured) + 1} to {max(measured) + 1}"
        raise UserError(f"--epoch {epoch}: run {run} has figures of the epochs {known}")
    chosen = measured[max(measured) if epoch is None else epoch - 1]
    found = findings(chosen, [one for number, one in measured.items() if number < chosen.epoch])
    if json:
        known_of = {name: getattr(chosen, name) for name in ("epoch", "step", "first_not_finite", "layers")}
        print(json_line({"run": run, **known_of, "findings": found}))
        return
    header = ["layer", "gradient", "update/weights", "channels", "dead", "stuck", "duplicates"]
    print("\n".join(table([header, *map(_row, chosen.layers)])))
    for finding in found:
        print(f"{finding.layer}: {finding.text}")
    if not found:
        print(f"epoch {chosen.epoch + 1}: all is well in {counted(len(chosen.layers), 'layer')}")


def _row(layer: LayerHealth) -> list[str]:
    counts = (layer.channels, layer.dead_count, len(layer.saturated), len(layer.duplicates))
    return [layer.name, _figure(layer.gradient_norm), _figure(layer.update_ratio), *map(str, counts)]


def _figure(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2e}"
