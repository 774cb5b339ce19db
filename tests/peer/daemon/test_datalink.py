import inspect

import pytest

from peer.daemon.datalink import DataLink, IncomingStream, OutgoingStream
from protocol.endpoint.streams import Stream
from tests.peer.daemon.mesh import MemoryLink


def methods(protocol: type) -> list[str]:
    return [name for name, value in vars(protocol).items() if inspect.isfunction(value)]


@pytest.mark.parametrize(
    ("protocol", "kind"),
    [(OutgoingStream, Stream), (IncomingStream, Stream), (DataLink, MemoryLink)],
)
def test_the_real_thing_has_the_shape(protocol: type, kind: type) -> None:
    """An endpoint's stream is a data stream; the tests' link is a link."""
    names = [name for name in methods(protocol) if not name.startswith("_")]

    assert names
    for name in names:
        wanted = inspect.signature(getattr(protocol, name)).parameters
        given = inspect.signature(getattr(kind, name)).parameters
        assert list(given)[: len(wanted)] == list(wanted)
        assert inspect.iscoroutinefunction(getattr(kind, name)) == inspect.iscoroutinefunction(
            getattr(protocol, name)
        )
