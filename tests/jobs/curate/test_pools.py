"""What actors ask a cluster for."""

from jobs.curate.pipeline import core_of_actor


def test_an_actor_asks_for_a_whole_core_wherever_it_can_be_had() -> None:
    assert core_of_actor(0, 2) == 1, "a cluster that has nothing yet is to bring a node"
    assert core_of_actor(16, 3) == core_of_actor(4, 3) == 1
    assert 2 * core_of_actor(2, 2) < 2, "a task must have room beside an actor of each stage"
