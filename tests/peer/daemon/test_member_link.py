import inspect

import pytest

from peer.daemon.local_link import LocalLink
from peer.daemon.member_link import MemberLink
from peer.net.mesh import Link


@pytest.mark.parametrize("kind", [Link, LocalLink])
def test_links_over_the_network_and_within_a_computer_have_one_shape(kind: type) -> None:
    """What a session asks of a link, both kinds answer alike."""
    names = [name for name, value in vars(MemberLink).items() if inspect.isfunction(value)]
    names = [name for name in names if not name.startswith("_")]

    assert len(names) > 5
    for name in names:
        wanted = inspect.signature(getattr(MemberLink, name)).parameters
        given = inspect.signature(getattr(kind, name)).parameters
        assert list(given)[: len(wanted)] == list(wanted)
        assert inspect.iscoroutinefunction(getattr(kind, name)) == inspect.iscoroutinefunction(
            getattr(MemberLink, name)
        )
