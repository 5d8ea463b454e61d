"""Writes the OpenAPI 3.1 document of a table of operations; shapes come from msgspec, nothing is typed twice."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from dray.api.operation import Described
from dray.api.problems import MEDIA_TYPE, title
from dray.errors import DrayError
from dray.model.views import Failed, Problem

Json = dict[str, Any]
REF = "#/components/schemas/{name}"
KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The first answer to this key is kept for 24 h and given again for the same body.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[!-~]+$"},
}


def document(operations: Sequence[Described], version: str) -> Json:
    """Return the whole document."""
    schemas, components = _schemas(operations)
    paths: Json = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _describe(operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Dray", "version": version, "description": "Moves research data and proves that it arrived."},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": "dray_..."}},
        },
    }


def _schemas(operations: Iterable[Described]) -> tuple[dict[Any, Json], Json]:
    kinds: list[Any] = [Problem, Failed]
    for operation in operations:
        kinds += [kind for kind in (operation.body, operation.answer) if isinstance(kind, type)]
    unique = list(dict.fromkeys(kinds))
    schemas, components = msgspec.json.schema_components(unique, ref_template=REF)
    return dict(zip(unique, schemas, strict=True)), components


def _describe(operation: Described, schemas: dict[Any, Json]) -> Json:
    described: Json = {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": parameters(operation),
        "responses": {str(operation.status): _answer(operation, schemas)} | _others(operation) | _problems(operation),
    }
    if operation.body is not None:
        described["requestBody"] = {"required": True, "content": _content(operation.takes, operation.body, schemas)}
    if operation.scope is not None:
        described["security"] = [{"token": []}]
        what = "" if operation.scope == "any" else f" with the scope `{operation.scope}`"
        described["description"] = f"Needs a token{what}."
    return described


def _content(media: str, kind: Any, schemas: dict[Any, Json]) -> Json:
    return {media: {"schema": schemas[kind] if isinstance(kind, type) else kind}}


def parameters(operation: Described) -> list[Json]:
    """Return the parameters of the path, the query and the headers."""
    (where,), components = msgspec.json.schema_components([operation.where], ref_template=REF)
    shape = components[where["$ref"].rpartition("/")[2]]
    needed = set(shape["required"])
    found = [_parameter(name, schema, operation, name in needed) for name, schema in shape["properties"].items()]
    return found + ([KEY] if operation.repeatable else []) + list(operation.headers)


def _parameter(name: str, schema: Json, operation: Described, needed: bool) -> Json:
    in_path = name in operation.in_path
    schema = _without_null(schema)
    found: Json = {"name": name, "in": "path" if in_path else "query", "required": needed, "schema": schema}
    if schema.get("type") == "array":
        found |= {"style": "form", "explode": True}
    return found


def _without_null(schema: Json) -> Json:
    """Return the schema of a parameter that is absent rather than null."""
    if "anyOf" not in schema:
        return schema
    (kind,) = (kind for kind in schema["anyOf"] if kind != {"type": "null"})
    return dict(kind)


def _answer(operation: Described, schemas: dict[Any, Json]) -> Json:
    schema = schemas[operation.answer] if isinstance(operation.answer, type) else operation.answer
    if operation.batch:
        schema = {
            "type": "object",
            "required": ["items"],
            "properties": {"items": {"type": "array", "items": {"anyOf": [schema, schemas[Failed]]}}},
        }
    return {"description": operation.summary, "content": {operation.gives: {"schema": schema}}}


def _others(operation: Described) -> Json:
    return {
        str(status): {"description": meaning} | ({"content": {media: {"schema": operation.answer}}} if media else {})
        for status, meaning, media in operation.also
    }


def _problems(operation: Described) -> Json:
    by_status: dict[int, list[type[DrayError]]] = {}
    for kind in operation.all_problems():
        by_status.setdefault(kind.status, []).append(kind)
    return {str(status): _problem(kinds) for status, kinds in sorted(by_status.items())}


def _problem(kinds: list[type[DrayError]]) -> Json:
    description = " ".join(f"`{kind.code}`: {title(kind)}." for kind in kinds)
    schema = {"$ref": REF.format(name="Problem")}
    return {"description": description, "content": {MEDIA_TYPE: {"schema": schema}}}
