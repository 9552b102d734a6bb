"""``--cfg-options``, with a message for what is not a pair."""

from mmengine.config import DictAction


class OptionsAction(DictAction):
    """``key=value`` pairs; what is none ends in the usage text."""

    def __call__(self, parser, namespace, values, option_string=None) -> None:
        for pair in values:
            try:
                super().__call__(parser, namespace, [pair], option_string)
            except (AssertionError, RecursionError, ValueError):
                parser.error(
                    f'{option_string} {pair!r}: write key=value, as in '
                    'optim_wrapper.optimizer.lr=0.01, a.list="[1,2]" or '
                    'a.tuple="(1,2)"; a dict goes key by key, or into the '
                    'config.'
                )
