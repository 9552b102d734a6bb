"""The notices of the zoos."""

import mmengine.logging

from luminet_mm.launch.notices import without_notices


def test_a_notice_of_the_zoos_is_dropped_and_no_other(capsys):
    with without_notices():
        mmengine.logging.print_log('Could not import OneDL. Skipping')
        mmengine.logging.print_log('Could not import X', logger=None)
    assert capsys.readouterr().out == 'Could not import X\n'
    mmengine.logging.print_log('Could not import OneDL')
    with without_notices(verbose=True):
        mmengine.logging.print_log('Could not import OneDL')
    assert capsys.readouterr().out.count('OneDL') == 2
