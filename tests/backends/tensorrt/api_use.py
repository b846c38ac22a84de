"""Holds every use that our code makes of TensorRT's API to a real TensorRT module: names, arities, keywords, enums.

The uses are found in the syntax trees of the files, so that a new one is checked without anybody listing it. A value's
type is known from `trt.X(...)`, from annotations ("tensorrt.X", or a class or function of ours that leads to one), and
from what the bindings' docstrings say that a method returns. Where a name of TensorRT's is used on a value of unknown
type, that is a finding as well: annotate it.

Run as `python api_use.py MODULE FILE…` in a process of its own, for MODULE may stand on stub libraries.
"""

import ast
import re
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

_SIGNATURE = r"^(?:\d+\. )?{name}\((?P<arguments>.*)\) -> (?P<returns>[^\n]+)$"
_OURS = {"import_tensorrt": "module"}


@dataclass(frozen=True)
class Known:
    """kind: "module", "class", "instance", "method" of TensorRT's; "own" is an instance of a class of ours."""

    kind: str
    of: object = None
    name: str = ""


class Checker:
    def __init__(self, trt, rtx):
        self.trt, self.rtx = trt, rtx
        self.uses, self.problems, self.inside = set(), {}, None
        self.returns, self.attributes, self.dispatchers = {}, {}, {}
        self.names = {
            name
            for kind in vars(trt).values()
            if isinstance(kind, type)
            for name in dir(kind)
            if "_" in name.strip("_") and not name.startswith("_")
        }

    def check(self, paths):
        trees = {path: ast.parse(path.read_text(), str(path)) for path in paths}
        every = [node for tree in trees.values() for node in ast.walk(tree)]
        self.attributes = {node.name: {} for node in every if isinstance(node, ast.ClassDef)}
        for node in every:
            if isinstance(node, ast.FunctionDef) and node.returns is not None:
                self.returns[node.name] = self.annotated(node.returns)
        before = None
        while before != self.uses:  # what one round learns of our own attributes, the next makes use of
            before, self.uses, self.problems = self.uses, set(), {}
            for path, tree in trees.items():
                self.path = path
                self.block(tree.body, {}, None)

    # Statements

    def block(self, body, names, owner):
        for statement in body:
            self.statement(statement, names, owner)

    def statement(self, node, names, owner):
        if isinstance(node, ast.FunctionDef):
            self.function(node, dict(names), owner)
        elif isinstance(node, ast.ClassDef):
            self.class_(node, names)
        elif isinstance(node, ast.Assign) and len(node.targets) == 1:
            self.assign(node.targets[0], node.value, names, owner)
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            self.assign(node.target, node.value, names, owner)
        else:
            for child in ast.iter_child_nodes(node):
                if isinstance(child, ast.stmt | ast.ExceptHandler | ast.withitem | ast.match_case):
                    self.statement(child, names, owner)
                elif isinstance(child, ast.expr):
                    self.value(child, names, owner)

    def function(self, node, names, owner):
        arguments = [*node.args.args, *node.args.kwonlyargs]
        if not self.rtx and any(argument.arg == "rtx" for argument in arguments):
            return  # for TensorRT-RTX alone
        for argument in arguments:
            module = argument.arg in ("trt", "rtx")
            names[argument.arg] = Known("module") if module else self.annotated(argument.annotation)
        if owner is not None and arguments and arguments[0].arg == "self":
            names["self"] = Known("own", owner)
        around, self.inside = self.inside, node.name
        self.block(node.body, names, owner)
        self.inside = around

    def class_(self, node, names):
        for base in node.bases:
            known = self.value(base, names, None)
            if known is not None and known.kind == "class":
                self.overrides(node, known.of)
        ours = self.attributes[node.name]
        for statement in node.body:
            if isinstance(statement, ast.AnnAssign):
                ours[statement.target.id] = self.annotated(statement.annotation) or ours.get(statement.target.id)
            if isinstance(statement, ast.FunctionDef) and self.is_property(statement):
                ours[statement.name] = self.annotated(statement.returns)
        self.block(node.body, names, node.name)

    def is_property(self, node):
        return any(isinstance(decorator, ast.Name) and decorator.id == "property" for decorator in node.decorator_list)

    def overrides(self, node, base):
        """Methods that TensorRT calls; what it does not show as attributes it shows in its docstring's example."""
        for method in node.body:
            if not isinstance(method, ast.FunctionDef) or method.name.startswith("_"):
                continue
            given = len(method.args.args) - 1
            shown = re.search(rf"def {method.name}\(self(?:, )?(?P<arguments>.*)\)", base.__doc__ or "")
            if hasattr(base, method.name) or shown is None:
                self.use(base, method.name, method)
                self.fits(base, method.name, given, (), method)
                continue
            self.uses.add(f"{base.__name__}.{method.name}")
            if given != len(self.parameters(shown["arguments"])):
                self.problem(method, f"{base.__name__}.{method.name} is called with {shown['arguments']}")

    def assign(self, target, value, names, owner):
        known = self.value(value, names, owner)
        if isinstance(target, ast.Name):
            names[target.id] = known
        elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            for part, whole in zip(target.elts, value.elts, strict=False):
                self.assign(part, whole, names, owner)
        elif isinstance(target, ast.Attribute):
            self.value(target, names, owner)
            base = self.value(target.value, names, owner)
            if base is not None and base.kind == "own":
                if known is not None:
                    self.attributes[base.of][target.attr] = known
            elif base is not None and base.kind == "instance":
                member = getattr(base.of, target.attr, None)
                if member is not None and (not isinstance(member, property) or member.fset is None):
                    self.problem(target, f"{base.of.__name__}.{target.attr} cannot be set")

    # Expressions

    def value(self, node, names, owner):
        """What an expression is; its uses of the API are checked on the way."""
        if isinstance(node, ast.Name):
            return names.get(node.id)
        if isinstance(node, ast.Attribute):
            return self.attribute(node, names, owner)
        if isinstance(node, ast.Call):
            return self.call(node, names, owner)
        if isinstance(node, ast.Lambda):
            names = dict(names)
        if isinstance(node, ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp):
            for generator in node.generators:
                for part in (generator.iter, *generator.ifs):
                    self.value(part, names, owner)
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self.value(child, names, owner)
        return None

    def attribute(self, node, names, owner):
        base = self.value(node.value, names, owner)
        if base is None:
            if node.attr in self.names:
                self.problem(node, f".{node.attr} is a name of TensorRT's, on a value whose type nothing says")
            return None
        if base.kind == "own":
            return self.attributes.get(base.of, {}).get(node.attr)
        if base.kind == "method" or node.attr.startswith("__"):
            return None
        return self.use(self.trt if base.kind == "module" else base.of, node.attr, node, base.kind)

    def use(self, holder, name, node, kind="instance"):
        label = name if holder is self.trt else f"{holder.__name__}.{name}"
        self.uses.add(label)
        if not hasattr(holder, name):
            self.problem(node, f"{label} does not exist")
            return None
        member = getattr(holder, name)
        if isinstance(member, type):
            return Known("class", member)
        if isinstance(member, property):
            return self.returned(member.fget.__doc__ or "", "")
        if isinstance(holder, type) and isinstance(member, holder):
            return Known("instance", holder)  # of an enumeration
        return Known("method", holder, name) if callable(member) and kind == "instance" else None

    def call(self, node, names, owner):
        called = self.value(node.func, names, owner)
        for argument in (*node.args, *(keyword.value for keyword in node.keywords)):
            self.value(argument, names, owner)
        if isinstance(node.func, ast.Name) and node.func.id == "getattr" and owner is not None:
            self.dispatch(node, names, owner)
        if isinstance(node.func, ast.Attribute) and self.dispatchers:
            holder = self.value(node.func.value, names, owner)
            kind = self.dispatchers.get((holder.of, node.func.attr)) if holder else None
            if kind is not None and node.args and isinstance(node.args[0], ast.Constant):
                self.use(kind, node.args[0].value, node)
                self.called(kind, node.args[0].value, node.args[1:], node.keywords, node)
                return None
        if isinstance(node.func, ast.Name) and node.func.id in self.attributes:
            ours = self.attributes[node.func.id]
            for field, argument in zip(ours, node.args, strict=False):
                ours[field] = ours[field] or self.value(argument, names, owner)
            return Known("own", node.func.id)
        if called is None:
            name = getattr(node.func, "id", getattr(node.func, "attr", None))
            return Known(_OURS[name]) if name in _OURS else self.returns.get(name)
        if called.kind == "class":
            self.called(called.of, "__init__", node.args, node.keywords, node)
            return Known("instance", called.of)
        if called.kind == "method":
            self.called(called.of, called.name, node.args, node.keywords, node)
            return self.returned(getattr(called.of, called.name).__doc__ or "", called.name)
        return None

    def dispatch(self, node, names, owner):
        """getattr(VALUE, NAME) in a method: its callers pass the name, and what comes after it."""
        known = self.value(node.args[0], names, owner)
        if known is not None and known.kind == "instance" and isinstance(node.args[1], ast.Name):
            self.dispatchers[owner, self.inside] = known.of

    # Types and signatures

    def annotated(self, annotation):
        text = annotation.value if isinstance(annotation, ast.Constant) else annotation and ast.unparse(annotation)
        if text == "ModuleType":
            return Known("module")
        if text in self.attributes:
            return Known("own", text)
        package, _, name = str(text).rpartition(".")
        if package not in ("tensorrt", "tensorrt_rtx") or (package == "tensorrt_rtx" and not self.rtx):
            return None
        self.uses.add(name)
        if not hasattr(self.trt, name):
            self.problem(annotation, f"{name} does not exist")
            return None
        return Known("instance", getattr(self.trt, name))

    def returned(self, doc, name):
        found = re.search(_SIGNATURE.format(name=re.escape(name)), doc.strip(), re.MULTILINE)
        kind = getattr(self.trt, found["returns"].strip().rpartition(".")[2], None) if found else None
        return Known("instance", kind) if isinstance(kind, type) else None

    def called(self, kind, name, arguments, keywords, node):
        if any(isinstance(argument, ast.Starred) for argument in arguments):
            return
        given = len(arguments)
        # trt.X.__init__(self) in a subclass gives the instance itself; so does every other call of a method
        explicit = name == "__init__" and isinstance(node.func, ast.Attribute) and node.func.attr == "__init__"
        self.fits(kind, name, given - explicit, tuple(keyword.arg for keyword in keywords), node)

    def fits(self, kind, name, given, keywords, node):
        doc = getattr(getattr(kind, name, None), "__doc__", None) or ""
        overloads = [
            self.parameters(found["arguments"])
            for found in re.finditer(_SIGNATURE.format(name=re.escape(name)), doc, re.MULTILINE)
            if not found["arguments"].startswith("*")
        ]
        for parameters in overloads:
            after = [parameter for parameter, _ in parameters[given:]]
            needed = [parameter for parameter, optional in parameters[given:] if not optional]
            if given <= len(parameters) and set(keywords) <= set(after) and set(needed) <= set(keywords):
                return
        if overloads:
            self.problem(node, f"{kind.__name__}.{name} takes {overloads}, given {given} and {keywords}")

    def parameters(self, text):
        """[(name, optional)] without self, of the arguments in a docstring."""
        parts, depth = [""], 0
        for letter in text:
            depth += (letter in "[(<") - (letter in "])>")
            if letter == "," and depth == 0:
                parts.append("")
            else:
                parts[-1] += letter
        names = [(part.split(":")[0].split("=")[0].strip(), "=" in part) for part in parts if part.strip()]
        return [parameter for parameter in names if parameter[0] not in ("self", "arg0", "/", "*")]

    def problem(self, node, text):
        self.problems[f"{self.path.name}:{node.lineno}: {text}"] = None


def main(module, *files):
    trt = import_module(module)
    checker = Checker(trt, rtx="rtx" in module)
    checker.path = Path(files[0])
    checker.check([Path(file) for file in files])
    print(f"{trt.__version__}: {len(checker.uses)} uses")
    print(*sorted(checker.uses))
    print(*checker.problems, sep="\n", file=sys.stderr)
    return bool(checker.problems)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
