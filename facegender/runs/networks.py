"""The classification networks of torchvision, known without importing torch, so that arguments are checked at once.

They are those that ``torchvision.models.list_models(module=torchvision.models)`` lists. Its networks for video,
segmentation, detection and quantisation are in modules of their own.
"""

from __future__ import annotations

from typing import NamedTuple

from facegender.support.text import one_line

RECIPE_NETWORK = "recipe"
"""Stands for the recipe's own network where a network is named."""


class TorchvisionNetwork(NamedTuple):
    """What is known of a network without building it.

    Attributes:
        parameters: Number of weights and biases with two classes, at 224 px.
        min_image_size: Smallest multiple of 8 (or of ``patch``), at least 16, at which a single photograph can be
            trained: batch normalisation needs more than one value of each channel, and the last batch of an epoch may
            be a single photograph.
        patch: The image size must be a multiple of it, and is fixed when the network is built; 0 if any size fits.
    """

    parameters: int
    min_image_size: int
    patch: int = 0


NETWORKS: dict[str, TorchvisionNetwork] = {
    "alexnet": TorchvisionNetwork(57_012_034, 64),
    "convnext_base": TorchvisionNetwork(87_568_514, 32),
    "convnext_large": TorchvisionNetwork(196_233_410, 32),
    "convnext_small": TorchvisionNetwork(49_456_226, 32),
    "convnext_tiny": TorchvisionNetwork(27_821_666, 32),
    "densenet121": TorchvisionNetwork(6_955_906, 64),
    "densenet161": TorchvisionNetwork(26_476_418, 64),
    "densenet169": TorchvisionNetwork(12_487_810, 64),
    "densenet201": TorchvisionNetwork(18_096_770, 64),
    "efficientnet_b0": TorchvisionNetwork(4_010_110, 40),
    "efficientnet_b1": TorchvisionNetwork(6_515_746, 40),
    "efficientnet_b2": TorchvisionNetwork(7_703_812, 40),
    "efficientnet_b3": TorchvisionNetwork(10_699_306, 40),
    "efficientnet_b4": TorchvisionNetwork(17_552_202, 40),
    "efficientnet_b5": TorchvisionNetwork(28_344_882, 40),
    "efficientnet_b6": TorchvisionNetwork(40_740_314, 40),
    "efficientnet_b7": TorchvisionNetwork(63_792_082, 40),
    "efficientnet_v2_l": TorchvisionNetwork(117_236_834, 40),
    "efficientnet_v2_m": TorchvisionNetwork(52_860_918, 40),
    "efficientnet_v2_s": TorchvisionNetwork(20_180_050, 40),
    "googlenet": TorchvisionNetwork(5_601_954, 48),
    "inception_v3": TorchvisionNetwork(21_789_666, 112),
    "maxvit_t": TorchvisionNetwork(30_408_648, 224, 224),
    "mnasnet0_5": TorchvisionNetwork(940_074, 40),
    "mnasnet0_75": TorchvisionNetwork(1_891_770, 40),
    "mnasnet1_0": TorchvisionNetwork(3_104_874, 40),
    "mnasnet1_3": TorchvisionNetwork(5_003_818, 40),
    "mobilenet_v2": TorchvisionNetwork(2_226_434, 40),
    "mobilenet_v3_large": TorchvisionNetwork(4_204_594, 40),
    "mobilenet_v3_small": TorchvisionNetwork(1_519_906, 40),
    "regnet_x_16gf": TorchvisionNetwork(52_233_634, 40),
    "regnet_x_1_6gf": TorchvisionNetwork(8_278_962, 40),
    "regnet_x_32gf": TorchvisionNetwork(105_295_602, 40),
    "regnet_x_3_2gf": TorchvisionNetwork(14_289_570, 40),
    "regnet_x_400mf": TorchvisionNetwork(5_095_778, 40),
    "regnet_x_800mf": TorchvisionNetwork(6_588_002, 40),
    "regnet_x_8gf": TorchvisionNetwork(37_655_490, 40),
    "regnet_y_128gf": TorchvisionNetwork(637_434_680, 40),
    "regnet_y_16gf": TorchvisionNetwork(80_571_190, 40),
    "regnet_y_1_6gf": TorchvisionNetwork(10_315_208, 40),
    "regnet_y_32gf": TorchvisionNetwork(141_341_196, 40),
    "regnet_y_3_2gf": TorchvisionNetwork(17_926_364, 40),
    "regnet_y_400mf": TorchvisionNetwork(3_904_026, 40),
    "regnet_y_800mf": TorchvisionNetwork(5_649_082, 40),
    "regnet_y_8gf": TorchvisionNetwork(37_368_506, 40),
    "resnet101": TorchvisionNetwork(42_504_258, 40),
    "resnet152": TorchvisionNetwork(58_147_906, 40),
    "resnet18": TorchvisionNetwork(11_177_538, 40),
    "resnet34": TorchvisionNetwork(21_285_698, 40),
    "resnet50": TorchvisionNetwork(23_512_130, 40),
    "resnext101_32x8d": TorchvisionNetwork(86_746_434, 40),
    "resnext101_64x4d": TorchvisionNetwork(81_410_370, 40),
    "resnext50_32x4d": TorchvisionNetwork(22_984_002, 40),
    "shufflenet_v2_x0_5": TorchvisionNetwork(343_842, 40),
    "shufflenet_v2_x1_0": TorchvisionNetwork(1_255_654, 40),
    "shufflenet_v2_x1_5": TorchvisionNetwork(2_480_674, 40),
    "shufflenet_v2_x2_0": TorchvisionNetwork(5_349_094, 40),
    "squeezenet1_0": TorchvisionNetwork(736_450, 24),
    "squeezenet1_1": TorchvisionNetwork(723_522, 24),
    "swin_b": TorchvisionNetwork(86_745_274, 16),
    "swin_s": TorchvisionNetwork(48_838_796, 16),
    "swin_t": TorchvisionNetwork(27_520_892, 16),
    "swin_v2_b": TorchvisionNetwork(86_907_898, 16),
    "swin_v2_s": TorchvisionNetwork(48_969_980, 16),
    "swin_v2_t": TorchvisionNetwork(27_584_108, 16),
    "vgg11": TorchvisionNetwork(128_774_530, 32),
    "vgg11_bn": TorchvisionNetwork(128_780_034, 32),
    "vgg13": TorchvisionNetwork(128_959_042, 32),
    "vgg13_bn": TorchvisionNetwork(128_964_930, 32),
    "vgg16": TorchvisionNetwork(134_268_738, 32),
    "vgg16_bn": TorchvisionNetwork(134_277_186, 32),
    "vgg19": TorchvisionNetwork(139_578_434, 32),
    "vgg19_bn": TorchvisionNetwork(139_589_442, 32),
    "vit_b_16": TorchvisionNetwork(85_800_194, 16, 16),
    "vit_b_32": TorchvisionNetwork(87_456_770, 32, 32),
    "vit_h_14": TorchvisionNetwork(630_767_362, 28, 14),
    "vit_l_16": TorchvisionNetwork(303_303_682, 16, 16),
    "vit_l_32": TorchvisionNetwork(305_512_450, 32, 32),
    "wide_resnet101_2": TorchvisionNetwork(124_841_794, 40),
    "wide_resnet50_2": TorchvisionNetwork(66_838_338, 40),
}


def network_problem(name: str) -> str:
    """Say what is wrong with the name of a network, as a clause; "" if nothing is."""
    if name == RECIPE_NETWORK or name in NETWORKS:
        return ""
    import difflib  # only a mistake needs it

    close = difflib.get_close_matches(name.lower(), [RECIPE_NETWORK, *NETWORKS], 3)
    remedy = f"did you mean {' or '.join(close)}?" if close else "`facegender networks` lists them"
    return f"must be {RECIPE_NETWORK} or a network of torchvision, not {one_line(name)[:64]!r}; {remedy}"


def size_problem(name: str, image_size: int) -> str:
    """Say why a network cannot be trained with an image size, as a clause; "" if it can."""
    network = NETWORKS.get(name)
    if network is None:
        return ""
    least, patch = network.min_image_size, network.patch
    if image_size < least:
        return f"must be at least {least} with the network {name}, not {image_size}"
    if patch and image_size % patch:
        below = image_size // patch * patch
        return (
            f"must be a multiple of {patch} with the network {name}, e.g. {below} or {below + patch}, not {image_size}"
        )
    return ""
