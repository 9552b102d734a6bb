"""A cache that all processes compute and the first one writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.logging import MMLogger

from luminet_mm.teachers.cache_files import CacheError
from luminet_mm.teachers.cache_writer import CacheWriter


@dataclass
class SharedWriter:
    """What each process knows of a cache that is being written.

    Attributes:
        missing: Numbers of the files that are still to be written.
        entries: Entries in each file but the last; None if every file has
            one for each image.
        writer: In the first process; None in the others.
    """

    missing: list[int]
    entries: int | None
    writer: CacheWriter | None

    def finish(self, logger: MMLogger, right: int, seen: int) -> None:
        """Say that the cache is whole, in the first process.

        Args:
            logger: Told what was written.
            right: Answers that were written now and are right.
            seen: Those of them of which that is known.
        """
        if self.writer is None:
            return
        if seen:
            self.writer.header['top1'] = round(100 * right / seen, 2)
        if self.missing or not self.writer.finished:
            self.writer.finish()
        logger.info(self.writer.summary())


@contextmanager
def shared_writer(
    logger: MMLogger,
    folder: str,
    make_header: Callable[[], dict],
    check: Callable[[list[int]], None] | None = None,
) -> Iterator[SharedWriter]:
    """Open a cache in the first process, and tell all what is missing.

    Args:
        logger: Told which files are damaged.
        folder: Of the cache; its lock is held for the block ``with``.
        make_header: What the answers belong to; called in the first process.
        check: Refuses what is missing by a CacheError, before anything is
            written.

    Raises:
        CacheError: In every process, if the first cannot open it.
    """
    # missing files, entries in each, and why it cannot be written
    plan: list = [None, None, '']
    with ExitStack() as stack:
        writer = None
        if is_main_process():
            try:
                header = make_header()
                writer = stack.enter_context(CacheWriter(folder, header))
                plan = [writer.missing(), header.get('entries'), '']
                if check:
                    check(plan[0])
                if plan[0]:
                    writer.begin()
            except ValueError as error:
                plan[2] = str(error)
        broadcast_object_list(plan)
        if plan[2]:
            raise CacheError(plan[2])
        if writer and writer.damaged:
            logger.warning(f'damaged files: {writer.damaged}')
        yield SharedWriter(plan[0], plan[1], writer)
