"""Names for runs that nobody named."""

from __future__ import annotations

import random
from collections.abc import Iterator

_ANIMALS = [
    "badger",
    "beaver",
    "bison",
    "crane",
    "curlew",
    "dolphin",
    "dormouse",
    "eagle",
    "egret",
    "falcon",
    "ferret",
    "finch",
    "fox",
    "gecko",
    "gull",
    "hare",
    "heron",
    "ibex",
    "jay",
    "kestrel",
    "koala",
    "lark",
    "lemur",
    "lynx",
    "marmot",
    "marten",
    "mole",
    "moose",
    "newt",
    "osprey",
    "otter",
    "owl",
    "panda",
    "pika",
    "plover",
    "puffin",
    "quail",
    "raven",
    "robin",
    "seal",
    "shrew",
    "sparrow",
    "stoat",
    "stork",
    "swan",
    "swift",
    "tapir",
    "tern",
    "toad",
    "vole",
    "walrus",
    "weasel",
    "wombat",
    "wren",
    "zebra",
]


def fresh_names() -> Iterator[str]:
    """Names, without end: an animal and a number, e.g. "otter-3"."""
    generator = random.Random()
    while True:
        yield f"{generator.choice(_ANIMALS)}-{generator.randint(1, 999)}"
