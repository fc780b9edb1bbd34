"""What differs between the configurations of runs, and which runs differ only in their seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from facegender.runs.config import FIELDS
from facegender.runs.folder import Manifest
from facegender.runs.presets import unused_fields
from facegender.support.text import UNKNOWN

WITHOUT_INFLUENCE = ("cache", "workers", "visualize_every", "probes")
"""Settings that do not change what a run learns."""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A setting, or another fact of the manifest, that is not the same in all runs.

    Attributes:
        name: Name of a field of `TrainConfig`, or "data_digest", "parameters" or "script" of the manifest. "data" is
            the folder that was read.
        label: The name in words.
        values: One for each run; None where the run does not say, or where the setting has no effect.
    """

    name: str
    label: str
    values: tuple[Any, ...]


def differences(manifests: Sequence[Manifest | None]) -> list[Difference]:
    """List what differs between runs, in the order of the configuration's fields; nothing else is listed.

    Args:
        manifests: One for each run, None where it cannot be read. Their strings are returned as they are.
    """
    facts = [_facts(manifest) if manifest else {} for manifest in manifests]
    rows = []
    for name in dict.fromkeys(name for fact in facts for name in fact):
        values = tuple(fact.get(name) for fact in facts)
        if len({value for value in values if value is not None}) > 1:
            label = FIELDS[name].label if name in FIELDS else name.replace("_", " ")
            rows.append(Difference(name=name, label=label, values=values))
    return rows


def setting_text(value: Any) -> str:
    """The value of a setting or of a difference as people read it; `UNKNOWN` for None."""
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return ", ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def seed_groups(manifests: Sequence[Manifest | None]) -> list[list[int]]:
    """Group the runs that differ in nothing but their seed, as far as their manifests tell.

    Runs that a script trained are never grouped, because their manifests do not have the script's settings.

    Returns:
        Indices into ``manifests``; each is in exactly one group, and the groups are in the order of their first run.
    """
    groups: dict[object, list[int]] = {}
    for index, manifest in enumerate(manifests):
        groups.setdefault(_without_seed(manifest) if manifest and not manifest.script else index, []).append(index)
    return list(groups.values())


def _facts(manifest: Manifest) -> dict[str, Any]:
    """What a run was trained with, by name, without the settings that have no effect."""
    config = manifest.config
    facts = {name: getattr(config, name) for name in FIELDS if name not in unused_fields(config.recipe, config.network)}
    facts["data"] = manifest.data or config.data
    del facts["demo"]
    if not config.demo:
        del facts["demo_faces"]
        facts["data_digest"] = manifest.data_digest or None
    facts["parameters"] = manifest.parameters or None
    if manifest.script:
        # The configuration of such a run is that of the recorder: everything else is in the script.
        known = ("epochs", "visualize_every", "probes", "data", "parameters")
        facts = {name: facts[name] for name in known} | {"script": manifest.script}
    return facts


def _without_seed(manifest: Manifest) -> object:
    facts = _facts(manifest)
    # A folder that was moved or is reached by another path has the same photographs, and the same digest.
    same_data = "data" if manifest.config.demo or not manifest.data_digest else "data_digest"
    ignored = {"seed", "data", "data_digest", *WITHOUT_INFLUENCE} - {same_data}
    return frozenset(item for item in facts.items() if item[0] not in ignored)
