"""Every mistake in a document is told with file, line, key, what was found and what is allowed."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from upkeep.documents import built_in_profiles, compose, load_inventory, load_plan, load_profile, loading, profile_path
from upkeep.domain.inventory import Inventory
from upkeep.domain.plan import Plan
from upkeep.errors import BadInput

PLAN = """\
name: up
profile: ms-720
release: release.json
"""
PROFILE = """\
name: nats-agent
service: {unit: nats-agent.service}
paths:
  binary: /usr/local/bin/nats-agent
  releases: /opt/nats-agent/releases
  upkeep: /var/lib/upkeep/nats-agent
installer: {binary_member: "*/nats-server"}
installed_version: {command: [nats-agent, --version]}
running_version: {url: "http://127.0.0.1:8222/varz"}
"""

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def to_file(text: str, name: str = "site.yaml") -> Path:
        path = tmp_path / name
        path.write_text(dedent(text))
        return path

    return to_file


def refusal_of(load: Callable[[Path], object], path: Path) -> str:
    with pytest.raises(BadInput) as caught:
        load(path)
    return str(caught.value).replace(f"{path.parent}/", "")


def test_a_good_inventory_is_read(write: Write) -> None:
    inventory = load_inventory(
        write("""\
        defaults: {user: ops, labels: {env: prod}}
        groups:
          web: {vars: {port: 8222}}
        hosts:
          h1: {address: 10.0.0.1, groups: [web], jump: bastion}
          h2:
        """)
    )
    assert inventory.host("h1").variables()["port"] == "8222"
    assert inventory.host("h2").reach.user == "ops"


def test_labels_and_vars_keep_what_was_written(write: Write) -> None:
    path = write(
        "hosts: {h1: {labels: {country: NO, rack: 007}, vars: {version: 1.10, mode: 0644, on: on, hex: 0x1F}}}"
    )
    host = load_inventory(path).host("h1")
    assert host.labels == {"country": "NO", "rack": "007"}
    assert host.vars == {"version": "1.10", "mode": "0644", "on": "on", "hex": "0x1F"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "hots:\n  h1: {}\n",
            "site.yaml:1: hots: unknown key 'hots'; allowed: defaults, groups, hosts; do: did you mean 'hosts'?",
        ),
        ("hosts:\n  h1: {adress: x}\n", "site.yaml:2: hosts.h1.adress: unknown key 'adress'"),
        (
            "hosts:\n  h1:\n    port: ssh\n",
            "site.yaml:3: hosts.h1.port: has the wrong type; found: ssh (text); allowed: a whole number",
        ),
        ("hosts:\n  h1:\n    port: 2.5\n", "found: 2.5 (a number); allowed: a whole number"),
        ("hosts:\n  h1:\n    port: 70000\n", "out of range; found: 70000 (a whole number); allowed: at most 65535"),
        (
            "hosts:\n  h1: {user: NO}\n",
            'hosts.h1.user: has the wrong type; found: NO (a boolean); allowed: text; do: write it in quotes: "NO"',
        ),
        ("hosts:\n  h1: {address: 1.10}\n", 'do: write it in quotes: "1.10"'),
        ("hosts:\n  h1: {become: sud}\n", "allowed: sudo, none; do: did you mean 'sudo'?"),
        (
            "hosts:\n  h1:\n  h1:\n",
            "site.yaml:3: hosts.h1: duplicate host 'h1', first at line 2; allowed: each host once",
        ),
        ("hosts: {a: {}}\ngroups: {b: {}, b: {}}\n", "duplicate group 'b', first at line 2"),
        ("hosts: {a: {port: 1, port: 2}}\n", "hosts.a.port: duplicate key 'port', first at line 1"),
        (
            "hosts:\n  a: {address: 10.0.0.1}\n  b: {address: 10.0.0.1}\n",
            "site.yaml:3: hosts.b: hosts 'a' and 'b' are the same machine",
        ),
        (
            "hosts:\n  a: {groups: [web]}\n",
            "site.yaml:2: hosts.a: host 'a' is in group 'web', which is not under groups; allowed: none",
        ),
        ("hosts:\n  a: {address: 'a;reboot'}\n", "'a;reboot' is not an address"),
        ("hosts:\n  'a b': {}\n", "site.yaml:2: hosts.a b: is not a name"),
        ("hosts: {}\n", "site.yaml:1: hosts: has too few entries; found: a mapping of 0 keys; allowed: at least 1"),
        ("groups: {}\n", "site.yaml:1: hosts: 'hosts' is missing; do: add 'hosts'"),
        ("hosts: [a, b]\n", "site.yaml:1: hosts: has the wrong type; found: a list of 2; allowed: a mapping"),
        ("just text\n", "site.yaml:1: has the wrong type; found: just text (text); allowed: a mapping"),
        ("hosts: {a: {vars: {token: [1]}}}\n", "found: a value that is not shown"),
    ],
)
def test_a_wrong_inventory_is_told_in_plain_words(write: Write, text: str, said: str) -> None:
    assert said in refusal_of(load_inventory, write(text))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("target: env=prod", "site.yaml:4: target: unknown key 'target'"),
        ("down_budget_pct: 120", "down_budget_pct: is out of range; found: 120 (a whole number); allowed: at most 100"),
        ("stages: [canary, {pct: 101}]", "stages[1].pct: is out of range"),
        ("stages: [canary, 120%]", "stages[1]: is out of range; found: 120% (text); allowed: at most 100"),
        (
            "stages: [canary, most]",
            "stages[1]: 'most' is not a stage; found: most (text); allowed: canary, a share like 25%",
        ),
        ("stages: [canary, 25%]", "site.yaml:4: stages: stages never reach the whole fleet"),
        ("stages: [canary, 50%, 25%]", "shares are cumulative and must rise"),
        ("stages: [{count: 1, pct: 2}]", "site.yaml:4: stages[0]: a stage needs exactly one of"),
        (
            "soak: {canary: 2 parsecs}",
            "soak.canary: is not a duration; write 90s, 5m, 2h or 7d; found: 2 parsecs (text)",
        ),
        ("dead_man: 1m", "site.yaml:4: dead_man: dead_man (60 s) must be longer than healthy_deadline"),
        ("targets: 'env=prod,,'", "targets: 'env=prod,,' has an empty term"),
        ("on_stop: keap", "allowed: keep, roll back stage, roll back all; do: did you mean 'keep'?"),
        ("known_errors: ['(']", "known_errors[0]: '(' is not a regular expression"),
        ("seed: 010", "site.yaml:4: seed: a number with a leading zero is octal"),
        ("soak: {canary: .inf}", "infinity and not-a-number"),
        ("soak: {canary: 1e999}", "too large"),
        ("soak: {canary: 1e300}", "too large"),
        pytest.param(f"seed: {'9' * 5000}", "too long", id="a number of 5000 digits"),
        ("known_errors: ['a{99999999999}']", "too large"),
        ("name: again", "site.yaml:4: name: duplicate key 'name', first at line 1"),
    ],
)
def test_a_wrong_plan_is_told_in_plain_words(write: Write, line: str, said: str) -> None:
    assert said in refusal_of(load_plan, write(f"{PLAN}{line}\n"))


def test_several_mistakes_are_told_at_once_ten_at_most(write: Write) -> None:
    text = "seed: x\nat_once: 0\non_stop: no\n"
    said = refusal_of(load_plan, write(PLAN + text)).splitlines()
    assert said[0].startswith("site.yaml:4: seed: has the wrong type")
    assert said[1] == "these 2 are wrong as well:"
    assert [line.split(":")[1] for line in said[2:]] == ["5", "6"]
    many = "".join(f"x{n}: 1\n" for n in range(30))
    said = refusal_of(load_plan, write(PLAN + many)).splitlines()
    assert len(said) == 12
    assert said[-1] == "  and 20 more"


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        (
            "0644",
            'a number with a leading zero is octal to some readers and decimal to others; found: 0644; do: write "0644" in quotes',
        ),
        ("644", 'files[0].mode: is not a file mode; write it in quotes, "0644"; found: 644 (a whole number)'),
    ],
)
def test_a_file_mode_without_quotes_gets_a_helpful_message(write: Write, mode: str, said: str) -> None:
    path = write(f"{PROFILE}files:\n  - {{path: /etc/nats, mode: {mode}}}\n")
    refusal = refusal_of(lambda p: load_profile(p.name, p.parent), path)
    assert said in refusal
    assert refusal.startswith("site.yaml:11:")


def test_alternatives_of_one_value_are_one_message(write: Write) -> None:
    path = write(f"{PROFILE}probes: {{tcp: [{{id: a, address: b, port: [1]}}]}}\n")
    refusal = refusal_of(lambda p: load_profile(str(p), Path()), path)
    assert "found: a list of 1; allowed: a whole number or text" in refusal
    assert "\n" not in refusal


def test_a_missing_key_says_what_it_is_for(write: Write) -> None:
    path = write("name: up\nprofile: ms-720\n")
    assert "site.yaml:1: release: 'release' is missing; do: add 'release': Signed release manifest" in refusal_of(
        load_plan, path
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1\nb: 2", "is not YAML"),
        ("a: 'x", "is not YAML"),
        ("a: b: c", "site.yaml:1: is not YAML"),
        ("hosts:\n\th1: {}", "site.yaml:2: a tab is used to indent; found: h1: {}; do: indent with spaces"),
        ("a: 1\n---\nb: 2\n", "site.yaml:2: holds several documents"),
        (
            "a: !!python/object/apply:os.system [id]",
            "site.yaml:1: a: a tag is not understood; found: tag:yaml.org,2002:python",
        ),
        ("a: !secret x", "a tag is not understood; found: !secret"),
        ("a: !!set {b}", "a tag is not understood"),
        ("a: !!int x", "does not fit its tag"),
        ("a: *b", "alias"),
        ("a: &a [*a]", "points at nothing complete"),
        ("a: &a {b: 1}\nc: {<<: *a}", "site.yaml:2: c.<<: merge keys are not understood"),
        ("? [a]\n: b", "a key is a mapping or a list"),
        ("? {a: b}\n: b", "a key is a mapping or a list"),
        ("a: &a b\n*a : c", "a key is an alias"),
        ("# nothing here\n", "is empty"),
        ("  \n", "is empty"),
        ("a: \x07", "is not YAML"),
    ],
)
def test_text_that_is_not_one_plain_yaml_document_is_refused(write: Write, text: str, said: str) -> None:
    assert said in refusal_of(load_plan, write(text))


def test_harmless_yaml_is_understood(write: Write) -> None:
    plan = load_plan(
        write(f"%YAML 1.2\n---\n{PLAN}soak: &s {{canary: !!str 2m, other: 1.5m}}\nat_once: !!int 7\nseed: 0x10\n...\n")
    )
    assert (plan.soak.canary, plan.at_once, plan.seed) == (timedelta(minutes=2), 7, 16)
    path = write("hosts: {a: &x {user: ops}, b: *x, c: {address: 'NO', user: 'on'}}")
    assert load_inventory(path).host("b").reach.user == "ops"


def test_files_that_cannot_be_read_are_each_told(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"name: up\nnotes: caf\xe9\n")
    (tmp_path / "utf16.yaml").write_bytes("name: up".encode("utf-16"))
    (tmp_path / "empty.yaml").write_bytes(b"")
    (tmp_path / "huge.yaml").write_bytes(b"# " + b"x" * 4 * 1024**2)
    (tmp_path / "bom.yaml").write_bytes(b"\xef\xbb\xbf" + PLAN.encode())
    expected = {
        "missing.yaml": "missing.yaml: there is no such file",
        ".": "is a directory",
        "latin.yaml": "latin.yaml:2: is not UTF-8; found: byte 0xe9",
        "utf16.yaml": "is not UTF-8",
        "empty.yaml": "empty.yaml: is empty",
        "huge.yaml": "is too large",
        "a\0b": "cannot be read",
    }
    for name, said in expected.items():
        assert said in refusal_of(load_plan, tmp_path / name), name
    assert load_plan(tmp_path / "bom.yaml").name == "up"
    with pytest.raises(BadInput, match="too large"):
        load_plan(Path("/dev/zero"))


def test_a_file_that_you_may_not_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(PLAN)
    path.chmod(0)
    if os.geteuid() == 0:  # root may read everything
        monkeypatch.setattr(Path, "open", _forbidden)
    assert "may not be read by you" in refusal_of(load_plan, path)


def _forbidden(*_: object, **__: object) -> None:
    raise PermissionError(13, "Permission denied")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "a0: &a0 [x,x,x,x,x,x,x,x,x]\n"
            + "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)),
            "aliases blow",
        ),
        ("a: &a {k: v}\nb: [" + "*a," * 6000 + "]", "aliases blow"),
        ("a: " + "[" * 100_000, "nested too deeply"),
        ("a: " + "{b: " * 60 + "}" * 60, "nested too deeply"),
        (
            "".join(f"a{n}: &a{n} [[[[[[[*a{n - 1}]]]]]]]\n" if n else "a0: &a0 [x]\n" for n in range(12)),
            "nested too deeply",
        ),
        ("- " * 100_000, "nested too deeply"),
    ],
    ids=["laughs", "flat laughs", "deep", "deep mapping", "deep aliases", "deep block"],
)
def test_bombs_are_refused_quickly(write: Write, text: str, said: str) -> None:
    path = write(text)
    began = time.process_time()
    assert said in refusal_of(load_plan, path)
    assert time.process_time() - began < 1


def test_a_document_of_very_many_values_is_refused(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compose, "MAX_NODES", 1000)
    assert "site.yaml:1: holds too many values; allowed: 1000 values" in refusal_of(
        load_plan, write(f"a: [{'x,' * 1000}]")
    )


def test_an_inventory_of_a_thousand_hosts_is_fine(write: Write) -> None:
    hosts = "".join(f"  h{n}:\n    address: 10.{n >> 8}.{n & 255}.1\n    labels: {{zone: b}}\n" for n in range(1000))
    assert len(load_inventory(write("hosts:\n" + hosts)).hosts) == 1000


def test_overrides_take_the_place_of_what_the_file_says(write: Write) -> None:
    path = write(PLAN + "stages: [canary, {pct: 100, soak: 1m}]\n")
    overrides = {"soak.canary": "2m", "stages[1].soak": "3s", "seed": "7", "targets": "env=prod,zone!=b", "notes": ""}
    with pytest.raises(BadInput, match="--set notes"):
        load_plan(path, overrides)
    plan = load_plan(path, {**overrides, "notes": "''"})
    assert (plan.soak.canary, plan.seed, plan.targets) == (timedelta(minutes=2), 7, "env=prod,zone!=b")
    assert plan.stages[1].soak == timedelta(seconds=3)
    assert len(load_plan(path, {"stages": '["canary","100%"]'}).stages) == 2
    assert load_plan(path, {"stages.0": "{canary: {at_least: 5}}"}).stages[0].canary


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("soak.canary", "2 parsecs", "--set soak.canary: soak.canary: is not a duration"),
        ("sok.canary", "2m", "--set sok.canary: sok: unknown key 'sok'"),
        ("stages", "[canary, 150%]", "--set stages: stages[1]: is out of range"),
        ("stages", "[canary", "--set stages: is not YAML"),
        ("stages.5", "1", "--set stages.5: there is no position '5' in this list; found: a list of 1; allowed: 0 to 0"),
        ("stages.x", "1", "there is no position 'x'"),
        ("name.x", "1", "--set name.x: cannot set a key 'x' inside a single value"),
        ("", "1", "is not a key"),
        ("a..b", "1", "is not a key"),
        ("name", "1.50", 'found: 1.50 (a number); do: if it is text, write it in quotes: "1.50"'),
        ("profile", "1.50", 'do: write it in quotes: "1.50"'),
        ("name", "a\udcff", "--set name"),
        ("seed", "!!python/name:os x", "a tag is not understood"),
    ],
)
def test_a_wrong_override_is_named_as_given(write: Write, key: str, value: str, said: str) -> None:
    path = write(PLAN + "stages: [100%]\n")
    assert said in refusal_of(lambda p: load_plan(p, {key: value}), path)


def test_an_override_of_a_shared_part_changes_one_place_only(write: Write) -> None:
    path = write(PLAN + "failures:\n  canary: &r {at_least: 2}\n  precheck: *r\n")
    plan = load_plan(path, {"failures.canary.at_least": "5"})
    assert (plan.failures.canary.at_least, plan.failures.precheck.at_least) == (5, 2)


def test_a_profile_is_built_in_or_a_file_beside_the_plan(write: Write, tmp_path: Path) -> None:
    path = write(PROFILE, "nats.yaml")  # type: ignore[call-arg]
    plan = tmp_path / "plan.yaml"
    plan.write_text(PLAN)
    assert load_profile("nats.yaml", plan).name == load_profile("nats.yaml", tmp_path).name == "nats-agent"
    assert profile_path("nats.yaml", plan) == path
    assert "there is no such file" in refusal_of(lambda _: load_profile("missing.yaml", plan), plan)
    assert "there is no profile 'nuts'" in refusal_of(lambda _: load_profile("nuts", plan), plan)


def test_a_built_in_profile_is_found_by_name_from_anywhere(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(PROFILE)
    monkeypatch.setattr(loading, "built_in_profiles", lambda: {"nats": path})
    assert load_profile("nats", Path("/nowhere/plan.yaml")).name == "nats-agent"
    with pytest.raises(BadInput, match=r"allowed: nats, or a file ending in \.yaml; do: did you mean 'nats'\?"):
        load_profile("nat", Path("/nowhere/plan.yaml"))


def test_every_profile_that_comes_with_upkeep_can_be_read() -> None:
    for name, path in built_in_profiles().items():
        assert load_profile(name, Path()).name == path.stem


def read_or_refused(load: Callable[[Path], object], path: Path) -> object:
    try:
        return load(path)
    except BadInput as refused:
        return refused


YAML_LIKE = st.text(alphabet=st.sampled_from(list("ab1.:-,[]{}&*!|>'\"#%?~\n\t 0xeNo<\\/é\u2028\x00\x85")), max_size=60)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.one_of(YAML_LIKE, st.text(max_size=40)),
    body=st.sampled_from(["", "hosts: ", "name: a\nstages: ", "soak: {canary: "]),
)
def test_any_text_is_read_or_refused_and_never_anything_else(tmp_path: Path, text: str, body: str) -> None:
    path = tmp_path / "any.yaml"
    path.write_bytes((body + text).encode("utf-8", "surrogatepass"))
    for load in (load_inventory, load_plan):
        outcome = read_or_refused(load, path)
        assert isinstance(outcome, (Inventory, Plan)) or str(path) in str(outcome)


SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8))
TREES = st.recursive(
    SCALARS, lambda t: st.lists(t, max_size=3) | st.dictionaries(st.text(max_size=5), t, max_size=3), max_leaves=8
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.sampled_from(sorted(Plan.model_fields)), value=TREES)
def test_any_value_under_any_key_of_a_plan_is_read_or_refused_by_line(tmp_path: Path, key: str, value: object) -> None:
    path = tmp_path / "plan.yaml"
    lines = {"name": "up", "profile": "p", "release": "r", key: value}
    path.write_text("".join(f"{name}: {json.dumps(given)}\n" for name, given in lines.items()))
    outcome = read_or_refused(load_plan, path)
    assert isinstance(outcome, Plan) or re.search(r"plan\.yaml(:\d+)?: ", str(outcome))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.text(max_size=12), value=YAML_LIKE)
def test_any_override_is_taken_or_refused(tmp_path: Path, key: str, value: str) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(PLAN)
    outcome = read_or_refused(lambda p: load_plan(p, {key: value}), path)
    assert isinstance(outcome, Plan) or "--set" in str(outcome) or "plan.yaml" in str(outcome)
