from hypothesis import given
from hypothesis import strategies as st

from peer.comparison.texts import Texts

PATHS = ["a", "a/b", "a/b/été", "ab", "abc/ab", "x\udcff", "zz"]
words = st.text(alphabet="ab/é\udcff\0", max_size=3)


def found(wanted: str, *, whole: bool = True) -> list[str]:
    flags = Texts(PATHS).containing(wanted, whole=whole)
    return [path for path, flag in zip(PATHS, flags, strict=True) if flag]


def test_a_text_is_found_in_paths_or_names_alone() -> None:
    """A path is found once however often it holds the text; bytes that are no text, too."""
    assert found("b") == ["a/b", "a/b/été", "ab", "abc/ab"]
    assert found("b", whole=False) == ["a/b", "ab", "abc/ab"]
    assert found("a/", whole=False) == []
    assert found("\udcff") == ["x\udcff"]
    assert found("") == PATHS
    assert found("a\0a") == []


@given(st.lists(words.filter(lambda path: "\0" not in path)), words)
def test_searching_is_looking_at_each(paths: list[str], wanted: str) -> None:
    """All at once finds what one by one finds, in paths and in names."""
    texts = Texts(paths)
    names = [path.rpartition("/")[2] for path in paths]

    assert len(texts) == len(paths)
    assert list(texts.containing(wanted, whole=True)) == [wanted in path for path in paths]
    assert list(texts.containing(wanted, whole=False)) == [wanted in name for name in names]
    assert list(texts.matching(str.isalpha, whole=True)) == list(map(str.isalpha, paths))
    assert list(texts.matching(str.isalpha, whole=False)) == list(map(str.isalpha, names))
