"""A world of real processes for every test here; it must be empty again at the end."""

from collections.abc import Iterator

import pytest

from tests.acceptance.world import Node, World, new_world


@pytest.fixture
def world() -> Iterator[World]:
    """A temporary folder; whatever was started in it is ended, and none may be left over."""
    with new_world() as made:
        yield made


@pytest.fixture
def node(world: World) -> Node:
    """A running rendezvous node."""
    return world.node()
