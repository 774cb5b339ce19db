from typing import Any

import msgspec
import pytest
from hypothesis import given

from protocol import limits
from protocol.codec import decode, encode
from protocol.errors import MalformedMessage
from protocol.messages.transfer import ProofStated, StepProof, TransferMessage
from tests.harness.strategies import messages

SYNC, TRANSFER = bytes(16), bytes(16)
FETCH = {"type": "transfer.fetch", "sync": SYNC, "transfer": TRANSFER, "steps": [0, 2**32 - 1]}
REFUSED = {"type": "transfer.refused", "transfer": TRANSFER, "code": "entry.changed"}
FAILURE = {"step": 1, "code": "disk.full"}
FAILED = {"type": "transfer.steps_failed", "sync": SYNC, "failures": [FAILURE]}
PROOF = {
    "type": "transfer.proof",
    "sync": SYNC,
    "steps": [{"step": 1, "digest": bytes(32)}, {"step": 2, "digest": None}],
    "last": True,
}


@given(messages(TransferMessage))
def test_every_transfer_message_survives_the_wire(message: Any) -> None:
    """Drawn from the declarations."""
    assert decode(encode(message), TransferMessage) == message


@pytest.mark.parametrize("content", [FETCH, REFUSED, FAILED, PROOF])
def test_what_is_within_bounds_is_admitted(content: dict[str, Any]) -> None:
    """What the next test breaks is otherwise right."""
    assert decode(msgspec.msgpack.encode(content), TransferMessage)


@pytest.mark.parametrize(
    "content",
    [
        FETCH | {"steps": []},
        FETCH | {"steps": [1] * (limits.MAX_BATCH + 1)},
        FETCH | {"steps": [-1]},
        FETCH | {"steps": [2**32]},
        FETCH | {"transfer": bytes(15)},
        FETCH | {"sync": bytes(17)},
        REFUSED | {"code": "two words"},
        REFUSED | {"code": "x" * 65},
        FAILED | {"failures": [FAILURE] * (limits.MAX_BATCH + 1)},
        FAILED | {"failures": [FAILURE | {"code": "\n"}]},
        PROOF | {"steps": [{"step": 1, "digest": bytes(31)}]},
        PROOF | {"steps": [{"step": 1}]},
        PROOF | {"steps": [{"step": 1, "digest": None}] * (limits.MAX_BATCH + 1)},
        PROOF | {"last": None},
        {"type": "transfer.proof_asked", "sync": SYNC, "round": -1},
    ],
    ids=lambda content: str(content)[:60],
)
def test_what_is_out_of_bounds_is_malformed(content: dict[str, Any]) -> None:
    """Steps are named within the plan's range and in bounded batches."""
    with pytest.raises(MalformedMessage):
        decode(msgspec.msgpack.encode(content), TransferMessage)


def test_a_full_batch_of_proofs_fits_a_record() -> None:
    """The number per message is chosen for that."""
    steps = [StepProof(step=2**32 - 1, digest=bytes(32))] * limits.MAX_BATCH
    full = ProofStated(sync=SYNC, steps=steps, last=False)

    assert len(encode(full)) <= limits.MAX_CONTROL_PLAINTEXT
