"""What names an object of the user's own code, a generator or a metric: the weights that it holds, and its source.

Weights are the parameters and buffers of every torch module that can be reached from it (through attributes, lists,
dicts, closures, `functools.partial`) or from the globals of its source, and the tensors and arrays beside them. Source
is the file of its module, and of what that imports from outside the installed packages. What is read from a file at
each call, or held by something that isn't torch's, can't be seen.
"""

from __future__ import annotations

import functools
import hashlib
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, MethodType, ModuleType
from typing import Any

Held = list[tuple[str, Any]]
OURS = ("configs", "freeu", "metrics", "search")
"""Packages whose changes are told by versions of their own."""
INSTALLED = tuple({Path(sysconfig.get_paths()[name]) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
PLAIN = (str, bytes, int, float, complex, ModuleType, type(None))


def object_identity(thing: Any, module: str) -> str | None:
    """SHA-256, in hex, over the weights that `thing` holds and the source of `module`, which made it.

    None where no torch module with weights is found, or where weights are not here to be read (on "meta", packed).
    """
    import torch

    homes = {module, type(thing).__module__}
    sources = _sources(homes, module)
    roots: Held = [("", thing), *((name, dict(_named(sys.modules[name]))) for name in sorted(sources))]
    digest, weights = hashlib.sha256(), 0
    for place, found in _reached(roots, frozenset(sources)):
        if isinstance(found, torch.nn.Module):
            homes.add(type(found).__module__)
            weights += len(list(found.parameters(recurse=False))) + len(list(found.buffers(recurse=False)))
            continue
        content = _content(found)
        if content is None:
            return None
        digest.update(f"{place}\0".encode() + content)
    for name, source in sorted(_sources(homes, module).items()):
        digest.update(f"{name}\0".encode() + hashlib.sha256(source).digest())
    return digest.hexdigest() if weights else None


def _reached(roots: Held, own: frozenset[str]) -> Iterator[tuple[str, Any]]:
    """Every torch module, tensor, array and packed thing of torch's, once, with the way to it; in the code's order."""
    import numpy as np
    import torch

    data = (torch.ScriptObject, torch.Tensor, np.ndarray)
    seen: dict[int, Any] = {}  # holds on to them, so that no id comes twice
    waiting = roots[::-1]
    while waiting:
        place, found = waiting.pop()
        if id(found) in seen or isinstance(found, PLAIN):
            continue
        seen[id(found)] = found
        if isinstance(found, (torch.nn.Module, *data)):
            yield place, found
        if not isinstance(found, data):
            waiting += reversed([(f"{place}.{name}", inner) for name, inner in _inside(found, own)])


def _inside(found: Any, own: frozenset[str]) -> Held:
    """What an object holds, each with its name. own: modules whose classes are looked into, too."""
    import torch

    if isinstance(found, type):
        return _named(found) if found.__module__ in own else []
    if isinstance(found, torch.nn.Module):
        held = [*found.named_parameters(recurse=False), *found.named_buffers(recurse=False), *found.named_children()]
        return [*held, *_attributes(found)]
    if isinstance(found, functools.partial):
        return [("func", found.func), ("args", found.args), ("keywords", found.keywords)]
    if isinstance(found, MethodType):
        return [("self", found.__self__), ("func", found.__func__)]
    if isinstance(found, FunctionType):
        cells = [cell.cell_contents for cell in found.__closure__ or () if _filled(cell)]
        return [("closure", cells), ("defaults", found.__defaults__), ("named", found.__kwdefaults__)]
    if isinstance(found, dict):
        return [*((str(key), value) for key, value in dict.items(found)), *_attributes(found)]
    if isinstance(found, (list, tuple)):
        return [*((str(i), each) for i, each in enumerate(found)), *_attributes(found)]
    return _attributes(found)


def _named(found: ModuleType | type) -> Held:
    """The globals of a module or the attributes of a class, without Python's own (`__loader__` leads anywhere)."""
    return [(name, value) for name, value in vars(found).items() if not name.startswith("__")]


def _attributes(found: Any) -> Held:
    slots = [name for kind in type(found).__mro__ for name in _slots(kind) if hasattr(found, name)]
    held = getattr(found, "__dict__", None)
    named = list(held.items()) if isinstance(held, dict) else []
    return [*named, *((name, getattr(found, name)) for name in slots), ("class", type(found))]


def _slots(kind: type) -> tuple[str, ...]:
    named = vars(kind).get("__slots__", ())
    names = (named,) if isinstance(named, str) else tuple(named)
    return tuple(name for name in names if not name.startswith("__"))


def _filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:  # not yet
        return False


def _content(found: Any) -> bytes | None:
    """The hash of a tensor's or an array's type, shape and values; None where they can't be read."""
    import numpy as np
    import torch

    values: Any
    try:
        if isinstance(found, np.ndarray):
            plain = np.zeros(0) if found.dtype.hasobject else np.ascontiguousarray(found)
            values = plain.reshape(-1).view(np.uint8)
        else:
            flat = found.detach().resolve_conj().resolve_neg().to("cpu").contiguous().flatten()
            values = flat.view(torch.uint8).numpy()
    except (AttributeError, NotImplementedError, RuntimeError, TypeError, ValueError):
        return None  # meta, packed, sparse, not initialised
    return hashlib.sha256(f"{found.dtype} {tuple(found.shape)}\0".encode() + hashlib.sha256(values).digest()).digest()


def _sources(homes: set[str], module: str) -> dict[str, bytes]:
    """Module → its file's content: of `homes` and of all that they import, where it is the user's own."""
    found: dict[str, bytes] = {}
    waiting, seen = sorted(homes), set(homes)
    while waiting:
        name = waiting.pop()
        held = sys.modules.get(name)
        file = getattr(held, "__file__", None)
        if held is None or not file or not Path(file).is_file() or not _is_own(name, Path(file), module):
            continue
        found[name] = Path(file).read_bytes()
        fresh = {used for value in list(vars(held).values()) if (used := _home(value))} - seen
        waiting += fresh
        seen |= fresh
    return found


def _home(value: Any) -> str | None:
    """The module that a global of another module comes from."""
    if isinstance(value, ModuleType):
        return value.__name__
    return value.__module__ if isinstance(value, (FunctionType, type)) else None


def _is_own(name: str, file: Path, module: str) -> bool:
    top = name.partition(".")[0]
    if top in OURS:
        return False
    return top == module.partition(".")[0] or not any(file.is_relative_to(place) for place in INSTALLED)
