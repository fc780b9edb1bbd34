"""``photographs.json``: which photographs a run validates and trains on, in the order in which other files number them.

``top/<layer>/image`` of a frame is an index of ``validation``, and predictions have a row for each name of either list.
The folder that names are relative to is `Manifest.data`, also in the run of a script whose data sets list their files.
Where they do not, there is no such file, and the manifest names the script instead.
"""

from __future__ import annotations

import msgspec

from facegender.runs.folder import RunFolder
from facegender.support.files import read_regular, replacing


class Photographs(msgspec.Struct, frozen=True):
    """The photographs of a run.

    Attributes:
        validation: File names relative to the data folder, as they are on the disk: make them safe before you show
            them. Of a run on demo faces, the names that `write_demo_faces` gives them. Bytes that are not valid UTF-8
            are replaced, and such a file is not found.
        train: Likewise. In the run of a script either list is empty if its data set lists no files, and that of the
            validation also if its images come in another order.
    """

    validation: list[str]
    train: list[str]


def write_photographs(folder: RunFolder, photographs: Photographs) -> None:
    """Write the file; it appears whole or not at all.

    Raises:
        OSError: The disk is full or gone.
    """
    lists = {
        name: [path.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for path in paths]
        for name, paths in msgspec.structs.asdict(photographs).items()
    }
    with replacing(folder.photographs_path) as temporary:
        temporary.write_bytes(msgspec.json.encode(lists))


def read_photographs(folder: RunFolder) -> Photographs | None:
    """Read the file; None where there is none, as in runs of earlier versions and of most scripts."""
    try:
        return msgspec.json.decode(read_regular(folder.photographs_path), type=Photographs)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
