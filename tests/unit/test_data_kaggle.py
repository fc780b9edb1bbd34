import sys
import types

import pytest

from facegender.data import kaggle
from facegender.support.errors import UserError


def stub(monkeypatch, dataset_download) -> None:
    module = types.ModuleType("kagglehub")
    module.dataset_download = dataset_download
    monkeypatch.setitem(sys.modules, "kagglehub", module)


def test_a_download_gives_the_folder_of_the_classes(tmp_path, monkeypatch):
    asked = []

    def dataset_download(handle):
        asked.append(handle)
        for name in ("Male Faces", "Female Faces"):
            (tmp_path / "set" / "Male and Female face dataset" / name).mkdir(parents=True)
        return str(tmp_path / "set")

    stub(monkeypatch, dataset_download)
    assert kaggle.download() == tmp_path / "set" / "Male and Female face dataset"
    assert asked == ["ashwingupta3012/male-and-female-faces-dataset"]


@pytest.mark.parametrize("error", [ConnectionError("no\nroute \x1b[31m"), OSError(28, "No space left"), RuntimeError()])
def test_a_failed_download_is_one_line_with_the_remedies(monkeypatch, error):
    def dataset_download(handle):
        raise error

    stub(monkeypatch, dataset_download)
    with pytest.raises(UserError) as caught:
        kaggle.download()
    message = str(caught.value)
    assert message.isprintable()
    for part in ("kaggle.json", "--data", "--demo"):
        assert part in message


def test_a_download_without_the_classes_is_refused(tmp_path, monkeypatch):
    stub(monkeypatch, lambda handle: str(tmp_path))
    with pytest.raises(UserError, match="no folders female/ and male/"):
        kaggle.download()
