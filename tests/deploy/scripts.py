"""Loads the scripts of ``deploy/``, which belong to no package."""

import importlib.util
import pathlib
import sys
import types
from typing import Final

ROOT: Final = pathlib.Path(__file__).parent.parent.parent


def load(name: str) -> types.ModuleType:
    """Return ``deploy/<name>.py`` as a module."""
    spec = importlib.util.spec_from_file_location(f"deploy_{name}", ROOT / "deploy" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their own module up.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
