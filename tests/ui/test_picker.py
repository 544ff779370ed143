"""The picker's radio takes a value that its choices no longer hold: a request may have been on its way."""

from lowrank_demo.ui.picker import ModelRadio


def test_a_choice_of_a_moment_ago_passes() -> None:
    radio = ModelRadio([("new", "published/scheme_1/v1")], value="published/scheme_1/v1")
    assert radio.preprocess("preview/scheme_2/v5") == "preview/scheme_2/v5"
    assert radio.get_block_name() == "radio"
