from peer.store.errors import StateExposed, StateUnusable


def test_a_state_error_names_the_file_by_its_own_name() -> None:
    """The text of both languages needs no more than that."""
    error = StateExposed("identity.key")

    assert error.params == {"what": "identity.key"}
    assert str(error) == "state.exposed: identity.key"
    assert StateUnusable.code == "state.unusable"
