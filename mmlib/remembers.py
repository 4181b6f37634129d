"""Objects that remember what they were made with, so that they can be described, compared and made again."""

from __future__ import annotations

import inspect
from typing import Any, Self


class Remembers:
    """Mix-in: `options` gives the arguments of the constructor, defaults included, whatever the class does with them."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        made = super().__new__(cls)
        made.__dict__["_asked"] = (args, kwargs)  # a torch module has no __setattr__ before its __init__
        return made

    def options(self) -> dict[str, Any]:
        """Argument -> value, with the defaults filled in; what a ``**options`` took stands among the others."""
        args, kwargs = self.__dict__["_asked"]
        signature = inspect.signature(type(self).__init__)
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        found: dict[str, Any] = {}
        for name, value in list(bound.arguments.items())[1:]:
            kind = signature.parameters[name].kind
            if kind is inspect.Parameter.VAR_KEYWORD:
                found |= value
            elif kind is not inspect.Parameter.VAR_POSITIONAL or value:
                found[name] = value
        return found
