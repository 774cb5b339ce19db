"""What must be true of every session, whatever happens to it: the model beside the system.

It sees every commit as it comes into force at every computer, and knows nothing of how.
"""

from collections import defaultdict

from peer.session.session_settings import SessionSettings
from protocol import codec
from protocol.epochs import Commit, Reason, commit_hash
from protocol.ids import letter_of
from tests.simulation.world import Process, World

MARKER = SessionSettings(date_tolerance_ms=1234)
"""Settings that only somebody without the right ever asks for."""


class Reference:
    """Checks a world while it runs.

    Raises:
        AssertionError: From the moment that something is wrong.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self._commits: dict[bytes, Commit] = {}
        self._keys: dict[bytes, bytes] = {}
        """The commit that brought each key."""
        self._seats: dict[bytes, dict[int, bytes]] = {}
        """Whose each index is, on the way to each commit."""
        self._decided: defaultdict[int, set[bytes]] = defaultdict(set)
        self._stated: set[bytes] = set()
        """Commits of a side that a person has taken over, and all after them."""
        self._former: defaultdict[bytes, set[bytes]] = defaultdict(set)
        world.on_commit = self.took

    @property
    def is_open(self) -> bool:
        """Whether there may be two ways: a person said so, or a promise died with a process."""
        return self.world.taken_over or self.world.forgot

    def took(self, process: Process, commit: Commit, key: bytes, binds: bool) -> None:  # a callback
        """A commit is in force at one computer."""
        name = commit_hash(commit)
        self._commits[name] = commit
        if commit.reason is Reason.TAKE_OVER or commit.prev in self._stated:
            self._stated.add(name)
        self._check_key(name, key)
        self._check_seats(name, commit)
        if binds:
            self._check_one_way(name, commit)
        assert process.membership.epoch >= commit.epoch
        assert commit.roster.find(process.node.identity.node_key) is not None
        assert commit.leader in commit.roster.present

    def _check_key(self, name: bytes, key: bytes) -> None:
        """Inside all hold one key; nobody outside has ever held it."""
        assert self._keys.setdefault(key, name) == name, "a key serves one epoch"
        inside = {entry.node_key for entry in self._commits[name].roster.members}
        for node in self.world.nodes:
            if node.identity.node_key not in inside:
                assert key not in node.keys, "who is outside can read on"

    def _check_seats(self, name: bytes, commit: Commit) -> None:
        """An index is one person's for good; letters leave no gap."""
        before = self._seats.get(commit.prev, {})
        seats = {entry.index: entry.node_key for entry in commit.roster.members}
        for index in before.keys() & seats.keys():
            assert before[index] == seats[index], "an index was given twice"
        self._seats[name] = before | seats
        indices = list(commit.roster.indices)
        letters = "".join(letter_of(index, indices) for index in indices)
        assert letters == "ABCDE"[: len(indices)]

    def _check_one_way(self, name: bytes, commit: Commit) -> None:
        """Nobody goes another way unless a person said so."""
        if name in self._stated or self.is_open:
            return
        self._decided[commit.epoch].add(name)
        assert len(self._decided[commit.epoch]) == 1, "a fork that nobody stated"

    def look(self) -> None:
        """Check what every process holds just now."""
        for process in self.world.running:
            keys = process.membership._keys._keys
            for epoch, key in keys.items():
                name = self._keys.get(key.reveal())
                if name is None:
                    continue  # pending
                commit = self._commits[name]
                assert commit.epoch == epoch
                assert epoch >= process.welcomed_at, "a new member reads the past"
                node_key = process.node.identity.node_key
                assert commit.roster.find(node_key) is not None
            assert process.lifecycle.settings != MARKER, "somebody acted beyond its rights"
        if not self.is_open:
            assert not self.world.forks, "a fork was seen that nobody stated"
        assert not self.world.broken, "honest members never break the protocol"

    def at_rest(self) -> None:
        """Check that all who are in agree, once nothing is wrong any more."""
        self.look()
        ways: defaultdict[bytes, list[Process]] = defaultdict(list)
        for process in self.world.running:
            if not process.membership.frozen:
                ways[commit_hash(process.membership.commit)].append(process)
        if not self.is_open:
            assert len(ways) <= 1, "they do not agree"
        for name, processes in ways.items():
            self._check_way(self._commits[name], processes)

    def _check_way(self, commit: Commit, processes: list[Process]) -> None:
        there = {process.me for process in processes}
        for process in self.world.running:
            is_in = commit.roster.find(process.node.identity.node_key) is not None
            if not self.is_open and process.node.password == processes[0].node.password:
                assert not is_in or process in processes, "frozen, and has a place elsewhere"
        if not self.is_open:
            assert set(commit.roster.present) - there <= self._dead(commit), "who is missing"
        assert len({codec.encode(each.lifecycle.settings) for each in processes}) == 1
        assert len({each.lifecycle.phase for each in processes}) == 1

    def _dead(self, commit: Commit) -> set[int]:
        """Return who has a place and no process any more: left while activated."""
        running = {process.node.identity.node_key for process in self.world.running}
        return {each.index for each in commit.roster.members if each.node_key not in running}
