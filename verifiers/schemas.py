"""The verifier of structured output: JSON that a JSON Schema describes.

By jsonschema, with an empty registry (a `$ref` to an address is never fetched), RE2 for every pattern, and fuel.
"""

from __future__ import annotations

import contextvars
import functools
import json
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

from verifiers import json_texts, patterns
from verifiers.extraction import after_thinking
from verifiers.judging import fences
from verifiers.types import Outcome, Problem, Verdict

MAX_STEPS = 5_000  # Keywords applied to values.
_MAX_DEPTH = 200  # Keywords inside each other. Python's own limit comes later, where a library raises no `Exception`.
_WORK_PER_STEP = patterns.MAX_WORK // MAX_STEPS  # Characters times instructions of a pattern's program.
_DATA = ("const", "enum", "examples", "default")  # What stands there is no schema.
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")


class _Fuel:
    """The steps left; the depth of keywords; the references that are being followed, each with the value it judges."""

    def __init__(self) -> None:
        self.left, self.depth = MAX_STEPS, 0
        self.followed: set[tuple[int, int]] = set()


_fuel: contextvars.ContextVar[_Fuel] = contextvars.ContextVar("fuel")


class BadSchemaError(ValueError):
    """The problem's own answer is no schema that can be checked."""


def json_schema(problem: Problem, completion: str) -> Verdict:
    """Correct iff the completion is JSON that is valid under the problem's schema.

    The JSON is the last closed code fence after the thinking, else the whole text; nothing may stand beside it there.
    NaN and an object with one key twice are no JSON.

    Args:
      problem: `answer` is the schema, as JSON data or a text of it; draft 2020-12, unless "$schema" names another.
        "format" is not checked. Patterns are in the syntax of RE2.
      completion: what the policy wrote.
    """
    try:
        validator = _validator(_key(problem.answer))
    except BadSchemaError as error:
        return Verdict(0, Outcome.ERROR, reason=f"the problem's answer: {error}"[:300])
    if len(completion) > json_texts.MAX_LENGTH:
        why = f"the completion has {len(completion)} characters, more than {json_texts.MAX_LENGTH}"
        return Verdict(0, Outcome.LIMIT, reason=why)
    text = fences.program(completion) if after_thinking(completion) is not None else None
    if text is None:
        return Verdict(0, Outcome.UNPARSED, reason="nothing stands after the thinking")
    said = text.strip()[:200]
    try:
        value = json_texts.read(text)
        why = _first_fault(validator, value)
    except json_texts.NotJsonError as error:
        return Verdict(0, Outcome.UNPARSED, said, str(error)[:200])
    except json_texts.TooLargeError as error:
        return Verdict(0, Outcome.LIMIT, said, str(error)[:200])
    except BadSchemaError as error:
        return Verdict(0, Outcome.ERROR, said, f"the problem's answer: {error}"[:300])
    if why is None:
        return Verdict(1, Outcome.CORRECT, said, "valid")
    return Verdict(0, Outcome.INCORRECT, said, why)


def _first_fault(validator: Any, value: Any) -> str | None:
    from referencing.exceptions import Unresolvable

    token = _fuel.set(_Fuel())
    try:
        error = next(validator.iter_errors(value), None)
    except Unresolvable as error:
        raise BadSchemaError(f"a $ref leads nowhere, and nothing is fetched: {error}") from None
    except RecursionError:  # Its caller is deep in calls.
        raise json_texts.TooLargeError("too deep to be checked") from None
    finally:
        _fuel.reset(token)
    return None if error is None else f"{error.json_path}: {error.message}"[:300]


def _key(schema: Any) -> str:
    try:
        schema = json_texts.read(schema) if isinstance(schema, str) else schema
        text = json.dumps(schema, allow_nan=False)
        json_texts.within_bounds(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise BadSchemaError(f"no JSON: {error}") from None
    return text


@functools.lru_cache(maxsize=512)
def _validator(text: str) -> Any:
    from jsonschema import FormatChecker, exceptions, validators
    from referencing import Registry

    schema = json.loads(text)
    if not isinstance(schema, dict | bool):
        raise BadSchemaError(f"a schema is an object or a truth value, got {schema!r:.60}")
    named = schema.get("$schema") if isinstance(schema, dict) else None
    if named is not None and not isinstance(named, str):
        raise BadSchemaError(f"$schema must be an address, got {named!r:.80}")
    kind: Any = validators.validator_for(schema, default=validators.Draft202012Validator)
    if named and kind.META_SCHEMA["$schema"].rstrip("#") != named.rstrip("#"):
        raise BadSchemaError(f"unknown $schema {named!r:.80}: use https://json-schema.org/draft/2020-12/schema")
    try:
        kind.check_schema(schema, format_checker=FormatChecker(()))  # Whose "regex" is Python's, and ours RE2's.
        _check_patterns(schema)
        _check_references(kind, schema)
    except exceptions.SchemaError as error:
        raise BadSchemaError(f"no schema: {error.json_path}: {error.message}") from None
    except patterns.BadPatternError as error:
        raise BadSchemaError(str(error)) from None
    return _bounded(kind)(schema, registry=Registry())


def _check_patterns(schema: Any) -> None:
    """Compiles every pattern, so that a bad one is found before an answer meets it."""
    if isinstance(schema, list):
        for item in schema:
            _check_patterns(item)
    elif isinstance(schema, dict):
        if isinstance(schema.get("pattern"), str):
            patterns.compiled(schema["pattern"])
        if isinstance(schema.get("patternProperties"), dict):
            for pattern in schema["patternProperties"]:
                patterns.compiled(pattern)
            if "unevaluatedProperties" in schema:
                raise BadSchemaError("patternProperties beside unevaluatedProperties is not supported")
        for name, value in schema.items():
            if name not in _DATA:
                _check_patterns(value)


def _check_references(kind: Any, schema: Any) -> None:
    """Follows every reference, so that one that leads nowhere is found before an answer comes there."""
    from jsonschema_specifications import REGISTRY
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import specification_with

    specification = specification_with(kind.META_SCHEMA["$schema"])
    whole = specification.create_resource(schema)
    waiting = [(REGISTRY.resolver_with_root(whole), whole)]
    while waiting:
        resolver, resource = waiting.pop()
        if isinstance(resource.contents, dict):
            for name in _REFERENCES:
                if isinstance(reference := resource.contents.get(name), str):
                    try:
                        resolver.lookup(reference)
                    except (Unresolvable, ValueError) as error:
                        why = f"the {name} {reference!r:.80} leads nowhere, and nothing is fetched: {error}"
                        raise BadSchemaError(why) from None
        waiting += [(resolver.in_subresource(inner), inner) for inner in resource.subresources()]


@functools.cache
def _bounded(kind: Any) -> Any:
    """A kind of validator whose keywords use up fuel, and whose patterns are RE2's."""
    from jsonschema import validators

    ours: dict[str, Callable[..., Any]] = {
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties,
        "uniqueItems": _unique_items,
        "multipleOf": _multiple_of,
    }
    keywords = {name: _counted(ours.get(name) or rule, name in _REFERENCES) for name, rule in kind.VALIDATORS.items()}
    return validators.extend(kind, keywords)


def _counted(rule: Callable[..., Any], refers: bool) -> Callable[..., Iterator[Any]]:
    def checks(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
        _spend(1 + (len(instance) // 10 if isinstance(instance, str | list | dict) else 0))
        fuel, here = _fuel.get(), (id(schema), id(instance))
        if refers and here in fuel.followed:
            raise BadSchemaError(f"the schema refers to itself without end, by {value!r:.60}")
        if fuel.depth == _MAX_DEPTH:
            raise json_texts.TooLargeError(f"more than {_MAX_DEPTH} keywords inside each other to check it")
        fuel.depth += 1
        if refers:
            fuel.followed.add(here)
        try:
            yield from rule(validator, value, instance, schema) or ()
        finally:
            fuel.depth -= 1
            if refers:
                fuel.followed.remove(here)

    return checks


def _spend(steps: int) -> None:
    fuel = _fuel.get()
    fuel.left -= steps
    if fuel.left < 0:
        raise json_texts.TooLargeError(f"more than {MAX_STEPS} steps to check it")


def _matches(pattern: str, text: str) -> bool:
    _spend(len(text) * patterns.compiled(pattern).programsize // _WORK_PER_STEP)
    return patterns.search(pattern, text)


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[Any]:
    from jsonschema.exceptions import ValidationError

    if isinstance(instance, str) and not _matches(pattern, instance):
        yield ValidationError(f"{instance!r:.80} does not match {pattern!r:.80}")


def _pattern_properties(validator: Any, rules: dict[str, Any], instance: Any, schema: Any) -> Iterator[Any]:
    if isinstance(instance, dict):
        _spend(len(rules) * len(instance) // 10)
        for pattern, rule in rules.items():
            for name, value in instance.items():
                if _matches(pattern, name):
                    yield from validator.descend(value, rule, path=name, schema_path=pattern)


def _additional_properties(validator: Any, rule: Any, instance: Any, schema: Any) -> Iterator[Any]:
    from jsonschema.exceptions import ValidationError

    if not isinstance(instance, dict):
        return
    described = schema.get("properties", {})
    by_pattern = schema.get("patternProperties", {})
    _spend(len(by_pattern) * len(instance) // 10)
    for name, value in instance.items():
        if name in described or any(_matches(pattern, name) for pattern in by_pattern):
            continue
        if rule is False:
            yield ValidationError(f"{name!r:.80} is no property that is allowed")
        else:
            yield from validator.descend(value, rule, path=name)


def _unique_items(validator: Any, unique: bool, instance: Any, schema: Any) -> Iterator[Any]:
    from jsonschema.exceptions import ValidationError

    if unique and isinstance(instance, list) and len({_canonical(item) for item in instance}) < len(instance):
        yield ValidationError("two items are equal")


def _multiple_of(validator: Any, step: Any, instance: Any, schema: Any) -> Iterator[Any]:
    from jsonschema.exceptions import ValidationError

    # As it is written: 4.35 is a multiple of 0.01, though not in binary.
    if validator.is_type(instance, "number") and Fraction(str(instance)) % Fraction(str(step)):
        yield ValidationError(f"{instance!r:.80} is not a multiple of {step!r:.80}")


def _canonical(value: Any) -> Any:
    """Equal iff the values are equal as JSON: 1 is 1.0, and not true."""
    if isinstance(value, dict):
        return "object", frozenset((name, _canonical(item)) for name, item in value.items())
    if isinstance(value, list):
        return "array", tuple(_canonical(item) for item in value)
    return ("truth" if isinstance(value, bool) else "", value)
