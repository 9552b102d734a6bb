"""The length of the runs: usual, or what a budget allows."""

import pytest

from luminet_mm.recipe.budget import (
    BudgetError,
    Costs,
    epochs_of,
    plan_epochs,
    seconds_for,
    seconds_of,
    usual_epochs,
)

COSTS = dict(
    teacher=Costs(1.0, 0.1, 50, 80),
    student=Costs(0.5, 0.1, 50, 80),
    distilled=Costs(0.8, 0.1, 50, 80),
)


def test_times():
    assert seconds_of('90s') == 90 and seconds_of('0.5h') == 1800
    for text in ('30', 'm', '30m later', '-3m', '1h 2m', ''):
        with pytest.raises(BudgetError, match='write it as 30m'):
            seconds_of(text)


def test_the_usual_length_is_that_of_the_configs():
    """configs/frcnn_student_bccd.py has 8 epochs, that of digits 3."""
    assert (usual_epochs(205), usual_epochs(1200)) == (8, 3)
    assert epochs_of(8) == dict(teacher=24, student=8, distilled=8)
    assert usual_epochs(5000, detects=False) == 10
    assert usual_epochs(100_000, own=True) == 12


def test_all_runs_and_validations_are_counted():
    # starts, steps, four validations of 80 images each
    wanted = 75 + 8 * 50 * (3 * 1.0 + 0.5 + 0.8) + 3 * 4 * 8
    assert seconds_for(8, COSTS) == pytest.approx(wanted)
    alone = dict(distilled=COSTS['distilled'])
    assert seconds_for(1, alone) == pytest.approx(25 + 40 + 8)


@pytest.mark.parametrize('budget', [1500, 2400, 3600])
def test_a_budget_is_used_and_kept(budget):
    epochs, choice = plan_epochs(8, COSTS, budget)
    assert seconds_for(epochs, COSTS) <= budget
    assert seconds_for(epochs + 1, COSTS) > 0.9 * budget
    assert f'student {epochs}' in choice.value


def test_a_large_budget_is_not_used_up():
    epochs, choice = plan_epochs(8, COSTS, 1e6)
    assert epochs == 32 and 'the most' in choice.reason


def test_without_a_budget_it_is_the_usual_length():
    epochs, choice = plan_epochs(8, COSTS, None)
    assert epochs == 8 and '31 min' in choice.reason


def test_a_short_budget_names_one_that_would_do():
    with pytest.raises(BudgetError) as caught:
        plan_epochs(8, COSTS, 60)
    text = str(caught.value)
    assert 'The budget of 1 min 00 s is too short' in text
    minutes = int(text.split('--budget ')[1].split('m')[0])
    assert plan_epochs(8, COSTS, 60 * minutes)[0] == 4
    with pytest.raises(BudgetError):
        plan_epochs(8, COSTS, 60 * (minutes - 1))
