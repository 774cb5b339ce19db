import pytest

from protocol.address import from_sockaddr
from protocol.idle import (
    ANSWER_SIZE,
    MAX_COUNTER,
    QUESTION_SIZE,
    Wish,
    _seal,
    handle_of,
    keys_of,
    open_answer,
    open_question,
    seal_answer,
    seal_question,
)

KEYS = keys_of(b"e" * 32)
HANDLE = b"h" * 8
QUESTION = seal_question(KEYS.member, HANDLE, 7, Wish.LEAVE)


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1"])
def test_question_and_answer_say_what_they_were_given(host: str) -> None:
    """Of either family; the answer is far below three times the question."""
    observed = from_sockaddr((host, 4000))
    answer = seal_answer(KEYS.node, HANDLE, 9, Wish.WAKE, observed)

    assert open_question(KEYS.member, QUESTION, 6) == (7, Wish.LEAVE)
    assert open_answer(KEYS.node, answer, 8) == (9, Wish.WAKE, observed)
    assert (len(QUESTION), len(answer)) == (QUESTION_SIZE, ANSWER_SIZE)
    assert ANSWER_SIZE < 2 * QUESTION_SIZE
    assert handle_of(QUESTION) == handle_of(answer) == HANDLE


def test_every_changed_bit_is_noticed() -> None:
    """Header and content alike."""
    for bit in range(8, 8 * len(QUESTION)):
        changed = bytearray(QUESTION)
        changed[bit // 8] ^= 1 << bit % 8
        assert open_question(KEYS.member, bytes(changed), 0) is None


def test_nothing_is_taken_twice() -> None:
    """A counter that is not newer is a replay."""
    assert open_question(KEYS.member, QUESTION, 7) is None
    assert open_question(KEYS.member, QUESTION, 8) is None
    last = seal_question(KEYS.member, HANDLE, MAX_COUNTER + 1, Wish.NONE)
    assert open_question(KEYS.member, last, 0) is None


def test_the_two_directions_have_two_keys() -> None:
    """What one end sent cannot be sent back to it."""
    answer = seal_answer(KEYS.node, HANDLE, 9, Wish.NONE, from_sockaddr(("192.0.2.1", 1)))

    assert len(set(KEYS)) == 3
    assert open_answer(KEYS.node, QUESTION, 0) is None
    assert open_question(KEYS.member, answer, 0) is None
    assert open_question(KEYS.node, answer, 0) is None, "an answer is no question"
    assert open_answer(KEYS.member, QUESTION, 0) is None, "a question is no answer"


@pytest.mark.parametrize("data", [b"", b"\x2e", b"\x2e" * 33, b"\x20" * QUESTION_SIZE])
def test_other_datagrams_are_nobodys(data: bytes) -> None:
    """Probes come in the same range of first bytes."""
    assert handle_of(data) is None


def test_what_a_later_version_wants_is_not_guessed() -> None:
    """Neither a wish that is unknown, nor an address that is none."""
    question = _seal(KEYS.member, HANDLE, 1, bytes([9]))
    answer = _seal(KEYS.node, HANDLE, 1, bytes([9]) + bytes(18))
    nowhere = _seal(KEYS.node, HANDLE, 1, bytes(19))

    assert open_question(KEYS.member, question, 0) is None
    assert open_answer(KEYS.node, answer, 0) is None
    assert open_answer(KEYS.node, nowhere, 0) is None


def test_the_proof_belongs_to_one_connection() -> None:
    """Whoever sees it cannot use it on theirs."""
    assert KEYS.proof(b"1" * 32) != KEYS.proof(b"2" * 32)
    assert KEYS.proof(b"1" * 32) != keys_of(b"x" * 32).proof(b"1" * 32)
