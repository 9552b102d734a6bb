"""The helper that runs code in a new process."""

import os
import sys

import fresh


def test_exit_codes_and_what_is_printed():
    found = fresh.run(['-c', 'import sys; print(sys.argv[1:])', 'a', 'b'])
    assert (found.returncode, found.stdout) == (0, "['a', 'b']\n")
    for code, number, said in (
        ('raise SystemExit(3)', 3, ''),
        ('raise SystemExit("why")', 1, 'why\n'),
        ('raise SystemExit', 0, ''),
    ):
        found = fresh.run(['-c', code])
        assert (found.returncode, found.stderr) == (number, said)
    found = fresh.run(['-c', 'import sys; print(1 / 0)'])
    assert found.returncode == 1
    assert found.stderr.endswith('ZeroDivisionError: division by zero\n')


def test_no_process_sees_what_another_imported(tmp_path):
    (tmp_path / 'luminet_mm.py').write_text('print("here")')
    for _ in range(2):
        found = fresh.run(['-m', 'luminet_mm'], tmp_path, path=[])
        assert (found.returncode, found.stdout) == (0, 'here\n')
        found = fresh.run(
            [
                '-c',
                'import sys; old = set(sys.modules); import luminet_mm\n'
                f'print(sorted(old & {set(fresh.LATER)}))\n'
                'print(luminet_mm.__file__)',
            ]
        )
        assert found.stdout.splitlines() == [
            '[]',
            str(fresh.ROOT / 'luminet_mm/__init__.py'),
        ]


def test_folder_and_variables_are_those_of_the_call(tmp_path, monkeypatch):
    monkeypatch.setenv('LUMINET_TEST', 'set')
    code = 'import os, sys; print(os.getcwd(), os.environ["LUMINET_TEST"])'
    found = fresh.run(['-c', code], tmp_path)
    assert found.stdout == f'{os.path.realpath(tmp_path)} set\n'
    assert 'torch' in sys.modules  # as here, so there: what is preloaded
