import pytest

from peer.session.offers import MAX_EARLY_OFFERS, EarlyOffers, Pending
from protocol.credentials import Secret
from protocol.crypto.identity import NodeIdentity
from protocol.epochs import Commit, Reason, commit_hash, genesis, successor
from protocol.errors import RemoteProtocolError
from protocol.messages.session import CommitOffered

NODE = NodeIdentity(Secret(b"n" * 32))
KEY = Secret(b"k" * 32)


def chain(length: int) -> list[Commit]:
    commits = [genesis(NODE, "machine", "", KEY)]
    for _ in range(length - 1):
        last = commits[-1]
        commits.append(
            successor(last, NODE, reason=Reason.ROTATE, roster=last.roster, session_key=KEY)
        )
    return commits


def offer_of(commit: Commit) -> CommitOffered:
    return CommitOffered(commit=commit.encode(), wrap=b"")


def test_offers_are_returned_once_in_order() -> None:
    """They are looked at again when more is known."""
    early = EarlyOffers()
    commits = chain(2)
    for commit in commits:
        early.add(commit, offer_of(commit))

    assert [commit for commit, _ in early.take()] == commits
    assert early.take() == []


def test_the_number_of_early_offers_is_bounded() -> None:
    """Nobody fills memory with commits it has no right to make."""
    early = EarlyOffers()
    (commit,) = chain(1)
    for _ in range(MAX_EARLY_OFFERS):
        early.add(commit, offer_of(commit))

    with pytest.raises(RemoteProtocolError):
        early.add(commit, offer_of(commit))
    assert len(early.take()) == MAX_EARLY_OFFERS


def test_an_aborted_offer_is_forgotten_on_its_makers_word_only() -> None:
    """Another member cannot make us miss a commit."""
    early = EarlyOffers()
    first, second = chain(2)
    for commit in (first, second):
        early.add(commit, offer_of(commit))

    early.drop(1, commit_hash(first))
    early.drop(0, commit_hash(second))

    assert [commit for commit, _ in early.take()] == [first]


def test_offers_for_epochs_that_are_past_are_forgotten() -> None:
    """They can never be taken."""
    early = EarlyOffers()
    commits = chain(4)
    for commit in commits:
        early.add(commit, offer_of(commit))

    early.drop_until(2)

    assert [commit.epoch for commit, _ in early.take()] == [3, 4]


def test_only_its_committer_decides_about_a_pending_commit() -> None:
    """And only about the one it names."""
    first, second = chain(2)
    pending = Pending(first, KEY, None)

    assert pending.is_named_by(0, commit_hash(first))
    assert not pending.is_named_by(1, commit_hash(first))
    assert not pending.is_named_by(0, commit_hash(second))
