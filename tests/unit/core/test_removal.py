# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gate for deletions: what each permit is about, and that no other way leads past it."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from snowsync.core import keys
from snowsync.core.layout import generation_of, object_of, quarantine_name
from snowsync.core.model import State
from snowsync.core.removal import (
    AtDestination,
    LiesElsewhere,
    NeverStaged,
    NotEntitled,
    OperatorsWord,
    OtherName,
    Permit,
    Place,
    Replaced,
    SameGeneration,
    insist,
    move,
    prune,
    remove,
)

ENGINE = Path(__file__).resolve().parents[3] / "plugins/module_utils/_engine"
KEY = "photos/a b.jpg"
STAGED_2 = keys.to_path(KEY, 2)

# What each permit is about, and nothing else: of all names below in all places, only those given here.
NAMES = {
    Place.INCOMING: ["7", "evacuate-7", "7.abc"],
    Place.STAGED: [keys.to_path(key, generation) for key in (KEY, "photos/a", "b") for generation in (1, 2, 3)],
    Place.QUARANTINE: ["7", "7~1", "7~2", "7~2.1", "7~3", "8", "8~1", "8~2", "other"],
    Place.OUTGOING: ["7", "7.delivered", "8", "8.delivered", "77.delivered"],
    Place.DROP: ["7.delivered"],
}
COVERED: list[tuple[str, Permit, set[tuple[Place, str]]]] = [
    (
        "proven there",
        AtDestination(7, KEY, 2, 1, "etag"),
        {
            (Place.STAGED, STAGED_2),
            *((Place.QUARANTINE, name) for name in ("7", "7~1", "7~2", "7~2.1")),
            *((Place.OUTGOING, name) for name in ("7", "7.delivered")),
            (Place.DROP, "7.delivered"),
        },
    ),
    *(
        (
            f"replaced by one that is {state.label}",
            Replaced(7, KEY, 2, 3, state),
            {(Place.STAGED, STAGED_2), *((Place.QUARANTINE, name) for name in ("7", "7~1", "7~2", "7~2.1"))},
        )
        for state in (State.STAGED, State.DELIVERED, State.RELEASED)
    ),
    *(
        (f"replaced by one that is {state.label}", Replaced(7, KEY, 2, 3, state), set())
        for state in (State.PENDING, State.QUARANTINED, State.FAILED)
    ),
    ("replaced by itself", Replaced(7, KEY, 2, 2, State.DELIVERED), set()),
    ("replaced by an older one", Replaced(7, KEY, 2, 1, State.DELIVERED), set()),
    ("on another volume", LiesElsewhere(KEY, 2, here=1, volume=2), {(Place.STAGED, STAGED_2)}),
    ("on the same volume", LiesElsewhere(KEY, 2, here=1, volume=1), set()),
    (
        "never staged",
        NeverStaged("a partial file"),
        {
            *((Place.INCOMING, name) for name in NAMES[Place.INCOMING]),
            *((Place.QUARANTINE, name) for name in ("7", "8")),
            *((Place.OUTGOING, name) for name in ("7", "8")),
        },
    ),
    (
        "an operator's word",
        OperatorsWord("reset", "photos"),
        {
            *((place, name) for place in (Place.INCOMING, Place.STAGED, Place.QUARANTINE) for name in NAMES[place]),
            *((Place.OUTGOING, name) for name in ("7", "8")),
        },
    ),
    ("the same once more", SameGeneration(STAGED_2), {(Place.STAGED, STAGED_2)}),
    ("the name that it has among people", OtherName("7.delivered"), {(Place.DROP, "7.delivered")}),
    ("a word that nobody said", OperatorsWord("reset", ""), set()),
]


@pytest.mark.parametrize(("permit", "covered"), [case[1:] for case in COVERED], ids=[case[0] for case in COVERED])
def test_a_permit_covers_what_it_is_about_and_nothing_else(permit: Permit, covered: set[tuple[Place, str]]) -> None:
    every = {(place, name) for place, names in NAMES.items() for name in names}
    assert {each for each in every if permit.covers(*each)} == covered


def test_every_kind_of_permit_is_tested() -> None:
    assert {type(case[1]).__name__ for case in COVERED} >= permit_names()


@pytest.mark.parametrize("key", ["a", "a~2", "a/b", "%", "//", "7", "é", "x" * 1024])
def test_names_of_staged_files_do_not_run_into_each_other(key: str) -> None:
    permit = AtDestination(1, key, 2, 1, "etag")
    assert permit.covers(Place.STAGED, keys.to_path(key, 2))
    for other in (f"{key}~2", f"{key}/", f"{key}0", key.upper() + "/x"):
        assert not permit.covers(Place.STAGED, keys.to_path(other, 2))
    assert not permit.covers(Place.STAGED, keys.to_path(key, 22))


@pytest.mark.parametrize(("generation", "number"), [(1, 0), (12, 3)])
def test_a_name_in_the_quarantine_says_which_copy_it_is(generation: int, number: int) -> None:
    name = quarantine_name(7, generation, number)
    assert (object_of(name), generation_of(name)) == (7, generation)
    assert not NeverStaged("any reason").covers(Place.QUARANTINE, name), "it was staged once: it may be the last copy"


@pytest.mark.parametrize("name", ["", "~1", "7~", "7~1.", "7~1.2.3", "a", "7 ", "-7", "7~a"])
def test_what_is_no_name_of_the_quarantine_is_nobodys(name: str) -> None:
    assert object_of(name) is None
    assert not NeverStaged("any reason").covers(Place.QUARANTINE, name)
    assert not AtDestination(7, KEY, 9, 1, "etag").covers(Place.QUARANTINE, name)


# -- effects ----------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


def test_a_file_is_removed_with_a_permit_and_stays_without(tmp_path: Path, folder: int) -> None:
    path = tmp_path / "a~1"
    path.write_text("bytes")
    with pytest.raises(NotEntitled, match=r"'a~1' \(staged\)"):
        remove(Place.STAGED, folder, "a~1", AtDestination(1, "a", 2, 1, "etag"))
    with pytest.raises(NotEntitled):
        insist(Place.STAGED, "a~1", NeverStaged("a mistake"))
    assert path.read_text() == "bytes"
    for _ in range(2):  # what is gone already is no error
        remove(Place.STAGED, folder, "a~1", AtDestination(1, "a", 1, 1, "etag"))
        assert not path.exists()


def test_a_move_replaces_nothing_without_a_permit(tmp_path: Path, folder: int) -> None:
    (tmp_path / "new").write_text("new")
    (tmp_path / "7").write_text("old")
    with pytest.raises(FileExistsError):
        move(folder, "new", folder, "7", place=Place.QUARANTINE)
    with pytest.raises(NotEntitled):
        move(folder, "new", folder, "7", place=Place.STAGED, over=NeverStaged("a mistake"))
    assert (tmp_path / "7").read_text() == "old"
    move(folder, "new", folder, "7", place=Place.QUARANTINE, over=NeverStaged("an earlier fetch"))
    assert (tmp_path / "7").read_text() == "new"


def test_a_move_to_a_free_name_needs_no_permit(tmp_path: Path, folder: int) -> None:
    (tmp_path / "7").write_text("bytes")
    move(folder, "7", folder, "a~1", place=Place.STAGED)
    assert (tmp_path / "a~1").read_text() == "bytes"


def test_only_empty_folders_are_pruned(tmp_path: Path, folder: int) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/a").write_text("bytes")
    (tmp_path / "empty").mkdir()
    for name in ("full", "empty", "missing"):
        prune(folder, name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full"]


# -- no other way -----------------------------------------------------------------------------------------------

# Files that are removed, renamed or cut to nothing elsewhere than in core/removal.py: where, how, why that is allowed.
# None of them is a staged, kept or quarantined file. By file and function, so that an entry moves with its function.
ALLOWED: dict[str, tuple[set[str], str]] = {
    "volumes/outgoing_files.py _put_into": ({"os.rename"}, "a dropped file gets its name back, without hard links"),
    "volumes/claims.py write_record": ({"O_TRUNC", "os.rename"}, "the record of whose files these are, written whole"),
    "volumes/claims.py Claim.make": ({"os.unlink"}, "the record, where the volume is full: it is written again"),
    "volumes/dropped_files.py DroppedFiles._moved_aside": ({"os.rename"}, "a dropped file, out of people's reach"),
    "upkeep/evacuated_copies.py pour": ({"open for writing"}, "a copy, made anew in `incoming` (O_EXCL)"),
    "ledger/files.py put_aside": ({"os.rename"}, "the ledger's own files, on the system disk"),
    "inspection/listing_order.py SortedSpool.__init__": ({"os.unlink", "tempfile.mkstemp"}, "on the system disk"),
    "ledger/locks.py locked": ({"os.ftruncate"}, "a lock file, on the system disk"),
    "volumes/filesystem_check.py _remove": ({"os.unlink"}, "a file that tested what the filesystem supports"),
    "volumes/marker.py _made": ({".rmdir"}, "the folder for a marker that was not written, where it is empty"),
    "volumes/marker.py _put": ({"O_TRUNC", "os.rename", "os.unlink"}, "the marker, written whole beside its name"),
    "movers/native/incoming_file.py Target.open": ({"os.unlink"}, "a mover's target in `incoming`, left of an attempt"),
    "movers/native/incoming_file.py Target.open_partial": ({"os.ftruncate"}, "the same, to the size of the object"),
    "inspection/report.py _write_atomically": (
        {"open for writing", "os.rename", "os.unlink", "tempfile.mkstemp"}, "a report"
    ),
    "upkeep/resending.py _Findings.__init__": ({"tempfile.TemporaryFile"}, "a list on the system disk"),
    "upkeep/resending.py _Findings.restart": ({".truncate"}, "the same"),
    "store/boto_client.py Control._fetch": ({"O_TRUNC"}, "a mover's target in `incoming`"),
    "inspection/verify_result.py CombinedFile.__init__": ({"tempfile.NamedTemporaryFile"}, "a file of results"),
    "inspection/report.py save": ({".unlink"}, "reports of long ago, beside the new one"),
    "inspection/verify_result.py CombinedFile.__exit__": ({".unlink"}, "a file of results"),
    "inspection/verify_result.py CombinedFile.restart": ({".truncate"}, "a file of results"),
    "inspection/verify_result.py CombinedFile.finish": (
        {"open for writing", "os.replace", "shutil.copyfileobj"}, "the same"
    ),
    "store/curl.py Transfer.begin": ({".truncate"}, "a body in memory"),
}  # fmt: skip
# Who makes permits: where it is known what they say.
MAKERS: dict[str, set[str]] = {
    "hops/adoption.py _sweep": {"AtDestination"},
    "volumes/outgoing_files.py _put_into": {"OtherName"},
    "volumes/outgoing_files.py permit_of": {"AtDestination"},
    "volumes/clearing.py clear_given_up": {"OperatorsWord"},
    "hops/destination/proving/commits.py ProvenFiles._with_permit": {"AtDestination"},
    "upkeep/disowning.py give_up": {"OperatorsWord"},
    "volumes/dropped_files.py DroppedFiles._link": {"NeverStaged"},
    "volumes/dropped_files.py DroppedFiles.let_go": {"NeverStaged"},
    "upkeep/evacuation.py EvacuatedVolume.release": {"AtDestination"},
    "ledger/copies.py entitlement": {"AtDestination", "LiesElsewhere", "Replaced"},
    "ledger/copies.py CopyLedger.needless_in_quarantine": {"AtDestination"},
    "upkeep/resetting.py reset": {"OperatorsWord"},
    "volumes/medium.py ": {"NeverStaged"},
    "volumes/open_volume.py ": {"NeverStaged"},
    "volumes/open_volume.py OpenVolume.publish": {"SameGeneration"},
}

REMOVING = {
    "unlink", "unlinkat", "remove", "removedirs", "rename", "renameat", "renameat2", "renames", "replace", "rmdir",
    "truncate", "ftruncate",
}  # fmt: skip
# Methods of paths and streams. Lists have `remove` and texts `replace`: those are looked at in `action_of`.
METHODS = REMOVING - {"remove", "replace"} | {"write_text", "write_bytes"}


def functions(tree: ast.AST, name: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Every node with the name of the function that it is in, such as `Class.method`; "" outside of functions."""
    for node in ast.iter_child_nodes(tree):
        inner = name
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            inner = f"{name}.{node.name}" if name else node.name
        yield inner, node
        yield from functions(node, inner)


def action_of(node: ast.AST) -> str:
    """How a node removes, replaces or empties a file, '' if it does not."""
    if isinstance(node, ast.ImportFrom) and node.module in ("os", "shutil", "tempfile", "posix"):
        return next(
            (f"import of {each.name}" for each in node.names if node.module != "os" or each.name in REMOVING | {"*"}),
            "",
        )
    if isinstance(node, ast.Import):
        return next(
            (
                f"import of {each.name}"
                for each in node.names
                if each.name == "posix" or (each.name == "os" and each.asname)
            ),
            "",
        )
    if isinstance(node, ast.Attribute):
        return _attribute(node)
    return _call(node) if isinstance(node, ast.Call) else ""


def _attribute(node: ast.Attribute) -> str:
    owner = ast.unparse(node.value)
    if owner == "os" and node.attr in REMOVING:
        return f"os.{node.attr}"
    if owner in ("shutil", "tempfile"):
        return f"{owner}.{node.attr}"
    if node.attr == "O_TRUNC":
        return node.attr
    return f".{node.attr}" if node.attr in METHODS else ""


def _call(node: ast.Call) -> str:
    called = ast.unparse(node.func)
    if called == "getattr" and node.args and ast.unparse(node.args[0]) in ("os", "shutil"):
        return "getattr"
    if isinstance(node.func, ast.Attribute) and node.func.attr == "replace" and called != "os.replace":
        # A path's takes one value, a text's two; a moment's only names.
        return ".replace" if len(node.args) == 1 and not node.keywords else ""
    if called in ("open", "io.open") or (
        isinstance(node.func, ast.Attribute) and node.func.attr == "open" and called != "os.open"
    ):
        return "open for writing" if _empties(node, 1 if called in ("open", "io.open") else 0) else ""
    return ""


def _empties(node: ast.Call, place: int) -> bool:
    given = [each.value for each in node.keywords if each.arg == "mode"] or node.args[place : place + 1]
    return any(not isinstance(mode, ast.Constant) or "w" in str(mode.value) for mode in given if not _is_no_mode(mode))


def _is_no_mode(node: ast.expr) -> bool:
    """Whether the first value of some other `open` is no mode: `LedgerReader.open(path)`."""
    return isinstance(node, (ast.Attribute, ast.Call))


def found_in(source: str, file_name: str) -> dict[str, set[str]]:
    """`file function` -> how files are removed, replaced or emptied there."""
    found: dict[str, set[str]] = {}
    for function, node in functions(ast.parse(source)):
        if action := action_of(node):
            found.setdefault(f"{file_name} {function}", set()).add(action)
    return found


def permit_names() -> set[str]:
    return {name.strip() for name in str(Permit).strip("()").split("|")}


def makers_in(source: str, file_name: str) -> dict[str, set[str]]:
    """`file function` -> the permits that are made there."""
    found: dict[str, set[str]] = {}
    for function, node in functions(ast.parse(source)):
        name = ast.unparse(node.func).removeprefix("removal.") if isinstance(node, ast.Call) else ""
        if name in permit_names():
            found.setdefault(f"{file_name} {function}", set()).add(name)
    return found


def sources() -> list[tuple[str, str]]:
    """(text, path below the engine) of every file but the gate itself."""
    files = {path.relative_to(ENGINE).as_posix(): path for path in sorted(ENGINE.rglob("*.py"))}
    return [(path.read_text(), name) for name, path in files.items() if name != "core/removal.py"]


def differences(found: dict[str, set[str]], allowed: dict[str, set[str]]) -> list[str]:
    """One line for each place where more, or less, happens than is allowed."""
    places = sorted(found.keys() | allowed.keys())
    pairs = [(place, found.get(place, set()), allowed.get(place, set())) for place in places]
    news = [f"not allowed: {place}: {', '.join(sorted(more - known))}" for place, more, known in pairs if more - known]
    olds = [f"not needed: {place}: {', '.join(sorted(known - more))}" for place, more, known in pairs if known - more]
    return news + olds


def test_nothing_is_removed_past_the_gate() -> None:
    """What is new goes through core/removal.py, or is not on a volume: then it gets an entry with its reason."""
    found = {place: actions for source in sources() for place, actions in found_in(*source).items()}
    assert differences(found, {place: actions for place, (actions, _reason) in ALLOWED.items()}) == []
    assert all(reason for _actions, reason in ALLOWED.values())


def test_permits_are_made_only_where_it_is_known_what_they_say() -> None:
    found = {place: names for source in sources() for place, names in makers_in(*source).items()}
    assert differences(found, MAKERS) == []


def test_a_removal_that_is_new_and_an_entry_that_is_not_needed_are_told() -> None:
    found = found_in("import os\ndef sweep():\n    os.unlink('a')\n    os.rename('a', 'b')\n", "any.py")
    assert differences(found, {"any.py sweep": {"os.rename"}}) == ["not allowed: any.py sweep: os.unlink"]
    assert differences({}, {"any.py sweep": {"os.rename"}}) == ["not needed: any.py sweep: os.rename"]


@pytest.mark.parametrize(
    ("line", "action"),
    [
        ("os.unlink(path)", "os.unlink"),
        ("os.remove(path)", "os.remove"),
        ("os.rename(path, other)", "os.rename"),
        ("os.replace(path, other)", "os.replace"),
        ("os.rmdir(path)", "os.rmdir"),
        ("os.truncate(path, 0)", "os.truncate"),
        ("os.ftruncate(3, 0)", "os.ftruncate"),
        ("list(map(os.unlink, paths))", "os.unlink"),
        ("os.open(path, os.O_WRONLY | os.O_TRUNC)", "O_TRUNC"),
        ("from os import O_TRUNC, unlink", "import of unlink"),
        ("from os import *", "import of *"),
        ("import os as system", "import of os"),
        ("import posix", "import of posix"),
        ("getattr(os, name)(path)", "getattr"),
        ("shutil.rmtree(path)", "shutil.rmtree"),
        ("from shutil import rmtree", "import of rmtree"),
        ("tempfile.mkstemp()", "tempfile.mkstemp"),
        ("Path(path).unlink()", ".unlink"),
        ("path.rename(other)", ".rename"),
        ("path.replace(other)", ".replace"),
        ("path.rmdir()", ".rmdir"),
        ("path.write_text('')", ".write_text"),
        ("path.write_bytes(b'')", ".write_bytes"),
        ("stream.truncate()", ".truncate"),
        ("_libc.renameat2(1, b'a', 2, b'b', 0)", ".renameat2"),
        ("open(path, 'w')", "open for writing"),
        ("open(path, mode='w+b')", "open for writing"),
        ("open(path, mode)", "open for writing"),
        ("path.open('wb')", "open for writing"),
        ("path.open(mode='w')", "open for writing"),
    ],
)
def test_a_new_way_to_remove_a_file_is_found(line: str, action: str) -> None:
    source = f"class Thing:\n    def method(self):\n        def inner():\n            {line}\n"
    if "*" in line:  # no such import within a function
        assert found_in(line, "any.py") == {"any.py ": {action}}
    else:
        assert found_in(source, "any.py") == {"any.py Thing.method.inner": {action}}


@pytest.mark.parametrize(
    "line",
    [
        "text.replace('a', 'b')",
        "replace(row, volume=1)",
        "moment.replace(tzinfo=None)",
        "items.remove(item)",
        "remove(Place.STAGED, folder, name, permit)",
        "os.open(path, os.O_RDONLY)",
        "open(path)",
        "open(path, 'rb')",
        "open(path, 'a')",
        "path.open()",
        "path.open('rb')",
        "LedgerReader.open(job.ledger_path)",
        "os.link(path, other)",
        "from os import path",
    ],
)
def test_what_removes_nothing_is_not_found(line: str) -> None:
    assert found_in(line, "any.py") == {}


def test_a_permit_that_is_made_elsewhere_is_found() -> None:
    source = "def f():\n    volume.discard_staged(name, AtDestination(1, 'k', 1, 1, ''))\n"
    assert makers_in(source, "any.py") == {"any.py f": {"AtDestination"}}
    assert makers_in(source.replace("AtDestination", "removal.OperatorsWord"), "any.py") == {
        "any.py f": {"OperatorsWord"}
    }
    assert makers_in("def f() -> AtDestination: ...", "any.py") == {}
