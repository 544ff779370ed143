"""ImageNet's 1000 classes."""

from lowrank_demo.data.imagenet import classes


def test_classes() -> None:
    every = classes()
    assert [label.index for label in every] == list(range(1000))
    assert len({label.synset for label in every}) == 1000
    assert (every[291].synset, every[291].name) == ("n02129165", "lion")
    assert (every[0].name, every[999].name) == ("tench", "toilet paper")
