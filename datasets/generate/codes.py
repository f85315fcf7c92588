"""The archive of a repair service: part sheets, error codes, tickets, staff. Near twins that differ in a code or a name."""

from common import Set, pick

FIRST = ["Ada", "Bram", "Cleo", "Dov", "Edda", "Finn", "Gesa", "Hal", "Ines", "Jory", "Kit", "Lena"]
SURNAMES = [
    a + b
    for a in ["Brack", "Ostr", "Veld", "Quill", "Thorn", "Marsk", "Ingle", "Drov"]
    for b in ["enbury", "ander", "haven", "wick", "ovsky", "stad", "more", "inger"]
]
DEVICES = ["circulation pump", "passenger lift", "cooling tower", "cash register", "label printer", "door drive"]
SITES = ["Harlow", "Penrith", "Oban", "Whitby", "Ludlow", "Frome", "Kelso", "Tenby"]
MODULES = ["controller board", "shaft seal", "encoder", "fuse holder", "drive belt", "pressure sensor", "relay"]
FAULTS = [
    "stopped during the morning shift", "restarted by itself several times", "made a grinding noise",
    "showed nothing on the display", "lost its settings after a power cut", "ran hot and shut down",
]
CURES = [
    "was replaced and the unit tested for an hour", "was cleaned and put back", "was ordered and fitted two days later",
    "was found loose and tightened",
]


def part(n: int) -> str:
    """Neighbours differ in one digit or in the last letter."""
    return f"{['KX', 'KV', 'RX', 'TM'][n % 4]}-{2040 + 7 * (n // 8)}-{'AB'[n // 4 % 2]}"


def error(n: int) -> str:
    return f"{'EFH'[n % 3]}{4700 + 3 * (n // 3)}"


def ticket(n: int) -> str:
    return f"INC-{20311 + 13 * n}"


def person(n: int) -> str:
    return f"{FIRST[pick(len(FIRST), 'first', n)]} {SURNAMES[n]}"


def module_of(p: int) -> str:
    return MODULES[pick(len(MODULES), "module", p)]


def make() -> Set:
    out = Set("codes")
    for p in range(64):
        device, module = DEVICES[pick(6, "device", p)], module_of(p)
        out.document(
            f"p{p:02}", f"Part {part(p)}",
            f"{part(p)} is the {module} of the {device}. It is stocked in bay {1 + pick(40, 'bay', p)}, "
            f"weighs {120 + pick(900, 'g', p)} g and replaces the {module} of the previous series.")
    for e in range(48):
        out.document(
            f"e{e:02}", f"Error {error(e)}",
            f"{error(e)} is shown when the {MODULES[pick(7, 'em', e)]} of the {DEVICES[pick(6, 'ed', e)]} does not answer "
            f"within {2 + pick(20, 's', e)} seconds. Switch off, wait, check the cable and switch on again.")
    for n in range(64):
        out.document(
            f"s{n:02}", f"{person(n)}",
            f"{person(n)} looks after the {DEVICES[pick(6, 'sd', n)]} customers around {SITES[pick(8, 'ss', n)]} and is "
            f"reached on extension {300 + pick(600, 'x', n)}. On duty in odd weeks.")
    tickets = []
    for n in range(200):
        p, e, who = pick(64, "tp", n), pick(48, "te", n), pick(64, "tw", n)
        tickets.append((p, e, who))
        out.document(
            f"t{n:03}", f"Ticket {ticket(n)}",
            f"The {DEVICES[pick(6, 'device', p)]} at {SITES[pick(8, 'ts', n)]} {FAULTS[pick(6, 'tf', n)]} with {error(e)}. "
            f"The {module_of(p)} {part(p)} {CURES[pick(4, 'tc', n)]}. Closed by {person(who)}.")
    ask(out, tickets)
    return out


def ask(out: Set, tickets: list[tuple[int, int, int]]) -> None:
    def told(place: int, value: int) -> dict[str, int]:
        return {f"t{n:03}": 1 for n, it in enumerate(tickets) if it[place] == value}

    for i in range(30):
        n = pick(200, "qt", i)
        form = ["what happened in {}", "{}", "status of ticket {}", "who closed {}"][i % 4]
        out.query(f"qt{i:02}", form.format(ticket(n)), {f"t{n:03}": 2})
    for i in range(30):
        p = (i * 37 + 5) % 64
        form = ["where do we keep {}", "{} weight", "{}", "repairs in which {} was used"][i % 4]
        out.query(f"qp{i:02}", form.format(part(p)), told(0, p) | {f"p{p:02}": 2})
    for i in range(20):
        e = (i * 29 + 3) % 48
        form = ["what does {} mean", "{} shown on the display", "machines that stopped with {}"][i % 3]
        out.query(f"qe{i:02}", form.format(error(e)), told(1, e) | {f"e{e:02}": 2})
    for i in range(30):
        w = (i * 23 + 1) % 64
        form = ["phone extension of {}", "tickets closed by {}", "which customers does {} look after"][i % 3]
        out.query(f"qs{i:02}", form.format(SURNAMES[w]), told(2, w) | {f"s{w:02}": 2})
