"""`Plan`: what `[alerts]` says: the rules, the channels, and how far a webhook may reach.

defaults = true                    the rules that every service has (rules.toml)
send = ["notebook", "log", "ops"]  where rules go that do not say; by default to every channel there is
allow = ["10.0.0.5"]               addresses beside the public internet that a webhook may go to

[alerts.channels]
[alerts.rules.NAME]  see rule.py
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from nbdeploy.errors import NotFound, UnknownOption, WrongUse
from nbdeploy.watch.channels import OURS, Address, address_of
from nbdeploy.watch.reach import Reach
from nbdeploy.watch.rule import Rule

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

KEYS = ("rules", "channels", "send", "allow", "defaults")
WHERE = "[alerts]"


@dataclass(frozen=True)
class Plan:
    rules: Mapping[str, Rule] = field(default_factory=dict)  # built in and of the settings
    addresses: Mapping[str, Address] = field(default_factory=dict)
    send: tuple[str, ...] = OURS
    reach: Reach = field(default_factory=Reach)

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> Plan:
        """Raises WrongUse, UnknownOption, NotFound: everything is read before anything is watched."""
        for key in table:
            if key not in KEYS:
                raise UnknownOption(str(key), f"key (of {WHERE})", KEYS)
        given = {key: _table(table.get(key, {}), key) for key in ("channels", "rules")}
        addresses = {
            name: address_of(name, address, f"{WHERE}.channels") for name, address in given["channels"].items()
        }
        known = (*OURS, *addresses)
        made = cls(
            {**(built_in() if _flag(table.get("defaults", True)) else {}), **_rules(given["rules"])},
            addresses,
            _channels(table.get("send", known), known, f"send of {WHERE}"),
            Reach.of(_list(table.get("allow", ()), "allow"), WHERE),
        )
        for rule in made.rules.values():
            made.check(rule)
        return made

    @property
    def channels(self) -> tuple[str, ...]:
        return (*OURS, *self.addresses)

    def check(self, rule: Rule) -> Rule:
        """Raises NotFound where the rule goes to a channel that there is not."""
        _channels(rule.send or (), self.channels, f"the rule {rule.name}")
        return rule

    def to(self, rule: Rule) -> tuple[str, ...]:
        """Its channels."""
        return self.send if rule.send is None else rule.send

    def of_name(self, name: str, own: Mapping[str, Mapping[str, Any] | None]) -> list[Rule]:
        """Those of a service: `own` were added in a notebook, None is a built-in one switched off."""
        found = {key: rule for key, rule in self.rules.items() if not rule.names or name in rule.names}
        for key, table in own.items():
            if table is not None:
                found[key] = Rule.of(key, table, "notebook", f"the rule {key}")
            elif key in found and found[key].source == "built in":
                del found[key]
        return list(found.values())


@cache
def built_in() -> dict[str, Rule]:
    tables = tomllib.loads(files(__package__).joinpath("rules.toml").read_text(encoding="utf-8"))
    return {name: Rule.of(name, table, "built in") for name, table in tables.items()}


def _rules(tables: Mapping[str, Any]) -> dict[str, Rule]:
    found = {}
    for name, table in tables.items():
        where = f"{WHERE[:-1]}.rules.{name}]"
        if not isinstance(table, dict):
            raise WrongUse(f'{where} is {table!r}, no table: write when = "error_rate>0.05" in a table of that name.')
        found[name] = replace(Rule.of(name, table, "settings", where).check_shares(), source="settings")
    return found


def _table(given: Any, key: str) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise WrongUse(f"{key} of {WHERE} is no table.")
    return given


def _flag(given: Any) -> bool:
    if not isinstance(given, bool):
        raise WrongUse(f"defaults = {given!r} in {WHERE} is neither true nor false.")
    return given


def _list(given: Any, key: str) -> list[str]:
    if isinstance(given, str) or not all(isinstance(item, str) for item in given):
        raise WrongUse(f"{key} = {given!r} in {WHERE} is no list of texts.")
    return list(given)


def _channels(given: Any, known: Iterable[str], where: str) -> tuple[str, ...]:
    """An address is not repeated: it may hold a secret."""
    for name in _list(given, "send"):
        if "://" in name:
            raise WrongUse(
                f"A channel of {where} is an address, which stands in {WHERE[:-1]}.channels] alone: "
                'write it there as ops = "...", and ops here.'
            )
        if name not in known:
            raise NotFound(f"channel (of {where})", name, list(known))
    return tuple(dict.fromkeys(given))
