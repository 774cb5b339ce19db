"""What the local API asks for is what the peer, and the fake of the tests, can do."""

import inspect

import pytest

from peer.daemon.facade import Peer
from peer.web.peer_like import PeerLike
from tests.harness.fake_peer import FakePeer

ASKED = [
    name for name, member in vars(PeerLike).items() if inspect.isfunction(member) and name[0] != "_"
]


@pytest.mark.parametrize("kind", [Peer, FakePeer])
@pytest.mark.parametrize("name", ASKED)
def test_every_question_has_an_answer_of_the_same_form(kind: type, name: str) -> None:
    """The same names, so that what is tried on the fake holds for the peer."""
    wanted = inspect.signature(getattr(PeerLike, name)).parameters
    given = inspect.signature(getattr(kind, name)).parameters

    assert list(given) == list(wanted)
