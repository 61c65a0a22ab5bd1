"""The hash that tells one build from another."""

import pytest

from actors import build


@pytest.fixture
def tree(tmp_path):
    for room in build.ROOMS:
        (tmp_path / room).mkdir()
    (tmp_path / "engine" / "market.py").write_text("one = 1\n")
    (tmp_path / "storage" / "take.sql").write_text("SELECT 1")
    return tmp_path


def test_build_is_the_same_for_the_same_sources_elsewhere(tree, tmp_path_factory):
    import shutil

    other = tmp_path_factory.mktemp("other") / "there"
    shutil.copytree(tree, other)
    (other / "engine" / "market.pyc").write_bytes(b"compiled")
    (other / "README.md").write_text("words")
    assert build.build(other) == build.build(tree)


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "engine" / "market.py").write_text("one = 2\n"),
        lambda root: (root / "storage" / "take.sql").write_text("SELECT 2"),
        lambda root: (root / "engine" / "market.py").rename(root / "engine" / "group.py"),
        lambda root: (root / "gateway" / "more.py").write_text(""),
    ],
)
def test_build_differs_when_a_source_does(tree, change):
    before = build.build(tree)
    change(tree)
    build.build.cache_clear()
    assert build.build(tree) != before


def test_build_of_this_tree_is_hex():
    assert len(bytes.fromhex(build.build())) * 2 == build.DIGITS
