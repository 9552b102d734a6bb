"""Write a report of runs: ``python tools/report.py WORK_DIRS``.

The same as ``python -m luminet_mm.report``; ``--help`` lists the options.
"""

from luminet_mm.report.__main__ import main

if __name__ == '__main__':
    main()
