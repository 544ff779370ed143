"""What launchers, and shells that keep their variables, say about the processes of a run."""

from __future__ import annotations

import pytest

from lowrank_demo.errors import UsageError
from lowrank_demo.runtime.launch import Place

MEETING = {"MASTER_ADDR": "node1", "MASTER_PORT": "29500"}


def test_a_place_among_many() -> None:
    run = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4", **MEETING}
    assert Place.from_environment(run) == Place(5, 8, 1, 4, "node1:29500")
    assert Place.from_environment({"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", **MEETING}).local_world == 2


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"RANK": "", "WORLD_SIZE": " "},
        {"RANK": "0"},
        {"WORLD_SIZE": "1", "LOCAL_RANK": "3", "LOCAL_WORLD_SIZE": "4"},
        {"OMPI_COMM_WORLD_SIZE": "2", **MEETING},
    ],
)
def test_a_process_alone(environment: dict[str, str]) -> None:
    assert Place.from_environment(environment) == Place()


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"RANK": "1"}, "RANK is 1 in the environment and WORLD_SIZE is not set; expected a RANK below WORLD_SIZE"),
        ({"RANK": "2", "WORLD_SIZE": "2", **MEETING}, "RANK is 2 in the environment and WORLD_SIZE is 2"),
        ({"RANK": "0", "WORLD_SIZE": "0"}, "WORLD_SIZE is 0 in the environment; expected at least 1"),
        ({"RANK": "x", "WORLD_SIZE": "2"}, 'RANK is "x" in the environment; expected a whole number'),
        ({"RANK": "0", "WORLD_SIZE": "-2"}, 'WORLD_SIZE is "-2" in the environment; expected a whole number'),
        (
            {"WORLD_SIZE": "2", "LOCAL_RANK": "0", **MEETING},
            "WORLD_SIZE is 2 in the environment, but RANK is not set",
        ),
        ({"RANK": "0", "WORLD_SIZE": "2"}, "but LOCAL_RANK, MASTER_ADDR, MASTER_PORT are not set"),
        ({"RANK": "0", "WORLD_SIZE": "2", **MEETING}, "but LOCAL_RANK is not set"),
        (
            {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", **MEETING, "MASTER_PORT": "99999"},
            "MASTER_PORT is 99999",
        ),
        (
            {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "2", "LOCAL_WORLD_SIZE": "2", **MEETING},
            "expected a LOCAL_RANK below",
        ),
    ],
)
def test_what_cannot_be_is_one_sentence(environment: dict[str, str], sentence: str) -> None:
    with pytest.raises(UsageError) as refused:
        Place.from_environment(environment)
    assert sentence in str(refused.value)
    assert str(refused.value).endswith(
        "start the run with torchrun, or unset RANK and WORLD_SIZE to run one process alone."
    )
