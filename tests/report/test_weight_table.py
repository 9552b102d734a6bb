"""Two weights of each method come into one table."""

import json

import pytest

from luminet_mm.report import weight_table


def group(last, loss=None):
    options = {'train_cfg.max_epochs': 10}
    if loss:
        options['model.distill.loss_x.type'] = f'luminet_mm.{loss}'
    mean = sum(last) / len(last)
    entry = dict(last=last, best=last, mean=mean, std=0.5)
    return {'options': options, 'accuracy/top1': entry}


SUMMARY = dict(
    student=group([50.0, 51.0, 52.0, 53.0, 54.0]),
    kd=group([60.0, 61.0, 62.0, 63.0, 64.0], 'KDLoss'),
    dist=group([40.0, 61.0, 62.0], 'DISTLoss'),
    dist_published=group([30.0], 'DISTLoss'),
)


def test_best_first_with_both_weights():
    rows = weight_table.join(SUMMARY)
    assert [row['group'] for row in rows] == ['kd', 'dist', 'student']
    assert [row['published'] for row in rows] == [[], [30.0], []]
    assert weight_table.markdown(rows, 'top-1').splitlines() == [
        "| | top-1, `'auto'` | by seed | published weight | by seed |",
        '|---|---|---|---|---|',
        '| KD | 62.0 ± 1.6 | 60.0, 61.0, 62.0, 63.0, 64.0 | — | — |',
        '| DIST | 54.3 ± 12.4 | 40.0, 61.0, 62.0 | 30.0 | 30.0 |',
        '| **student alone** | 52.0 ± 1.6 | 50.0, 51.0, 52.0, 53.0, 54.0 '
        '| — | — |',
    ]


def test_differences_are_exact_permutation_tests():
    rows = weight_table.join(SUMMARY)
    head, _, kd, dist = weight_table.differences(
        rows, ['kd', 'dist']
    ).splitlines()
    assert head == '| | over student alone | KD | DIST |'
    # apart: 2 of the 252 ways to deal ten runs out
    assert kd.startswith('| KD | +10.0 (p = 0.008) | — | +7.7 (p = ')
    assert '−7.7' in dist and dist.endswith('| — |')


def test_a_weight_without_its_partner_is_refused():
    with pytest.raises(ValueError, match='`dist_published` is in the summary'):
        weight_table.join({k: v for k, v in SUMMARY.items() if k != 'dist'})


def test_the_published_weights_of_another_sweep():
    """With the student beside which they ran."""
    ours = {k: v for k, v in SUMMARY.items() if k != 'dist_published'}
    other = dict(
        student=group([49.0, 48.0]),
        dist=group([30.0], 'DISTLoss'),
        at=group([20.0], 'ATLoss'),
    )
    rows = weight_table.join(ours, published=other)
    assert [row['group'] for row in rows] == ['kd', 'dist', 'student']
    assert [row['published'] for row in rows] == [[], [30.0], [49.0, 48.0]]


def test_the_command_prints_both(tmp_path, capsys):
    path = tmp_path / 'summary.json'
    path.write_text(json.dumps(SUMMARY))
    words = [str(path), '--name', 'accuracy', '--compare', 'kd']
    weight_table.main(words)
    said = capsys.readouterr().out
    rows = weight_table.join(SUMMARY)
    assert said == (
        f'{weight_table.markdown(rows, "accuracy")}\n\n'
        f'{weight_table.differences(rows, ["kd"])}\n'
    )
    weight_table.main([*words, '--published', str(path), '--other', 'by hand'])
    rows = weight_table.join(SUMMARY, published=SUMMARY)
    table = weight_table.markdown(rows, 'accuracy', 'by hand')
    assert "| | accuracy, `'auto'` | by seed | by hand | by seed |" in table
    assert table in capsys.readouterr().out
    assert [len(row['published']) for row in rows] == [5, 3, 5]
