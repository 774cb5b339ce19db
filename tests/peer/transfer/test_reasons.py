from peer.transfer.proof import Finding
from peer.transfer.reasons import Reason
from protocol import codec
from protocol.messages.transfer import StepFailure, StepsFailed


def test_every_reason_fits_the_wire() -> None:
    """A code that no message carries would be lost on the way."""
    codes = [*Reason, *Finding]
    message = StepsFailed(
        sync=bytes(16), failures=[StepFailure(step=1, code=str(code)) for code in codes]
    )

    decoded: StepsFailed = codec.decode(codec.encode(message), StepsFailed)

    assert [failure.code for failure in decoded.failures] == codes
