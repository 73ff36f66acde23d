"""The component: compiled once for a process, instantiated for each acquisition and thrown away afterwards."""

from __future__ import annotations

from importlib import resources
from threading import Lock
from typing import Any, NoReturn

from wasmtime import Engine, Store
from wasmtime.component import Component, Func, Linker, Record, Variant

from .errors import AcquisitionError
from .wit import Context, Request, SignIn

_INTERFACE = "symbolon:core/acquisition@0.1.0"


class ProtocolCore:
    """What the interface `symbolon:core/acquisition` exports, in an instance of its own."""

    _compiled: tuple[Engine, Component] | None = None
    _compiling = Lock()

    def __init__(self) -> None:
        engine, component = self._component()
        self._store = Store(engine)
        self._instance = Linker(engine).instantiate(self._store, component)

    @classmethod
    def _component(cls) -> tuple[Engine, Component]:
        with cls._compiling:
            if cls._compiled is None:
                engine = Engine()
                wasm = resources.files(__package__).joinpath("protocol_core.wasm").read_bytes()
                cls._compiled = engine, Component(engine, wasm)
            return cls._compiled

    def start(self, request: Request, context: Context) -> tuple[Any, Variant]:
        """Starts an acquisition: it and its first action."""
        return self._started("start", request, context)

    def begin(self, sign_in: SignIn, context: Context) -> tuple[Any, Variant]:
        """The same for the beginning of a sign-in."""
        return self._started("begin", sign_in, context)

    def _started(self, function: str, asked: Request | SignIn, context: Context) -> tuple[Any, Variant]:
        started = self.call(f"[static]acquisition.{function}", asked, context)
        if isinstance(started, Record):
            refused(started)
        acquisition, action = started
        return acquisition, action

    def handle(self, acquisition: Any, event: Variant) -> Variant:
        """Tells what became of the last action; the next one."""
        action: Variant = self.call("[method]acquisition.handle", acquisition, event)
        return action

    def call(self, function: str, *arguments: Any) -> Any:
        """Calls a function of the interface."""
        function_of = self._function(function)
        result = function_of(self._store, *arguments)
        function_of.post_return(self._store)
        return result

    def _function(self, name: str) -> Func:
        interface = self._instance.get_export_index(self._store, _INTERFACE)
        index = self._instance.get_export_index(self._store, name, interface)
        function = index and self._instance.get_func(self._store, index)
        if not function:
            raise LookupError(f"protocol_core.wasm has no {_INTERFACE} {name}; it is of another version than this package")
        return function


def refused(error: Any) -> NoReturn:
    """Raises an error of the interface."""
    raise AcquisitionError(error)
