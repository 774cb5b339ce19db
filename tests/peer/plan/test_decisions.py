import msgspec
import pytest

from peer.plan import decisions
from peer.plan.actions import Copy, Nothing
from peer.plan.decisions import Decisions, Targeted, decode
from peer.plan.presets import Preset, rules_of
from protocol.errors import MalformedMessage

SAMPLE = Decisions(
    rules=rules_of(Preset.MIRROR, 3),
    targeted=(
        Targeted(action=Nothing(), items=((0, (b"a", b"\xff")),)),
        Targeted(action=Copy(origin=1, to=(2,)), items=((1, ()), (0, (b"b",)))),
    ),
    preset=Preset.MIRROR,
)


@pytest.mark.parametrize("value", [Decisions(), SAMPLE])
def test_decisions_survive_the_wire(value: Decisions) -> None:
    """Rules, hands and label."""
    assert decode(value.encode()) == value


def test_equal_decisions_are_equal_bytes() -> None:
    """The start is signed over them."""
    assert decode(SAMPLE.encode()).encode() == SAMPLE.encode()


@pytest.mark.parametrize(
    "hostile",
    [
        b"",
        b"\xc1",
        SAMPLE.encode() + b"\x00",
        b"\x91" * 5000 + b"\xc0",
        msgspec.msgpack.encode({"preset": "Mirror\n"}),
        msgspec.msgpack.encode({"rules": [rules_of(Preset.COMBINE)[0]] * 201}),
        msgspec.msgpack.encode({"targeted": [{"action": {"type": "nothing"}, "items": []}]}),
        msgspec.msgpack.encode({"targeted": [{"action": {"type": "format"}, "items": [[0, []]]}]}),
    ],
)
def test_what_is_no_decision_is_malformed(hostile: bytes) -> None:
    """Whatever its form: cut, nested, out of bounds, of another kind."""
    with pytest.raises(MalformedMessage):
        decode(hostile)


def test_decisions_have_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looked at before they are read."""
    monkeypatch.setattr(decisions, "MAX_ENCODED", 10)

    with pytest.raises(MalformedMessage, match="long"):
        decode(SAMPLE.encode())
