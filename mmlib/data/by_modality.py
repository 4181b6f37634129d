"""A module for each modality, whatever the modality is called."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView

from torch import nn

_TAKEN = nn.ModuleDict()  # its attributes are names that a plain `torch.nn.ModuleDict` refuses


class ByModality(nn.ModuleDict):
    """A `torch.nn.ModuleDict` whose keys may be any text: ``left.arm``, ``keys``, ``type``, ``phone accel``.

    Torch takes a key for the name of an attribute: it refuses dots and the names of methods. Such keys are escaped inside, and
    only there. All others stand in ``state_dict`` as they are, so that a checkpoint is the same as with a plain ``ModuleDict``.
    (The one exception is a name that begins with ``%``, the mark of what is escaped.)
    """

    def __getitem__(self, key: str) -> nn.Module:
        return self._modules[_escaped(key)]

    def __setitem__(self, key: str, module: nn.Module) -> None:
        self.add_module(_escaped(key), module)

    def __delitem__(self, key: str) -> None:
        del self._modules[_escaped(key)]

    def __iter__(self) -> Iterator[str]:
        return map(_plain, self._modules)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and _escaped(key) in self._modules

    def keys(self) -> KeysView[str]:
        return {_plain(key): module for key, module in self._modules.items()}.keys()

    def items(self) -> ItemsView[str, nn.Module]:
        return {_plain(key): module for key, module in self._modules.items()}.items()


def _escaped(name: str) -> str:
    if "." in name or name.startswith("%") or not name or hasattr(_TAKEN, name):
        return "%" + name.replace("%", "%25").replace(".", "%2E")
    return name


def _plain(key: str) -> str:
    return key[1:].replace("%2E", ".").replace("%25", "%") if key.startswith("%") else key
