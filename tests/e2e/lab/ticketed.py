"""A whole site on this machine that works by change tickets: a desk, the lab's hosts, `upkeep up`."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.lab.controller import QUICK, UPKEEP, Controller, versions
from tests.e2e.lab.served import free_ports, until
from tests.ticketing import CLOSED, SCHEMES, SECRET, Office, office
from upkeep.domain.ticket_source import Kind
from upkeep.lab.lab import Lab
from upkeep.lab.tickets.desk import IMPLEMENT, READY
from upkeep.lab.tickets.sending import Target

SETTINGS = dict(text.split("=") for text in QUICK)


@contextmanager
def desk_for(lab: Lab, folder: Path, kind: Kind, **settings: str) -> Iterator[tuple[Office, Controller]]:
    """A desk about the lab's hosts, and a controller whose tickets.yaml leads to it."""
    change = {"plan": str(lab.plan_path), "inventory": str(lab.inventory_path), "settings": SETTINGS | settings}
    with office(folder, kind, lab.plan_path, lab.inventory_path, changes={"agent": change}) as opened:
        yield opened, Controller(opened.home, {k: v for k, v in opened.environ.items() if k.startswith("DESK_")})


@contextmanager
def up(controller: Controller, folder: Path) -> Iterator[int]:
    """`upkeep up`; the port of its web application."""
    port, pages_port = free_ports(2)
    words = [UPKEEP, "up", "--port", str(port), "--pages-port", str(pages_port)]
    with (folder / "up.log").open("wb") as log:
        process = subprocess.Popen(words, env=controller.environment(), stdout=log, stderr=log, cwd="/")
    try:
        yield pages_port
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0, (folder / "up.log").read_text()


def from_approval_to_closed(lab: Lab, folder: Path, kind: Kind) -> None:
    """Ticket opened, approved, implemented → webhook → run → notes → closed; nothing of it twice."""
    with desk_for(lab, folder, kind) as (desk_office, controller), up(controller, folder) as pages_port:
        store = desk_office.desk.store
        url = f"http://127.0.0.1:{pages_port}/webhooks/{kind}"
        desk_office.desk.send_to(Target(url, SECRET, SCHEMES[kind]))
        number = desk_office.ticket(sorted(versions(lab)), state=READY[kind], approval="requested").id
        store.change(number, approval="approved")
        store.change(number, state=IMPLEMENT[kind])
        until(
            lambda: (held := store.get(number)) is not None and held.state == CLOSED[kind],
            480,
            lambda: (store.get(number), controller("tickets").stdout, (folder / "up.log").read_text()[-3000:]),
        )
        assert set(versions(lab).values()) == {"1.5.0"}
        code, listed = controller("history", "list", "--json").returncode, controller("tickets", "--json").stdout
        assert code == 0, listed
        site = desk_office.site()
        runs = site.history.runs()
        assert [(run.source, run.ticket, run.actor) for run in runs] == [("webhook", f"{kind}/{number}", "Mia Change")]
        held = store.get(number)
        assert held is not None
        began = [note for note in held.notes if f"run {runs[0].id} has begun" in note]
        over = [note for note in held.notes if f"run {runs[0].id} is over: succeeded" in note]
        stages = [note for note in held.notes if ": stage " in note]
        assert (len(began), len(over), len(stages)) == (1, 1, len(site.history.run(runs[0].id).stages)), held.notes
        assert len(set(held.notes)) == len(held.notes)
        assert runs[0].id in over[0].split("upkeep history export ")[1]
        until(lambda: not site.outbox.all(unsent=True))
        site.history.close()
