from peer.session.letters import follow, have_moved, moves

ANNA, BERT, CLARA = b"a", b"b", b"c"


def test_letters_move_up_when_somebody_goes() -> None:
    """Rules follow people: what was C is B now."""
    moved = moves([ANNA, BERT, CLARA], [ANNA, CLARA])

    assert moved == {"A": "A", "B": None, "C": "B"}
    assert follow("C2", moved) == "B2"
    assert follow("A", moved) == "A"
    assert follow("B1", moved) is None


def test_what_is_no_code_stays() -> None:
    """Nor is a letter that nobody had."""
    moved = moves([ANNA], [ANNA])

    assert [follow(code, moved) for code in ("B1", "A0", "a", "A1\n", "")] == [
        "B1",
        "A0",
        "a",
        "A1\n",
        "",
    ]


def test_who_comes_last_moves_nobody() -> None:
    """Only going does, and coming back elsewhere."""
    assert not have_moved([ANNA, BERT], [ANNA, BERT, CLARA])
    assert have_moved([ANNA, BERT], [BERT])
    assert have_moved([ANNA, BERT], [BERT, ANNA])
