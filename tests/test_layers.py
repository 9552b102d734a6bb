"""One direction of imports, none of them hidden, and no file that is long."""

import ast
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / 'luminet_mm'

# A room imports from the floors below its own; on one floor in one direction.
# docs/design.md has the reasons.
FLOORS = (
    ('files', 'later', 'operators', 'version'),
    ('registry', 'rng', 'distributed', 'streams', 'config_types', 'student'),
    ('stock', 'loading'),
    ('connectors',),
    ('models', 'datasets'),
    ('losses',),
    ('methods', 'signals', 'teachers'),
    ('distillers',),
    ('runs',),
    ('preflight', 'hooks', 'optim'),
    ('launch', 'timing', 'analysis', 'export'),
    ('report',),
    ('recipe',),
    ('__main__',),
)
# Serves mmcv.ops before anything else is imported; knows nothing of the rest.
APART = 'ops'
LINES = 300


def modules():
    """Each module of the package with its file."""
    found = {}
    for path in sorted(PACKAGE.rglob('*.py')):
        parts = path.relative_to(ROOT).with_suffix('').parts
        if parts[-1] == '__init__':
            parts = parts[:-1]
        found['.'.join(parts)] = path
    return found


def imports(path, known):
    """Modules of the package that a file imports, and whether at its top."""
    tree = ast.parse(path.read_text(encoding='utf-8'))
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f'{path}:{node.lineno}: a relative import'
            for alias in node.names:
                inner = f'{node.module}.{alias.name}'
                names.append(inner if inner in known else node.module)
        elif isinstance(node, ast.Call):
            names = later_imports(node)
        for name in names:
            if name.partition('.')[0] == 'luminet_mm':
                assert name in known, f'{path}:{node.lineno}: {name}'
                yield name, node in tree.body or is_later(node, tree)


def later_imports(call):
    """Modules that ``Later`` and ``later_names`` import when they are used."""
    if getattr(call.func, 'id', '') not in ('Later', 'later_names'):
        return []
    given = [*call.args, *(each.value for each in call.keywords)]
    return [each.value for each in given if isinstance(each, ast.Constant)]


def is_later(node, tree):
    """Whether it is a call at the top of a file: ``name = Later(...)``."""
    return isinstance(node, ast.Call) and any(
        getattr(line, 'value', None) is node for line in tree.body
    )


def room(module):
    """The part of a name that says where it belongs."""
    return module.split('.')[1] if '.' in module else ''


def circles(edges):
    """What can be reached from itself, each with one way round."""
    for start in sorted(edges):
        before, queue = {}, [start]
        while queue:
            here = queue.pop()
            for there in edges.get(here, ()):
                if there == start:
                    way = [start]
                    while here != start:
                        way.insert(1, here)
                        here = before[here]
                    yield [*way, start]
                    queue = []
                    break
                if there not in before:
                    before[there] = here
                    queue.append(there)


@pytest.fixture(scope='module')
def found():
    """All imports: from, to, and whether at the top of the file."""
    known = modules()
    return [
        (module, name, at_top)
        for module, path in known.items()
        for name, at_top in imports(path, known)
    ]


def test_every_room_has_its_floor():
    rooms = {room(module) for module in modules()} - {'', APART}
    assert rooms == {name for floor in FLOORS for name in floor}


def test_what_is_imported_later_counts():
    code = "a = Later('luminet_mm.ops')\ndef f(): Later('luminet_mm.runs')"
    tree = ast.parse(code)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert [later_imports(call) for call in calls] == [
        ['luminet_mm.ops'],
        ['luminet_mm.runs'],
    ]
    assert [is_later(call, tree) for call in calls] == [True, False]


def test_nothing_is_imported_from_a_floor_above(found):
    floor = {name: i for i, names in enumerate(FLOORS) for name in names}
    upward = [
        f'{module} imports {name}'
        for module, name, _ in found
        if room(module) in floor
        and room(name) != APART
        and floor.get(room(name), len(FLOORS)) > floor[room(module)]
    ]
    assert not upward, '\n'.join(upward)


def test_ops_stand_apart(found):
    others = [
        f'{module} imports {name}'
        for module, name, _ in found
        if (room(module) == APART) != (room(name) == APART)
        and module != 'luminet_mm.operators'
    ]
    assert not others, '\n'.join(others)


def test_no_module_and_no_room_imports_itself_in_a_circle(found):
    between, within = defaultdict(set), defaultdict(set)
    for module, name, _ in found:
        within[module].add(name)
        if room(module) != room(name):
            between[room(module)].add(room(name))
    ways = [' -> '.join(way) for way in [*circles(within), *circles(between)]]
    assert not ways, '\n'.join(ways)


def test_no_import_is_hidden(found):
    """In a function, or under TYPE_CHECKING: both hide a direction."""
    hidden = [
        f'{module} imports {name}'
        for module, name, at_top in found
        if not at_top
    ]
    assert not hidden, '\n'.join(hidden)


def test_no_file_is_long():
    long = [
        path.relative_to(ROOT).as_posix()
        for folder in (PACKAGE, ROOT / 'tools')
        for path in folder.rglob('*.py')
        if len(path.read_text(encoding='utf-8').splitlines()) > LINES
    ]
    assert not long, '\n'.join(sorted(long))


@pytest.mark.parametrize(
    ('edges', 'ways'),
    [
        ({'a': ['b'], 'b': ['c'], 'c': []}, []),
        ({'a': ['b', 'c'], 'b': ['c'], 'c': ['b']}, ['b c b', 'c b c']),
        ({'a': ['a']}, ['a a']),
    ],
)
def test_a_circle_is_found(edges, ways):
    assert [' '.join(way) for way in circles(edges)] == ways
