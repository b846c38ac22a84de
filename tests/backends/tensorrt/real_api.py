"""The fakes have nothing that a real TensorRT module lacks: classes, methods, parameters, properties, enumerations.

What our code uses of TensorRT it uses on the fakes in the tests beside this, or on TensorRT-RTX itself; so a name that
TensorRT does not have, or calls otherwise, is found here. A pybind11 module says its signatures in docstrings.

Run as `python -m tests.backends.tensorrt.real_api MODULE` in a process of its own: MODULE may stand on stub libraries.
"""

import inspect
import re
import sys
from enum import Enum
from importlib import import_module

from . import fake_builder, fake_tensorrt

HELPERS = ("FakeTensorRT", "BrokenRuleError", "Counted")
_SIGNATURE = r"^(?:\d+\. )?{}\((?P<parameters>.*)\) -> "


def fakes():
    """Every class of the fakes that stands for one of TensorRT's."""
    for holder in (fake_builder, fake_tensorrt, fake_tensorrt.FakeTensorRT):
        home = getattr(holder, "__module__", getattr(holder, "__name__", None))
        for name, kind in vars(holder).items():
            if isinstance(kind, type) and kind.__module__ == home and name not in HELPERS:
                yield kind


def constructors():
    """How our code makes what it makes itself."""
    module = fake_builder.fake_tensorrt()
    runtime = fake_tensorrt.FakeTensorRT(None, (), None).Runtime
    return {"Builder": module.Builder, "OnnxParser": module.OnnxParser, "Runtime": runtime}


def differences(real, fake, path):
    """What a fake class has and the real one has not."""
    if real is None:
        yield f"{path} does not exist"
        return
    if issubclass(fake, Enum):
        yield from (f"{path}.{name} does not exist" for name in fake.__members__ if not hasattr(real, name))
        return
    for name in (*vars(fake), *inspect.get_annotations(fake)):
        if name.startswith("_"):
            continue
        there, ours = getattr(real, name, None), vars(fake).get(name)
        if isinstance(ours, type):
            yield from differences(there, ours, f"{path}.{name}")
        elif inspect.isfunction(ours):
            yield from calls(real, name, list(inspect.signature(ours).parameters)[1:], f"{path}.{name}")
        elif there is None:
            yield f"{path}.{name} does not exist"
        elif isinstance(ours, property) and ours.fset is not None and there.fset is None:
            yield f"{path}.{name} cannot be set"


def calls(real, name, given, path):
    """Whether a real method takes these parameters by name, and needs no other."""
    doc = inspect.cleandoc(getattr(getattr(real, name, None), "__doc__", None) or "")
    overloads = [match["parameters"] for match in re.finditer(_SIGNATURE.format(name), doc, re.MULTILINE)]
    if not overloads:  # what TensorRT calls, and shows in an example only
        overloads = re.findall(rf"def {name}\((self.*)\):", real.__doc__ or "")
    takes = [parameters(overload) for overload in overloads]
    if not takes:
        yield f"{path} does not exist"
    elif not any(list(each)[: len(given)] == given and all(list(each.values())[len(given) :]) for each in takes):
        yield f"{path} takes {' or '.join(str(list(each)) for each in takes)}, the fake {given}"


def parameters(text):
    """{name: whether it may be left out} of a signature in a docstring, without self."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "[(<") - (letter in "])>")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    names = {re.split("[:=]", part)[0].strip(): "=" in part for part in parts}
    return {name: optional for name, optional in names.items() if name != "self"}


def main(module):
    real = import_module(module)
    result = [text for kind in fakes() for text in differences(getattr(real, kind.__name__, None), kind, kind.__name__)]
    for name, make in constructors().items():
        result += calls(getattr(real, name), "__init__", list(inspect.signature(make).parameters), name)
    print(*result, sep="\n")
    return bool(result)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
