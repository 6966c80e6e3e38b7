"""Tokens that were never issued: A-01 to A-06, A-10, A-17, A-19."""

import asyncio
import json
import re
from http import HTTPStatus
from string import ascii_letters, digits

from quality.adversarial.attack import attack
from quality.adversarial.context import Context
from quality.adversarial.expect import expect_challenge, expect_no_http, must
from quality.adversarial.forge import (
    HEADER,
    INVALID,
    ME,
    accept,
    claims,
    encoded,
    forged,
    key_of,
    refuse_all,
    without,
)
from quality.testkit.server import HOST

CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")  # what ends in the parser
PUBLIC_KEY = (
    b"-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----\n"
)
OWN_KEY = b"a key of the attacker, long enough for HS512, which is sixty-four bytes in all"


@attack("A-01", "algorithm none in any spelling, empty or no signature", "401")
async def test_unsigned(context: Context) -> None:
    key, payload = key_of(context.settings), claims(context.alice)
    tokens = {"no algorithm": forged(payload, without(HEADER, "alg"), key=key)}
    for algorithm in ("none", "None", "NONE", "nOnE", "", "HS256", "RS256"):
        header = HEADER | {"alg": algorithm}
        head = (encoded(header) + b"." + encoded(payload)).decode()
        tokens |= {
            f"{algorithm!r}, empty signature": f"{head}.",
            f"{algorithm!r}, two parts": head,
            f"{algorithm!r}, signature of something": f"{head}.e30",
            f"{algorithm!r}, four parts": f"{head}..",
        }
        if algorithm != "HS256":
            tokens[f"{algorithm!r}, right signature"] = forged(payload, header, key=key)
    await refuse_all(context, tokens)


@attack("A-02", "algorithm that is a list, an object, null, a number, 5 kB", "401")
async def test_algorithm_of_the_wrong_type(context: Context) -> None:
    key, payload = key_of(context.settings), claims(context.alice)
    algorithms: tuple[object, ...] = (
        ["HS256"], [["HS256"]], [], {"HS256": "HS256"}, {}, None, 0, 256, True, 1.5, "A" * 5_000,
        "HS256\0", "HS256 ", "hs256", "HS384", "RS256", "ES256", "EdDSA",
    )  # fmt: skip
    await refuse_all(
        context,
        {
            repr(algorithm)[:40]: forged(payload, HEADER | {"alg": algorithm}, key=key)
            for algorithm in algorithms
        },
    )


@attack("A-03", "HMAC with a public key, the header naming RS256 or HS256", "401")
async def test_public_key_as_secret(context: Context) -> None:
    payload = claims(context.alice)
    keys = {
        "PEM": PUBLIC_KEY,
        "PEM without line end": PUBLIC_KEY.strip(),
        "empty": b"",
        "NUL": b"\0",
        "a word": b"secret",
        "cut": key_of(context.settings)[:-1],
        "longer": key_of(context.settings) + b"x",
    }
    await refuse_all(
        context,
        {
            f"{name}, {algorithm}": forged(payload, HEADER | {"alg": algorithm}, key=key)
            for name, key in keys.items()
            for algorithm in ("HS256", "RS256", "ES256", "PS256")
        },
    )


@attack("A-04", "HS384 and HS512 with the right key, where HS256 is set", "401")
async def test_stronger_algorithm(context: Context) -> None:
    key, payload = key_of(context.settings), claims(context.alice)
    tokens = {}
    for bits in ("384", "512"):
        header = HEADER | {"alg": f"HS{bits}"}
        tokens[f"HS{bits}"] = forged(payload, header, key=key, digest=f"sha{bits}")
        tokens[f"SHA-{bits}, named HS256"] = forged(payload, key=key, digest=f"sha{bits}")
        tokens[f"SHA-256, named HS{bits}"] = forged(payload, header, key=key)
    await refuse_all(context, tokens)


@attack("A-05", "header jwk, jku, x5u, x5c with a key of the attacker", "401, no call to anywhere")
async def test_key_in_the_token(context: Context) -> None:
    calls = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls.append(await reader.read(1_000))
        writer.close()

    payload = claims(context.alice)
    async with await asyncio.start_server(note, HOST) as listener:
        base = "http://{}:{}".format(*listener.sockets[0].getsockname())
        json_web_key = {"kty": "oct", "k": encoded(OWN_KEY).decode()}
        extras: dict[str, dict[str, object]] = {
            "jwk": {"jwk": json_web_key},
            "jku": {"jku": f"{base}/keys.json"},
            "x5u": {"x5u": f"{base}/certificate.pem"},
            "x5c": {"x5c": ["YXR0YWNrZXI="]},
            "jwk and jku": {"jwk": json_web_key, "jku": f"{base}/keys.json"},
        }
        for signer, key in (("own", OWN_KEY), ("right", key_of(context.settings))):
            await refuse_all(
                context,
                {
                    f"{name}, {signer} key": forged(payload, HEADER | extra, key=key)
                    for name, extra in extras.items()
                },
            )
        must(not calls, f"the server called: {calls}")


@attack("A-06", "key id that is a path, SQL, NUL, a number, 4 kB", "401")
async def test_key_id(context: Context) -> None:
    payload = claims(context.alice)
    ids: tuple[object, ...] = (
        "../../dev/null",
        "/dev/null",
        "' OR 1--",
        "\0",
        1,
        None,
        [],
        {},
        "",
        "k" * 4_000,
    )
    for signer, key in (("own", OWN_KEY), ("empty", b""), ("right", key_of(context.settings))):
        await refuse_all(
            context,
            {
                f"{id_!r:.20}, {signer} key": forged(payload, HEADER | {"kid": id_}, key=key)
                for id_ in ids
            },
        )


@attack(
    "A-10", "payload or header that is a list, text, invalid UTF-8, or says a name twice", "401"
)
async def test_payload_that_is_no_object(context: Context) -> None:
    key, good = key_of(context.settings), json.dumps(claims(context.alice))
    payloads: dict[str, object] = {
        "nothing": b"", "null": b"null", "number": b"1", "list": b"[]", "list of claims": f"[{good}]".encode(),
        "text": b'"sub"', "half an object": b"{", "empty object": b"{}", "invalid UTF-8": b"\xff",
        "invalid UTF-8 in a claim": good.replace("access", "acc\udcffess").encode(errors="surrogateescape"),
        "UTF-16": good.encode("utf-16"), "UTF-32": good.encode("utf-32"), "byte order mark": good.encode("utf-8-sig"),
        "two objects": (good + good).encode(),
    }  # fmt: skip
    for name, value in claims(context.bob).items():
        second = json.dumps({name: value})[1:-1]
        payloads[f"{name} twice"] = f"{{{second}, {good[1:]}".encode()
        payloads[f"{name} twice, the other way round"] = f"{good[:-1]}, {second}}}".encode()
    tokens = {name: forged(payload, key=key) for name, payload in payloads.items()}
    for header in (
        b"", b"{", b"null", b"[]", b'"HS256"', b"1", b"\xff", b'{"alg":"HS256","typ":"at+jwt"', b'{"alg":NaN}',
        b'{"alg":' + b"1" * 5_000 + b"}",
    ):  # fmt: skip
        tokens[f"header {header!r:.40}"] = forged(claims(context.alice), header, key=key)
    await refuse_all(context, tokens)


@attack("A-17", "crit with an unknown extension, b64, zip, enc", "401")
async def test_extension(context: Context) -> None:
    extras: tuple[dict[str, object], ...] = (
        {"crit": ["exp"]}, {"crit": ["x"], "x": 1}, {"crit": ["b64"], "b64": True}, {"crit": ["b64"], "b64": False},
        {"crit": []}, {"crit": "exp"}, {"b64": False}, {"zip": "DEF"}, {"enc": "A256GCM"}, {"cty": "JWT"},
    )  # fmt: skip
    key, payload = key_of(context.settings), claims(context.alice)
    await refuse_all(context, {str(e): forged(payload, HEADER | e, key=key) for e in extras})


@attack("A-19", "every bit of a good token flipped, every last letter", "401; never somebody else")
async def test_bit_flips(context: Context) -> None:
    token = forged(claims(context.alice), key=key_of(context.settings))
    await accept(context, token)
    for place, byte in enumerate(token.encode()):
        for bit in (place % 8,) if context.quick else range(8):
            with context.variant(f"byte {place}, bit {bit}"):
                flipped = bytes([byte ^ (1 << bit)]).decode("utf-8", "surrogateescape")
                await refuse_changed(context, token[:place] + flipped + token[place + 1 :])
    # Its last bits mean nothing, so that some letters are the same signature: but still Alice's.
    for letter in ascii_letters + digits + "-_":
        with context.variant(f"last letter {letter}"):
            await refuse_changed(context, token[:-1] + letter, may_be_alice=True)


async def refuse_changed(context: Context, token: str, *, may_be_alice: bool = False) -> None:
    response = await context.get(ME, token)
    if CONTROL.search(token):
        expect_no_http(response)
    elif may_be_alice and response.status == HTTPStatus.OK:
        must(response.json()["id"] == str(context.alice.id), "the token became somebody else's")
    else:
        expect_challenge(response, INVALID)
