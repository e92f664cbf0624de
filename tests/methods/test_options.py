"""The options of a method are read and checked. Errors name the option."""

from dataclasses import dataclass

import pytest

from hf_alphavil.methods.options import NoOptions, read_options
from support.toy_run import toy_args


@dataclass(frozen=True)
class Options:
    rate: float = 0.1
    interval: int = 5
    weighted: bool = False
    sizes: tuple = (0, 3)
    form: str = "a"


def test_values_by_name_or_as_json():
    assert read_options(Options, None, "m") == Options()
    assert read_options(Options, '{"rate": 1, "sizes": [1, 2]}', "m") == Options(rate=1, sizes=(1, 2))
    assert read_options(Options, {"weighted": True}, "m") == Options(weighted=True)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("{", "is not JSON"),
        ("[1]", "pass options by name"),
        ({"speed": 1}, r"'m' has no option 'speed'; it has rate \(default 0.1\), interval"),
        ({"interval": 1.5}, "interval=1.5 of the method 'm' is a float: pass a int"),
        ({"interval": True}, "is a bool"),
        ({"weighted": 1}, "pass a bool"),
        ({"form": 1}, "pass a str"),
        ({"sizes": 3}, "pass a tuple"),
    ],
)
def test_what_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        read_options(Options, given, "m")


def test_a_method_without_options():
    with pytest.raises(ValueError, match="it has none: leave `method_kwargs` out"):
        read_options(NoOptions, {"c": 1}, "m")
    with pytest.raises(ValueError, match="the method 'multitask' has no option 'c'"):
        toy_args("unused", method="multitask", method_kwargs='{"c": 1}')
