"""docs/performance.md on a processor with AMX, against the raw figures."""

from result_page import SPEED, load, rows

HEADING = 'On a processor with AMX'
COLUMNS = [
    f'benchmark_{pair}_amx{compiled}'
    for pair in ('resnet32x4_resnet8x4', 'frcnn_r101_r18')
    for compiled in ('', '_compiled')
]


def said(entry):
    return f'{entry["median"]:.3f} ({entry["low"]:.3f} to {entry["high"]:.3f})'


def test_ratios_of_a_teacher_in_bf16():
    results = [load(name) for name in COLUMNS]
    for result in results:
        assert result['machine']['name'].endswith('AVX512-BF16, AMX')
        assert result['machine']['threads'] == 2
    (_, *table) = rows(HEADING, SPEED, width=5)
    assert len(table) == 5
    for name, *cells in table:
        assert cells == [
            said(result['ratios'][name]) if name in result['ratios'] else '—'
            for result in results
        ]


def medians(name):
    ratios = [load(column)['ratios'] for column in COLUMNS]
    return [each[name]['median'] for each in ratios if name in each]


def test_which_targets_are_met():
    both = medians('distillation step / (student step + teacher)')
    assert len(both) == 4 and max(both) <= 1.02
    assert max(medians('distillation step / student step')[2:]) <= 1.15
    teachers = medians('teacher / plain teacher')
    assert 0.16 < teachers[1] < teachers[0] < 0.22
    assert 0.28 < teachers[3] < teachers[2]
    plain, compiled = medians("teacher's features / plain teacher's features")
    assert compiled <= 0.20 < plain


def test_amp_on_a_cpu():
    result = load('layouts_resnet18_amx')
    assert result['processor'].endswith('AMX') and result['threads'] == 1
    (_, *table) = rows(HEADING, SPEED, width=4)
    found = [
        [
            *name.replace('_', '-').split(', '),
            f'{entry["median"]:.3f}',
            f'{entry["low"]:.3f} to {entry["high"]:.3f}',
        ]
        for name, entry in result['bf16 / float32'].items()
    ]
    assert table == found and len(found) == 4
    assert max(e['median'] for e in result['bf16 / float32'].values()) < 0.65
