"""A profile for one host: its `{{ placeholders }}` filled from the profile's and the host's variables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

from upkeep.documents.node import Loc, dotted
from upkeep.documents.reading import keys_only, validated
from upkeep.domain.inventory import Host
from upkeep.domain.profile import AgentProfile
from upkeep.domain.template import MissingVariable, fill
from upkeep.errors import BadInput, Place

_MOST_NAMED = 10
_CHECK: Loc = ("installer", "config_check")
_LEFT_ALONE = {"candidate": "{{ candidate }}"}


def resolve(profile: AgentProfile, host: Host) -> AgentProfile:
    """The profile with its placeholders filled for `host`; `{{ candidate }}` in installer.config_check stays.

    The host's vars and labels win over the profile's vars; a profile's var may use the host's and those above it.

    Raises:
        BadInput: a variable is missing (host, key, placeholder and remedy are named), or a filled text is not allowed.
    """
    data = profile.model_dump(mode="json")
    variables, missing = _variables(profile, host)
    missing.extend(_missing(data, variables, ()))
    if missing:
        raise _no_value(profile, host, missing)
    file = f"profile {profile.name} for host {host.name}"
    return validated(_filled(data, variables, ()), AgentProfile, partial(keys_only, file), file=file)


Missing = tuple[Loc, MissingVariable]


def _variables(profile: AgentProfile, host: Host) -> tuple[dict[str, str], list[Missing]]:
    own = host.variables()
    variables, missing = dict(own), list[Missing]()
    for name, text in profile.vars.items():
        if name in own:
            continue
        try:
            variables[name] = fill(text, variables)
        except MissingVariable as error:
            missing.append((("vars", name), error))
            variables[name] = ""
    return variables, missing


def _texts(value: object, loc: Loc) -> Iterator[tuple[Loc, str]]:
    if isinstance(value, str):
        yield loc, value
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from _texts(item, (*loc, position))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _texts(item, (*loc, key))


def _missing(data: Mapping[str, object], variables: Mapping[str, str], loc: Loc) -> Iterator[Missing]:
    for at, text in _texts(data, loc):
        if at[:1] == ("vars",):
            continue
        try:
            _fill_at(text, variables, at)
        except MissingVariable as error:
            yield at, error


def _filled(value: object, variables: Mapping[str, str], loc: Loc) -> object:
    if isinstance(value, str):
        return _fill_at(value, variables, loc)
    if isinstance(value, list):
        return [_filled(item, variables, (*loc, position)) for position, item in enumerate(value)]
    if isinstance(value, dict):
        if loc == ("vars",):
            return {key: variables[key] for key in value}
        return {key: _filled(item, variables, (*loc, key)) for key, item in value.items()}
    return value


def _fill_at(text: str, variables: Mapping[str, str], loc: Loc) -> str:
    return fill(text, {**variables, **_LEFT_ALONE} if loc[:2] == _CHECK else variables)


def _no_value(profile: AgentProfile, host: Host, missing: list[Missing]) -> BadInput:
    loc, first = missing[0]
    names = list(dict.fromkeys(error.name for _, error in missing))
    listed = ", ".join(f"'{name}'" for name in names[:_MOST_NAMED])
    others = f"; without a value: {listed}" if len(names) > 1 else ""
    return BadInput(
        f"host '{host.name}' has no value for {{{{ {first.name} }}}}{others}",
        place=Place(f"profile {profile.name}", None, dotted(loc)),
        found=first.text,
        allowed=", ".join(sorted({*host.variables(), *profile.vars})),
        remedy=f"set vars.{first.name} for the host, its group or the defaults in the inventory, or under vars in the profile",
    )
