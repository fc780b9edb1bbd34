"""The table of torchvision's networks: names, sizes, and how a wrong choice is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from facegender.__main__ import run
from facegender.runs.config import TrainConfig, parse, read_toml, validate
from facegender.runs.networks import NETWORKS, RECIPE_NETWORK, network_problem, size_problem
from facegender.runs.presets import configure, train_arguments
from facegender.support.errors import UserError

Capture = pytest.CaptureFixture[str]


def test_the_networks_are_listed_in_the_order_of_their_names(capsys: Capture) -> None:
    assert list(NETWORKS) == sorted(NETWORKS)
    assert run(["networks"]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(NETWORKS)
    assert len({line.index("from ") for line in lines}) == 1
    assert header.split() == ["network", "parameters", "image", "size"]
    (resnet,) = [line for line in lines if line.startswith("resnet18 ")]
    assert "11 177 538" in resnet
    assert resnet.endswith("from 40 px")


def test_the_networks_are_listed_as_json(capsys: Capture) -> None:
    assert run(["networks", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    by_name = {row.pop("network"): row for row in rows}
    assert by_name["resnet18"] == {"parameters": 11177538, "min_image_size": 40, "image_size_multiple": 1}
    assert by_name["vit_b_32"]["image_size_multiple"] == 32


@pytest.mark.parametrize(
    ("name", "clause"),
    [
        ("resnt18", "must be recipe or a network of torchvision, not 'resnt18'; did you mean resnet18"),
        ("ResNet18", "did you mean resnet18"),
        ("", "`facegender networks` lists them"),
        ("cake\x1b[2J", "not 'cake\ufffd[2J'; `facegender networks` lists them"),
    ],
)
def test_an_unknown_network_is_refused_with_those_of_similar_names(name: str, clause: str) -> None:
    assert clause in network_problem(name)
    with pytest.raises(UserError, match="must be recipe or a network of torchvision"):
        parse("network", name)


def test_the_image_size_must_suit_the_network() -> None:
    assert size_problem(RECIPE_NETWORK, 16) == size_problem("resnet18", 40) == size_problem("vit_b_32", 64) == ""
    with pytest.raises(UserError, match=r"^--image-size must be at least 40 with the network resnet18, not 32$"):
        validate(TrainConfig(network="resnet18", image_size=32))
    with pytest.raises(UserError, match=r"multiple of 32 with the network vit_b_32, e\.g\. 96 or 128, not 100$"):
        validate(TrainConfig(network="vit_b_32", image_size=100))


def test_widths_belong_to_the_recipes_own_networks(capsys: Capture, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^--widths has no effect with --network resnet18: leave it out$"):
        configure({"network": "resnet18", "widths": (1, 2, 3)})
    assert configure({"network": RECIPE_NETWORK, "widths": (1, 2, 3)}).widths == (1, 2, 3)
    arguments = ["train", "--demo", "--network=resnet18", "--widths=1,2,3", "--root", str(tmp_path)]
    assert run(arguments) == 2
    assert capsys.readouterr().err == "facegender: --widths has no effect with --network resnet18: leave it out\n"
    # The form may start from a run that has widths.
    assert "--widths=1,2,3" not in train_arguments(TrainConfig(network="resnet18", widths=(1, 2, 3)))
    assert "--network=resnet18" in train_arguments(TrainConfig(network="resnet18", widths=(1, 2, 3)))


def test_a_mistyped_network_is_refused_before_anything_is_written(capsys: Capture, tmp_path: Path) -> None:
    assert run(["train", "--demo", "--network=resnet19", "--root", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("facegender: --network must be recipe or a network of torchvision, not 'resnet19'; did you")
    assert not list(tmp_path.iterdir())


def test_a_file_of_settings_names_a_network(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text('network = "resnet18"\n')
    assert read_toml(tmp_path / "run.toml") == {"network": "resnet18"}
