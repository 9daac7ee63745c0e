"""OpenAPI 3.1 of one deployment: a fold over its routes. Nothing is said here that a route says itself.

routes ── their operations ──> paths
              └─ Python types in their shapes ── msgspec.schema_components ──> components, which the paths refer to
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from twofold.gateway.http.operation import Json, Operation, Parameter, Reply, Route, Shape
from twofold.gateway.http.problem import MEDIA_TYPE, PROBLEM_TYPES, REFUSED

COMPONENT = "#/components/schemas/{name}"
HEADERS: Mapping[str, str] = {
    "Location": "Where the command's status is.",
    "Consistency-Token": "To be sent along with the next query.",
    "Preference-Applied": "What of `Prefer` was honoured.",
    "View-Position": "The checkpoint the answer was read at.",
    "View-Lag": "Seconds: about how old the oldest event is that this answer does not show.",
    "ETag": "Changes when the answer does.",
    "Link": "The next page, if there is one.",
    "Retry-After": "Seconds.",
}
PROBLEM: Json = {
    "type": "object",
    "title": "Problem",
    "description": "An RFC 9457 problem. `type` is stable; what else there is depends on it.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "enum": [f"/problems/{name}" for name in PROBLEM_TYPES]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "description": "The domain's own, stable word for why not."},
        "details": {"type": "object"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "detail"],
                "properties": {"pointer": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
        "command_id": {"type": "string"},
        "view": {"type": "string"},
        "required": {"type": ["integer", "null"], "description": "The position the view must reach; null while undecided."},
        "position": {"type": "integer"},
        "state": {"type": "string", "enum": ["pending", "behind", "parked", "diverged"]},
    },
}


def openapi(name: str, routes: Iterable[Route], describe: Mapping[str, object]) -> Json:
    """The document, as JSON-encodable data. `describe` may give `title` (else the name) and `version`."""
    documented = [(route, operation) for route in routes for operation in route.operations]
    schemas = Schemas([shape for _, operation in documented for shape in _shapes(operation)])
    paths: Json = {}
    for route, operation in documented:
        paths.setdefault(path_of(route, operation), {})[route.method.lower()] = _described(operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": str(describe.get("title", name)),
            "version": str(describe.get("version", "0")),
            "description": "Commands are commands: what was answered 202 is not lost. Views answer, and say how old they are.",
        },
        "paths": paths,
        "components": {"schemas": {**schemas.components, "Problem": PROBLEM}},
    }


def path_of(route: Route, operation: Operation) -> str:
    """The route's path, with the parts that stand for this operation alone filled in."""
    path = route.path
    for part, value in operation.fills.items():
        path = path.replace(f"{{{part}}}", value)
    return path


class Schemas:
    """The JSON schemas of every Python type that occurs in these shapes: structs become `components`, which others refer to."""

    def __init__(self, shapes: Iterable[Shape]) -> None:
        types = list(dict.fromkeys(found for shape in shapes for found in _types(shape)))
        made, components = msgspec.json.schema_components(types, ref_template=COMPONENT, schema_hook=lambda _: {})
        self._schema_of: Mapping[Any, Json] = dict(zip(types, made, strict=True))
        self.components: Json = dict(components)

    def resolved(self, shape: Shape) -> Any:
        """The shape with a schema in place of every type."""
        if isinstance(shape, dict):
            return {name: self.resolved(part) for name, part in shape.items()}
        if isinstance(shape, list):
            return [self.resolved(part) for part in shape]
        return shape if _is_plain(shape) else self._schema_of[shape]


def _shapes(operation: Operation) -> Iterator[Shape]:
    yield from operation.body.values()
    yield from (reply.shape for reply in operation.replies.values())
    yield from (parameter.schema for parameter in operation.parameters)


def _types(shape: Shape) -> Iterator[Any]:
    if isinstance(shape, dict | list):
        for part in shape.values() if isinstance(shape, dict) else shape:
            yield from _types(part)
    elif not _is_plain(shape):
        yield shape


def _is_plain(shape: Shape) -> bool:
    """Whether this is a piece of a schema, and not a type."""
    return shape is None or isinstance(shape, str | int | float)


def _described(operation: Operation, schemas: Schemas) -> Json:
    responses = {str(status): _response(reply, schemas) for status, reply in operation.replies.items()}
    described: Json = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": operation.summary,
        "parameters": [_parameter(parameter, schemas) for parameter in operation.parameters],
        "responses": responses | _problems(operation.problems),
    }
    if operation.description is not None:
        described["description"] = operation.description
    if operation.body:
        content = {media_type: {"schema": schemas.resolved(shape)} for media_type, shape in operation.body.items()}
        described["requestBody"] = {"required": True, "content": content}
    return described


def _parameter(parameter: Parameter, schemas: Schemas) -> Json:
    return {
        "in": parameter.location,
        "name": parameter.name,
        "description": parameter.description,
        "schema": schemas.resolved(parameter.schema),
        "required": parameter.location == "path",
    }


def _response(reply: Reply, schemas: Schemas) -> Json:
    response: Json = {"description": reply.description}
    if reply.headers:
        response["headers"] = _headers(*reply.headers)
    if reply.shape is not None:
        first, *others = reply.media_types
        response["content"] = {first: {"schema": schemas.resolved(reply.shape)}}
        response["content"] |= {media_type: {"schema": {"type": "string"}} for media_type in others}
    return response


def _problems(names: Iterable[str]) -> Json:
    """Responses by status for these types; types of one status share one response."""
    responses: Json = {}
    for name in names:
        problem_type = PROBLEM_TYPES[name]
        schema = {"$ref": COMPONENT.format(name="Problem")}
        response = responses.setdefault(
            str(problem_type.status), {"description": problem_type.title, "content": {MEDIA_TYPE: {"schema": schema}}}
        )
        if problem_type.title not in response["description"]:
            response["description"] += f"; or: {problem_type.title}"
        if problem_type.status in REFUSED:
            response["headers"] = _headers("Retry-After")
    return responses


def _headers(*names: str) -> Json:
    return {name: {"description": HEADERS[name], "schema": {"type": "string"}} for name in names}
