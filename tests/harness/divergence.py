"""Trees that were once equal: one base, changed on each member. For properties of plans.

Independent trees would share no path and exercise no comparison.
"""

from collections.abc import Mapping
from dataclasses import replace

from hypothesis import strategies as st

from protocol.messages.inventory import Kind, SkipReason
from tests.harness.inventories import DIRECTORY, Thing, Tree, file, link

NAMES = ("a", "b", "c", "B", "d")
paths = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join)
files = st.builds(
    file,
    st.sampled_from(["", "x", "y", "long", "wide"]),
    at=st.sampled_from([1, 2, 3.5, 9]),
    mode=st.sampled_from([0o600, 0o644]),
)
things = st.one_of(files, files, files, st.just(DIRECTORY), st.sampled_from([link("t"), link("u")]))
skips = st.sampled_from([SkipReason.HIDDEN, SkipReason.INACCESSIBLE, SkipReason.LINK])


@st.composite
def diverged(draw: st.DrawFn, *, most: int = 5, skipping: bool = True) -> list[Tree]:
    """One tree for each of two to *most* members."""
    base = draw(st.dictionaries(paths, things, max_size=8))
    changes = st.dictionaries(
        paths, st.one_of(st.none(), things, skips if skipping else st.none()), max_size=5
    )
    members = draw(st.integers(2, most))
    return [consistent({**base, **draw(changes)}) for _ in range(members)]


def consistent(tree: Mapping[str, Thing | SkipReason | None]) -> Tree:
    """The tree without what cannot be: nothing stands below a file, a link or a skip."""
    kept: dict[str, Thing | SkipReason] = {"": DIRECTORY}
    for path in sorted(tree, key=lambda text: text.split("/")):
        thing = tree[path]
        parts = path.split("/")
        above = ["/".join(parts[:depth]) for depth in range(1, len(parts))]
        blocked = any(parent in kept and kept[parent] != DIRECTORY for parent in above) or any(
            tree.get(parent, DIRECTORY) is None for parent in above
        )
        if thing is not None and not blocked:
            kept.update((parent, DIRECTORY) for parent in above)
            kept[path] = thing
    return kept


def without_dates(tree: Tree) -> dict[str, object]:
    """The tree with directories' and links' dates left out: they are not compared."""
    return {
        path: replace(thing, mtime_ns=0)
        if isinstance(thing, Thing) and thing.kind is not Kind.FILE
        else thing
        for path, thing in tree.items()
    }
