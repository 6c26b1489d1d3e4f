"""The resolvers of glibc and musl, as pods have them, against the golden table of cluster DNS in a kernel namespace."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pybernetes.dns.names import name_of, reversed_address, unpacked
from support import kernel
from support.dns_golden import GOLDEN, Case, searched
from support.dns_node import ADDRESSES, SIX, Node, node

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(bool(kernel.missing()), reason=f"needs {kernel.missing()}")]
SOURCE = Path(__file__).resolve().parent.parent / "support" / "resolve.c"
COMPILERS = {"glibc": ("gcc",), "musl": ("musl-gcc", "-static")}
FAMILIES = {"A": "4", "AAAA": "6"}


@pytest.fixture(scope="module")
def servers() -> Iterator[Node]:
    with node() as found:
        yield found


@pytest.fixture(scope="module", params=sorted(COMPILERS))
def resolver(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """(libc, program)"""
    compiler = COMPILERS[request.param]
    if not shutil.which(compiler[0]):
        pytest.skip(f"needs {compiler[0]}")
    program = tmp_path_factory.mktemp(request.param) / "resolve"
    subprocess.run([*compiler, "-O1", "-Wall", "-Werror", "-o", str(program), str(SOURCE)], check=True, timeout=60)
    return request.param, str(program)


def resolve(node: Node, program: str, scratch: Path, *, server: str, questions: list[str]) -> dict[str, list[str]]:
    """What a libc finds, by question as resolve.c reads it; nothing when it fails."""
    out = node.run_as_pod([program], scratch, server=server, text="\n".join(questions) + "\n")
    found = {}
    for line in out.splitlines():
        kind, name, status, *values = line.split()
        found[f"{kind} {name}"] = sorted(set(values)) if status == "0" else []
    assert len(found) == len(set(questions)), out
    return found


def question_of(case: Case) -> str:
    """A case as a question to a libc; "" for what it cannot ask."""
    if case.usual and case.type in FAMILIES:
        return f"{FAMILIES[case.type]} {case.name}."
    address = reversed_address(name_of(case.name)) if case.usual and case.type == "PTR" else None
    return f"PTR {unpacked(address)}" if address else ""


def wanted_of(case: Case) -> list[str]:
    """Addresses; of several PTR records a libc tells one."""
    return sorted(line.partition(" ")[2].rstrip(".") for line in case.answer if line.startswith(f"{case.type} "))


@pytest.mark.parametrize("name", sorted(ADDRESSES))
def test_every_rule(servers: Node, resolver: tuple[str, str], tmp_path: Path, name: str) -> None:
    libc, program = resolver
    address = ADDRESSES[name]
    cases = {text: case.at(address) for case in GOLDEN if case.server == name and (text := question_of(case))}
    found = resolve(servers, program, tmp_path, server=address, questions=list(cases))
    wrong = {}
    for question, case in cases.items():
        seen, wanted = found[question], wanted_of(case)
        if case.count:
            # musl of before 1.2.4 asks over UDP only, and no musl tells more than 48
            good = len(seen) == case.count or (libc == "musl" and 20 < len(seen) < case.count)
        elif case.type == "PTR":
            good = seen == wanted or (len(seen) == 1 and seen[0] in wanted)
        else:
            good = seen == wanted
        if not good:
            wrong[question] = (seen, wanted)
    assert not wrong, "\n".join(f"{case}: {found}" for case, found in wrong.items())


@pytest.mark.parametrize("server", [ADDRESSES["default"], SIX])
def test_names_as_pods_ask_for_them(servers: Node, resolver: tuple[str, str], tmp_path: Path, server: str) -> None:
    wanted = searched(ADDRESSES["default"])
    found = resolve(servers, resolver[1], tmp_path, server=server, questions=[f"0 {name}" for name in wanted])
    assert found == {f"0 {name}": sorted(addresses) for name, addresses in wanted.items()}
