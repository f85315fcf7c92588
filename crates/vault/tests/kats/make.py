#!/usr/bin/env python3
"""Generates known answers for everything that crates/vault seals, from schemas/sealing.md and c2sp.org/FLOE alone.

    python3 -m venv /tmp/kats && /tmp/kats/bin/pip install cryptography
    /tmp/kats/bin/python crates/vault/tests/kats/make.py

Rewrites the *.json files next to it, with the same bytes each time, in hexadecimal. It is independent of the Rust code:
a layout changes in the document first, then here, and only then in the code. crates/vault/src/tests/known.rs opens
everything and seals it again.
"""

import base64
import hashlib
import json
import pathlib

from cryptography.hazmat.primitives import hashes, hmac, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

HERE = pathlib.Path(__file__).parent
VERSION = b"\x00"
ROOT, TENANT, PLACE, OBJECT, LOG, SIGNER = range(1, 7)
CONTROL, DIRECTORY, NAMESPACE, AUDIT = range(1, 5)
SEGMENT, CHECKPOINT, AUDIT_CHUNK, CONTROL_OBJECT = range(1, 5)


# --- Building blocks ---------------------------------------------------------------------------------------------------


def pick(label, length):
    """Deterministic stand-ins for random bytes, different for each label."""
    out = b""
    while len(out) < length:
        out += hashlib.sha256(f"{label}/{len(out)}".encode()).digest()
    return out[:length]


def u16(n):
    return n.to_bytes(2, "big")


def u32(n):
    return n.to_bytes(4, "big")


def u64(n):
    return n.to_bytes(8, "big")


def fields(*parts):
    return b"".join(u32(len(part)) + part for part in parts)


def gcm(key, nonce, aad, plain):
    """Returns ciphertext and tag."""
    return AESGCM(key).encrypt(nonce, plain, aad)


def mac(key, data):
    h = hmac.HMAC(key, hashes.SHA256())
    h.update(data)
    return h.finalize()


def sha256(data):
    return hashlib.sha256(data).digest()


# --- Wraps -------------------------------------------------------------------------------------------------------------


def context(kind, epoch, incarnation=b"", place_kind=None, place=b"", thing=b"", log=None, keys=None):
    return fields(
        VERSION,
        bytes([kind]),
        incarnation,
        b"" if place_kind is None else bytes([place_kind]),
        place,
        thing,
        u32(epoch),
        b"" if log is None else u32(log),
        b"" if keys is None else u32(keys),
    )


def wrap(kek, nonce, aad, keys):
    return VERSION + nonce + gcm(kek, nonce, aad, b"".join(keys))


def local_wrap(root, nonce, bound, key):
    return wrap(root, nonce, fields(b"ringfence local provider", bound), [key])


# --- FLOE --------------------------------------------------------------------------------------------------------------


def floe(segment_len, rotation_bits, key, aad, plain, iv, nonces):
    params = b"\x00\x00" + u32(segment_len) + u32(32)

    def kdf(key, purpose, length):
        return HKDFExpand(hashes.SHA384(), length, params + iv + purpose + aad).derive(key)

    out = params + iv + kdf(key, b"HEADER_TAG:", 32)
    message_key = kdf(key, b"MESSAGE_KEY:", 48)
    room = segment_len - 32
    pieces = [plain[at : at + room] for at in range(0, len(plain), room)] or [b""]
    assert len(pieces) == len(nonces)
    for number, (piece, nonce) in enumerate(zip(pieces, nonces)):
        last = number + 1 == len(pieces)
        segment_key = kdf(message_key, b"DEK:" + u64(number >> rotation_bits << rotation_bits), 32)
        aad_of_it = u64(number) + (b"\x01" if last else b"\x00")
        length = u32(len(piece) + 32) if last else b"\xff\xff\xff\xff"
        out += length + nonce + gcm(segment_key, nonce, aad_of_it, piece)
    return out


def draws(label, segment_len, plain):
    count = max(1, -(-len(plain) // (segment_len - 32)))
    return pick(label + " iv", 32), [pick(f"{label} nonce {n}", 12) for n in range(count)]


OBJECT_SEGMENT = (1 << 20) + 32
PAGE = (16 << 10) + 32


def object_fields(place, kind, uuid):
    return fields(VERSION, place["incarnation"], place["uuid"], bytes([kind]), uuid)


# --- Keys and keyspaces ------------------------------------------------------------------------------------------------


LIFE = pick("incarnation", 16)
LOCAL_ROOT = pick("local root", 32)
TENANT_KEYS = {epoch: pick(f"tenant key {epoch}", 32) for epoch in (1, 2)}


def place_of(name, kind, tenant_epoch, newest, count):
    """A keyspace with `count` wrapping keys, the newest of epoch `newest`."""
    control = kind == CONTROL
    keys = [pick(f"{name} place key {newest - back}", 32) for back in range(count)]
    return {
        "name": name,
        "incarnation": b"" if control else LIFE,
        "kind": kind,
        "uuid": bytes(16) if control else pick(f"{name.split()[0]} uuid", 16),
        "tenant_epoch": tenant_epoch,
        "mac_key": pick(f"{name.split()[0]} mac key", 32),
        "newest": newest,
        "keys": keys,
        "nonce": pick(f"{name} {newest} {count} nonce", 12),
    }


def place_wrap(place, kek):
    bound = context(
        PLACE,
        place["tenant_epoch"],
        place["incarnation"],
        place["kind"],
        place["uuid"],
        keys=place["newest"],
    )
    return u32(place["newest"]) + wrap(kek, place["nonce"], bound, [place["mac_key"], *place["keys"]])


PLACES = [
    place_of("directory", DIRECTORY, 1, 1, 1),
    place_of("namespace", NAMESPACE, 2, 1, 1),
    place_of("audit", AUDIT, 2, 1, 1),
]
# The namespace while everything in it is re-encrypted, and after that.
PLACES.append(PLACES[1] | {"name": "namespace, two keys", "newest": 2, "nonce": pick("two keys nonce", 12)})
PLACES[-1]["keys"] = [pick("namespace place key 2", 32), *PLACES[1]["keys"]]
PLACES.append(PLACES[3] | {"name": "namespace, newest key", "nonce": pick("newest key nonce", 12)})
PLACES[-1]["keys"] = PLACES[3]["keys"][:1]
CONTROL_PLACE = place_of("control", CONTROL, 0, 1, 1)
BY_NAME = {place["name"]: place for place in [*PLACES, CONTROL_PLACE]}


def wrap_in(place, kind, nonce, keys, thing=b"", log=None):
    """A wrap under a keyspace's newest key."""
    bound = context(kind, place["newest"], place["incarnation"], place["kind"], place["uuid"], thing, log)
    return wrap(place["keys"][0], nonce, bound, keys)


# --- The files ---------------------------------------------------------------------------------------------------------


def fields_file():
    lists = [[], [b""], [b"", b""], [b"a"], [b"ab", b"c"], [b"a", b"bc"], [b"abc"], [bytes(300), b"", b"x"]]
    return [{"parts": parts, "encoded": fields(*parts)} for parts in lists]


def wraps_file():
    """Every column of the table, in a tenant's keyspace and in the control keyspace."""
    place, thing = pick("some place", 16), pick("some thing", 16)
    rows = [
        ("root", dict(kind=ROOT, epoch=0, place_kind=CONTROL, place=bytes(16)), 1),
        ("tenant", dict(kind=TENANT, epoch=3, incarnation=LIFE), 1),
        ("place", dict(kind=PLACE, epoch=3, incarnation=LIFE, place_kind=NAMESPACE, place=place, keys=7), 2),
        ("place, two keys", dict(kind=PLACE, epoch=4, incarnation=LIFE, place_kind=DIRECTORY, place=place, keys=8), 3),
        ("place, control", dict(kind=PLACE, epoch=0, place_kind=CONTROL, place=bytes(16), keys=1), 2),
        ("object", dict(kind=OBJECT, epoch=7, incarnation=LIFE, place_kind=AUDIT, place=place, thing=thing), 1),
        ("object, control", dict(kind=OBJECT, epoch=1, place_kind=CONTROL, place=bytes(16), thing=thing), 1),
        ("log", dict(kind=LOG, epoch=7, incarnation=LIFE, place_kind=NAMESPACE, place=place, thing=thing, log=9), 2),
        ("log, control", dict(kind=LOG, epoch=2, place_kind=CONTROL, place=bytes(16), thing=thing, log=1), 2),
        ("signer", dict(kind=SIGNER, epoch=2, place_kind=CONTROL, place=bytes(16)), 1),
    ]
    out = []
    for name, of, count in rows:
        kek, nonce = pick(f"{name} kek", 32), pick(f"{name} nonce", 12)
        keys = [pick(f"{name} key {n}", 32) for n in range(count)]
        bound = context(**of)
        stated = {"incarnation": None, "place_kind": None, "place": None, "thing": None, "log": None, "keys": None}
        answer = {"context": bound, "kek": kek, "nonce": nonce, "secrets": keys, "wrap": wrap(kek, nonce, bound, keys)}
        out.append({"name": name} | stated | of | answer)
    return out


def places_file():
    tenant = []
    for epoch, key in TENANT_KEYS.items():
        nonce = pick(f"tenant {epoch} nonce", 12)
        wrapped = local_wrap(LOCAL_ROOT, nonce, context(TENANT, epoch, LIFE), key)
        tenant.append({"epoch": epoch, "key": key, "nonce": nonce, "wrap": wrapped})
    places = [place | {"wrap": place_wrap(place, TENANT_KEYS[place["tenant_epoch"]])} for place in PLACES]
    secret, nonce = pick("control secret", 32), pick("control root nonce", 12)
    outer = local_wrap(LOCAL_ROOT, nonce, context(ROOT, 0, b"", CONTROL, bytes(16)), secret)
    wrapped = u16(len(outer)) + outer + place_wrap(CONTROL_PLACE, secret)
    bound = b"what it is for"
    key, local_nonce = pick("local key", 32), pick("local nonce", 12)
    return {
        "root": LOCAL_ROOT,
        "local": {
            "context": bound,
            "key": key,
            "nonce": local_nonce,
            "wrap": local_wrap(LOCAL_ROOT, local_nonce, bound, key),
        },
        "incarnation": LIFE,
        "tenant": tenant,
        "places": places,
        "control": CONTROL_PLACE | {"secret": secret, "provider_nonce": nonce, "wrap": wrapped},
    }


def floe_file():
    """Segments of 64 bytes, and of 40 bytes with a new key every 4: 32 and 8 bytes of plaintext each."""
    out = []
    for segment_len, bits in ((64, 20), (40, 2)):
        room = segment_len - 32
        for length in (0, 1, room - 1, room, room + 1, 3 * room, 4 * room, 4 * room + 1, 9 * room + 5):
            label = f"floe {segment_len} {length}"
            plain, aad, key = pick(label, length), fields(b"bound", label.encode()), pick(f"{label} key", 32)
            iv, nonces = draws(label, segment_len, plain)
            sealed = floe(segment_len, bits, key, aad, plain, iv, nonces)
            out.append({"segment_len": segment_len, "rotation_bits": bits, "key": key, "aad": aad, "plain": plain})
            out[-1] |= {"iv": iv, "nonces": nonces, "sealed": sealed}
    return out


def pattern(length):
    """Content of large objects: byte n is the low byte of n * 7 + n // 251."""
    return bytes((n * 7 + n // 251) & 0xFF for n in range(length))


def objects_file():
    whole, split = [], []
    cases = [
        ("namespace", SEGMENT, 0),
        ("namespace", CHECKPOINT, 300),
        ("namespace, two keys", CHECKPOINT, 20),
        ("directory", CHECKPOINT, 1),
        ("audit", AUDIT_CHUNK, 33),
        ("control", CONTROL_OBJECT, 77),
        ("namespace", SEGMENT, 1 << 20),
        ("namespace", SEGMENT, (2 << 20) + 5),
    ]
    for number, (name, kind, length) in enumerate(cases):
        place, label = BY_NAME[name], f"object {number}"
        key, uuid, wrap_nonce = pick(f"{label} key", 32), pick(f"{label} uuid", 16), pick(f"{label} wrap nonce", 12)
        plain = pattern(length)
        iv, nonces = draws(label, OBJECT_SEGMENT, plain)
        sealed = floe(OBJECT_SEGMENT, 20, key, object_fields(place, kind, uuid), plain, iv, nonces)
        wrapped = wrap_in(place, OBJECT, wrap_nonce, [key], uuid)
        prologue = b"RFSO" + VERSION + bytes([kind]) + uuid + u32(place["newest"]) + u16(len(wrapped)) + wrapped
        whole.append({"place": name, "kind": kind, "uuid": uuid, "key": key, "wrap_nonce": wrap_nonce, "iv": iv})
        whole[-1] |= {"nonces": nonces, "length": length, "wrap": wrapped, "prologue": prologue}
        whole[-1] |= {"sha256": sha256(sealed)} if length > 1000 else {"sealed": sealed}
    for number, (name, length, border) in enumerate(
        [("namespace", 0, 0), ("namespace", 90, 40), ("audit", 50, 50), ("control", 60, 0), ("namespace", 1_200_000, 1_050_000)]
    ):
        place, label, kind = BY_NAME[name], f"split object {number}", SEGMENT
        key, uuid, wrap_nonce = pick(f"{label} key", 32), pick(f"{label} uuid", 16), pick(f"{label} wrap nonce", 12)
        plain = pattern(length)
        messages, ivs, nonces = [], [], []
        for part, (segment_len, piece) in enumerate([(OBJECT_SEGMENT, plain[:border]), (PAGE, plain[border:])], 1):
            iv, of_part = draws(f"{label} part {part}", segment_len, piece)
            aad = object_fields(place, kind, uuid) + fields(bytes([part]))
            messages.append(floe(segment_len, 20, key, aad, piece, iv, of_part))
            ivs.append(iv)
            nonces.append(of_part)
        sealed = b"RFSP" + VERSION + u64(len(messages[0])) + messages[0] + messages[1]
        split.append({"place": name, "kind": kind, "uuid": uuid, "key": key, "wrap_nonce": wrap_nonce, "ivs": ivs})
        split[-1] |= {"nonces": nonces, "length": length, "border": border}
        split[-1] |= {"wrap": wrap_in(place, OBJECT, wrap_nonce, [key], uuid)}
        split[-1] |= {"sha256": sha256(sealed)} if length > 1000 else {"sealed": sealed}
    return {"whole": whole, "split": split}


def logs_file():
    out = []
    for name, epoch, bodies in [
        ("namespace", 5, [(41, b"the first entry"), (42, b""), (1 << 40, bytes(range(100)))]),
        ("namespace, two keys", 6, [(1, b"one"), (2, b"two"), (3, b"three")]),
        ("control", 1, [(1, b"tenant"), (2, b"key"), (3, b"state")]),
    ]:
        place, label = BY_NAME[name], f"{name} log"
        uuid, wrap_nonce = pick(f"{label} uuid", 16), pick(f"{label} wrap nonce", 12)
        body_key, header_key = pick(f"{label} body key", 32), pick(f"{label} header key", 32)
        wrapped = wrap_in(place, LOG, wrap_nonce, [body_key, header_key], uuid, epoch)
        prologue = b"RFLG" + VERSION + uuid + u32(epoch) + u32(place["newest"]) + u16(len(wrapped)) + wrapped
        previous, frames = sha256(prologue), []
        for seq, body in bodies:
            nonce = pick(f"{label} frame {seq}", 12)
            head = b"RFFR" + u32(len(body)) + u64(seq) + nonce
            half = mac(header_key, previous + head)[:16]
            aad = fields(VERSION, place["incarnation"], place["uuid"], b"log", uuid, u32(epoch), u64(seq), previous)
            sealed = gcm(body_key, nonce, aad, body)
            frames.append({"seq": seq, "body": body, "nonce": nonce, "frame": head + half + sealed})
            previous = half + sealed[-16:]
        out.append({"place": name, "uuid": uuid, "epoch": epoch, "body_key": body_key, "header_key": header_key})
        out[-1] |= {"wrap_nonce": wrap_nonce, "prologue": prologue, "frames": frames}
    return out


def macs_file():
    out = []
    for name, label, parts in [
        ("namespace", b"pseudonym", [b"document", b"d1"]),
        ("audit", b"pseudonym", [b"principal", "\u0430\u043d\u043d\u0430".encode()]),
        ("namespace", b"pseudonym", []),
        ("namespace, two keys", b"label", [b"", b"part", b""]),
        ("control", b"credential", [b"secret"]),
    ]:
        whole = mac(BY_NAME[name]["mac_key"], fields(label, *parts))
        out.append({"place": name, "label": label, "parts": parts, "mac": whole})
        if label == b"pseudonym":
            out[-1]["pseudonym"] = whole[:16]
    return out


def notes_file():
    seed, nonce, name = pick("seed", 32), pick("signer nonce", 12), "ringfence.example"
    signer = Ed25519PrivateKey.from_private_bytes(seed)
    public = signer.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    key_id = sha256(name.encode() + b"\n" + b"\x01" + public)[:4]
    notes = []
    for text in ["what was destroyed\n", "two paragraphs\n\nand a line in Bulgarian: \u043a\u043b\u044e\u0447\n"]:
        signature = base64.b64encode(key_id + signer.sign(text.encode())).decode()
        notes.append({"text": text, "note": f"{text}\n\u2014 {name} {signature}\n"})
    return {
        "place": "control",
        "seed": seed,
        "nonce": nonce,
        "wrap": wrap_in(CONTROL_PLACE, SIGNER, nonce, [seed]),
        "name": name,
        "public": f"{name}+{key_id.hex()}+{base64.b64encode(bytes([1]) + public).decode()}",
        "notes": notes,
    }


def main():
    files = [fields_file, wraps_file, places_file, floe_file, objects_file, logs_file, macs_file, notes_file]
    for make in files:
        name = make.__name__.removesuffix("_file")
        text = json.dumps(make(), default=lambda b: b.hex(), indent=1, ensure_ascii=False)
        (HERE / f"{name}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
