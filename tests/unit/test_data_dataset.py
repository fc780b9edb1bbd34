import os
from pathlib import Path

import numpy as np
import pytest

from facegender.data.dataset import (
    CLASSES,
    data_folders,
    find_data_folder,
    list_labelled_files,
    split_indices,
    system_file_reason,
)
from facegender.support.errors import UserError


@pytest.fixture(autouse=True)
def no_kaggle_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "kagglehub"))


def make(folder: Path, *names: str) -> Path:
    for name in names or ("female/a.jpg", "male/b.jpg"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return folder


@pytest.mark.parametrize(
    "names",
    [
        ("female", "male"),
        ("Female", "Male"),
        ("FEMALE", "mAlE"),
        ("Female Faces", "Male Faces"),
        ("female_faces", "male"),
    ],
)
def test_class_folders_are_found_in_any_case_and_as_the_reference_set_names_them(tmp_path, names):
    make(tmp_path, f"{names[0]}/a.jpg", f"{names[1]}/b.jpg")
    assert find_data_folder(str(tmp_path), tmp_path) == tmp_path
    assert [(path.name, label) for path, label in list_labelled_files(tmp_path)] == [("a.jpg", 0), ("b.jpg", 1)]


def test_datasets_below_the_root_is_searched_however_deep_the_reference_set_lies(tmp_path):
    nested = tmp_path / "datasets/ashwingupta3012/male-and-female-faces-dataset/versions/1/Male and Female face dataset"
    make(nested)
    assert find_data_folder(None, tmp_path) == nested
    assert find_data_folder(str(tmp_path / "datasets"), tmp_path / "elsewhere") == nested


def test_kagglehubs_cache_is_searched_last_and_its_newest_version_wins(tmp_path):
    versions = tmp_path / "kagglehub/datasets/ashwingupta3012/male-and-female-faces-dataset/versions"
    for number in ("1", "2", "10"):
        make(versions / number / "Male and Female face dataset", "Male Faces/1.jpg", "Female Faces/0.jpg")
    assert find_data_folder(None, tmp_path) == versions / "10" / "Male and Female face dataset"
    make(tmp_path / "datasets")
    assert find_data_folder(None, tmp_path) == tmp_path / "datasets"


def test_the_shallowest_of_several_wins(tmp_path):
    make(tmp_path / "a" / "deep" / "er")
    make(tmp_path / "z")
    assert find_data_folder(str(tmp_path), tmp_path) == tmp_path / "z"


def test_hidden_and_system_folders_are_no_data_sets(tmp_path):
    make(tmp_path / "__MACOSX")
    make(tmp_path / ".cache")
    make(tmp_path / "x" / "faces")
    assert find_data_folder(str(tmp_path), tmp_path) == tmp_path / "x" / "faces"


@pytest.mark.parametrize(
    ("prepare", "given", "said"),
    [
        (lambda root: None, "gone", ["gone", "no such folder", "name one that holds female/ and male/"]),
        (lambda root: (root / "file").write_text("x"), "file", ["is a file", "female/ and male/"]),
        (lambda root: make(root, "only/female/a.jpg"), "only", ["no folder male/", "put the male photographs into"]),
        (lambda root: make(root, "d/women/a.jpg", "d/men/b.jpg"), "d", ["has no folders female/ and male/"]),
        (lambda root: make(root), "male", ["is a class folder itself"]),
    ],
)
def test_an_unusable_folder_gets_one_line_with_the_remedy(tmp_path, prepare, given, said):
    prepare(tmp_path)
    with pytest.raises(UserError) as error:
        find_data_folder(str(tmp_path / given), tmp_path)
    message = str(error.value)
    assert "\n" not in message
    assert "--data" in message
    for part in said:
        assert part in message


def test_without_any_data_the_message_says_where_it_looked_and_offers_demo_faces(tmp_path):
    with pytest.raises(UserError) as error:
        find_data_folder(None, tmp_path)
    for part in (str(tmp_path / "datasets"), "kagglehub", "--data DIR", "--demo"):
        assert part in str(error.value)


def test_control_characters_of_a_name_do_not_reach_the_message(tmp_path):
    with pytest.raises(UserError) as error:
        find_data_folder(str(tmp_path / "evil\x1b[2J\x07"), tmp_path)
    assert str(error.value).isprintable()


def test_all_data_sets_in_a_folder_are_found_the_shallowest_first(tmp_path):
    make(tmp_path / "a" / "deep", "female/a.jpg", "male/b.jpg")
    make(tmp_path / "real", "Female/a.jpg", "Male/b.jpg")
    assert list(data_folders(tmp_path)) == [tmp_path / "real", tmp_path / "a" / "deep"]


def test_a_data_folder_whose_path_is_not_utf_8_is_refused_and_a_link_to_it_works(tmp_path):
    odd = make(tmp_path / os.fsdecode(b"caf\xe9"))
    for data in (str(odd), str(tmp_path)):
        with pytest.raises(
            UserError, match="not valid UTF-8; rename the folder, or name a symbolic link to it"
        ) as error:
            find_data_folder(data, tmp_path)
        assert str(error.value).isprintable()
    (tmp_path / "datasets").symlink_to(odd)
    assert find_data_folder(None, tmp_path) == tmp_path / "datasets"


def test_circular_links_are_followed_once(tmp_path):
    make(tmp_path / "set", "female/a.jpg", "male/b.jpg")
    (tmp_path / "set" / "female" / "again").symlink_to(tmp_path / "set")
    (tmp_path / "set" / "loop").symlink_to(tmp_path)
    (tmp_path / "set" / "male" / "self").symlink_to("self")
    assert find_data_folder(str(tmp_path), tmp_path) == tmp_path / "set"
    files = [(str(path.relative_to(tmp_path / "set")), label) for path, label in list_labelled_files(tmp_path / "set")]
    assert files == [("female/a.jpg", 0), ("male/b.jpg", 1), ("male/self", 1)]


def test_files_in_subfolders_are_listed_in_the_order_of_their_names(tmp_path):
    make(tmp_path, "male/z.jpg", "male/sub folder/y.jpg", "female/b.jpg", "female/a.jpg", "other/c.jpg", "loose.jpg")
    names = [(str(path.relative_to(tmp_path)), label) for path, label in list_labelled_files(tmp_path)]
    assert names == [("female/a.jpg", 0), ("female/b.jpg", 0), ("male/sub folder/y.jpg", 1), ("male/z.jpg", 1)]


def test_a_file_name_that_is_not_utf_8_is_listed_like_any_other(tmp_path):
    make(tmp_path)
    (tmp_path / "male" / os.fsdecode(b"caf\xe9.jpg")).write_bytes(b"x")
    assert len(list_labelled_files(tmp_path)) == 3


@pytest.mark.parametrize("name", ["female", "male"])
def test_an_empty_class_folder_is_an_error(tmp_path, name):
    make(tmp_path)
    next((tmp_path / name).iterdir()).unlink()
    with pytest.raises(UserError, match=f"{name}: is empty"):
        list_labelled_files(tmp_path)


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("female/.DS_Store", "hidden file"),
        ("female/._a.jpg", "hidden file"),
        ("female/Thumbs.db", "system file"),
        ("male/desktop.ini", "system file"),
        ("male/.ipynb_checkpoints/a.jpg", "in a hidden folder"),
        ("male/__MACOSX/a.jpg", "in a hidden folder"),
        ("male/a.jpg", ""),
        ("male/noextension", ""),
    ],
)
def test_system_files_are_recognised_by_their_names(file, said):
    assert system_file_reason(Path("/data") / file, Path("/data")) == said


# The split ----------------------------------------------------------------------------------------------------------


def labels_and_groups(per_class: int):
    labels = np.repeat(np.arange(2), per_class).astype(np.int64)
    return labels, [f"group {i}" for i in range(2 * per_class)]


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 0.99])
def test_the_split_has_the_requested_share_of_each_class_and_every_photograph_once(share):
    labels, groups = labels_and_groups(100)
    train, validation = split_indices(labels, groups, share, 42)
    assert sorted([*train, *validation]) == list(range(200))
    assert train.dtype == validation.dtype == np.int64
    for label in range(len(CLASSES)):
        assert (labels[validation] == label).sum() == round(share * 100)


def test_the_split_depends_on_contents_and_seed_but_not_on_the_order():
    labels, groups = labels_and_groups(50)
    _, validation = split_indices(labels, groups, 0.2, 42)
    order = np.random.default_rng(0).permutation(100)
    _, shuffled = split_indices(labels[order], [groups[i] for i in order], 0.2, 42)
    assert {groups[i] for i in validation} == {groups[order[i]] for i in shuffled}
    _, other = split_indices(labels, groups, 0.2, 43)
    assert set(other) != set(validation)


def test_added_photographs_move_few_of_the_others():
    labels, groups = labels_and_groups(100)
    before = {groups[i] for i in split_indices(labels, groups, 0.2, 42)[1]}
    more_labels = np.concatenate([labels, np.array([0, 1] * 5)])
    more_groups = [*groups, *(f"new {i}" for i in range(10))]
    after = {more_groups[i] for i in split_indices(more_labels, more_groups, 0.2, 42)[1]}
    assert len(before - after) <= 4


def test_a_group_stays_together_even_when_filed_under_both_classes():
    labels, groups = labels_and_groups(60)
    groups[:9] = ["same"] * 9
    groups[20] = groups[100] = "both"
    for seed in range(30):
        train, validation = split_indices(labels, groups, 0.25, seed)
        assert not {groups[i] for i in train} & {groups[i] for i in validation}
        assert len(train) + len(validation) == 120


def test_a_class_of_a_few_large_groups_has_some_on_both_sides():
    labels = np.array([0] * 10 + [1] * 10)
    groups = ["a"] * 7 + ["b"] * 3 + [str(i) for i in range(10)]
    train, validation = split_indices(labels, groups, 0.1, 1)
    assert set(labels[train]) == set(labels[validation]) == {0, 1}


@pytest.mark.parametrize(
    ("labels", "groups"),
    [([0, 1, 1], "abc"), ([0, 0, 0, 1, 1], "aaabc"), ([0, 0, 1, 1], "abab"), ([0, 0], "ab"), ([], "")],
)
def test_too_few_different_photographs_are_refused(labels, groups):
    with pytest.raises(UserError, match="too few different"):
        split_indices(np.array(labels, dtype=np.int64), list(groups), 0.5, 0)
