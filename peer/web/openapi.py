"""The local API's description, made from the table of routes."""

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from peer.web.api import Route
from peer.web.bodies import Body
from peer.web.guard import LAUNCH_PATH

REF: Final = "#/components/schemas/{name}"

ERROR: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "params", "exit"],
            "properties": {
                "code": {"type": "string"},
                "params": {"type": "object"},
                "exit": {"type": "integer"},
            },
        }
    },
}


def document(routes: Sequence[Route], version: str) -> dict[str, Any]:
    """Return *routes* as an OpenAPI 3.1 document."""
    bodies: list[type[Body]] = [
        declared for route in routes for declared in (route.body, route.query) if declared
    ]
    _, components = msgspec.json.schema_components(bodies, ref_template=REF)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, components)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Quintet, the local API", "version": version},
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": {**components, "Error": ERROR},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: Route, components: dict[str, Any]) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", route.path)
    ]
    if route.query is not None:
        parameters += [
            {"name": name, "in": "query", "required": False, "schema": schema}
            for name, schema in components[route.query.__name__]["properties"].items()
        ]
    operation: dict[str, Any] = {
        "summary": route.does,
        "parameters": parameters,
        "responses": {
            "200": {"description": "Done.", "content": {"application/json": {}}},
            "403": {"description": "Not for you; says nothing else."},
            "default": {
                "description": "An error.",
                "content": {"application/json": {"schema": {"$ref": REF.format(name="Error")}}},
            },
        },
    }
    if route.path == LAUNCH_PATH:
        operation["security"] = []
    if route.body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {
                "application/json": {"schema": {"$ref": REF.format(name=route.body.__name__)}}
            },
        }
    return operation
