"""ImageNet's 1000 classes and the names that people give them."""

import pytest

from lowrank_demo.data.imagenet import classes, find_classes, label_of
from lowrank_demo.errors import UsageError


def test_classes() -> None:
    every = classes()
    assert [label.index for label in every] == list(range(1000))
    assert len({label.synset for label in every}) == 1000
    assert (every[291].synset, every[291].name) == ("n02129165", "lion")
    assert every[291].names == ("lion", "king of beasts", "Panthera leo")
    assert (every[0].name, every[999].name) == ("tench", "toilet paper")


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("n02129165", 291),
        ("N02129165", 291),
        ("n02129165_lion", 291),
        ("n02085620-Chihuahua", 151),
        ("291", 291),
        ("0", 0),
        ("000", 0),
        ("00000", 0),
        ("00291", 291),
        ("999", 999),
        ("lion", 291),
        ("Lion", 291),
        ("king of beasts", 291),
        ("English springer", 217),
        ("english_springer", 217),
        ("English-Springer", 217),
        ("English springer, English springer spaniel", 217),
        ("tench, Tinca tinca", 0),
        ("St. Bernard", 247),
        ("jack-o'-lantern", 607),
        ("crane bird", 134),
    ],
)
def test_what_people_write(text: str, label: int) -> None:
    assert label_of(text) == label


@pytest.mark.parametrize(
    ("text", "candidates"),
    [
        ("missile", ("657 (n03773504", "744 (n04008634")),
        ("sunglasses", ("836 (n04355933", "837 (n04356056")),
        ("crane", ("134 (n02012849", "517 (n03126707")),
        ("maillot", ("638 (n03710637", "639 (n03710721")),
        ("panther", ("286 (n02125311", "290 (n02128925")),
        ("partridge", ("82 (n01797886", "86 (n01807496")),  # the usual name of one, WordNet's of the other
    ],
)
def test_ambiguous_names_name_the_candidates(text: str, candidates: tuple[str, str]) -> None:
    with pytest.raises(UsageError, match=f'"{text}" names more than one class') as refused:
        label_of(text)
    assert all(candidate in str(refused.value) for candidate in candidates)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("n00004475", "n00004475 is not one of the 1000 classes' synset ids; it may be one of ImageNet-21k's"),
        ("N00004475-organism", "n00004475 is not one of the 1000 classes' synset ids"),
        ("1000", "1000 is not an index of the 1000 classes; expected 0 to 999"),
        ("-1", "names none of the 1000 classes"),
        ("", "names none of the 1000 classes"),
        ("unicorn", "'python -m lowrank_demo classes WORD' lists the names"),
    ],
)
def test_what_is_no_class(text: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        label_of(text)


def test_every_name_in_the_list_is_accepted_or_named_as_ambiguous() -> None:
    for label in classes():
        assert label_of(label.synset) == label_of(str(label.index)) == label.index
        try:
            assert label_of(label.name) == label.index
        except UsageError as error:
            assert label.synset in str(error)


def test_find_classes() -> None:
    assert [label.index for label in find_classes("crane")] == [134, 517]
    assert [label.index for label in find_classes("ENGLISH_spring")] == [217]
    assert [label.index for label in find_classes("n02129165")] == [291]
    assert len(find_classes("")) == 1000
    assert not find_classes("unicorn")
