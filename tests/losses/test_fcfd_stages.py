"""FCFD's mixed paths, and distances of its stages."""

import torch
from goldens import assert_golden_grads, golden_cases, golden_inputs

from luminet_mm.losses.fcfd_stages import mixed_paths, stage_distance

CASES = {case.id: case for case in golden_cases('fcfd')}


def test_paths_are_those_of_the_paper():
    """0 for the teacher and 1 for the student, stage by stage."""

    def digits(path, stages):
        end, place = path
        first = '1' if end == 'teacher' else '0'
        switch = place + 2  # the stem, and the stage of that place
        return first * switch + str(1 - int(first)) * (stages - switch)

    assert {digits(p, 4) for p in mixed_paths(3)} == set(
        '0011 0001 1100 1110'.split()
    )
    assert {digits(p, 5) for p in mixed_paths(4)} == set(
        '00111 00011 00001 11000 11100 11110'.split()
    )
    assert {end for end, _ in mixed_paths(4, 'to_student')} == {'student'}


def test_golden_last_stage():
    (case,) = CASES['final_stage_l2'].values
    (teacher,) = golden_inputs(case, 'teacher_feat')
    maps = torch.tensor(case['inputs']['bridged_feats'], dtype=torch.float64)
    maps.requires_grad_()
    assert_golden_grads(
        stage_distance([*maps], teacher, last=True),
        case,
        {'bridged_feats': maps},
    )


def test_maps_of_several_paths_add_up():
    student, other, teacher = torch.randn(3, 2, 4, 5, 5)
    torch.testing.assert_close(
        stage_distance([student, other], teacher, last=True),
        stage_distance([student], teacher, last=True)
        + stage_distance([other], teacher, last=True),
    )
    assert stage_distance([teacher], teacher, last=True) == 0
    nothing = teacher[:0].requires_grad_()
    value = stage_distance([nothing], teacher[:0], last=True)
    value.backward()
    assert value == 0 and nothing.grad is not None
