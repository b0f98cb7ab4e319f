"""PyJWT, unmodified, as somebody who believes our tokens, and whose tokens we judge: tokens.py judge | make

A request comes on stdin and its answer goes to stdout, both JSON; tests/interop/libraries.rs says what is in them.
"""

import base64
import json
import sys
import time

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm


def judge(request):
    return [judge_one(request["bundle"], **question) for question in request["questions"]]


def judge_one(bundle, token, audience, later):
    """The token's subject if it is believed `later` seconds from now, or why it is not."""
    try:
        kid = jwt.get_unverified_header(token).get("kid")
        keys = [key for key in bundle["keys"] if key["use"] == "jwt-svid" and key["kid"] == kid]
        if len(keys) != 1:
            return {"refused": "no key"}
        key = jwt.PyJWK(keys[0])
        # A leeway below zero is a clock that is ahead; `iat` has none of its own.
        options = {"require": ["sub", "aud", "exp"], "verify_iat": later == 0}
        claims = jwt.decode(token, key, [key.algorithm_name], audience=audience, leeway=-later, options=options)
        return {"sub": claims["sub"]}
    except jwt.PyJWTError as error:
        return {"refused": type(error).__name__}


def public_jwk(kid, key):
    kinds = {ec.EllipticCurvePrivateKey: ECAlgorithm, rsa.RSAPrivateKey: RSAAlgorithm}
    kind = next((kind for private, kind in kinds.items() if isinstance(key, private)), OKPAlgorithm)
    jwk = kind.to_jwk(key.public_key(), as_dict=True)
    jwk.pop("key_ops", None)
    return {**jwk, "use": "jwt-svid", "kid": kid}


def make(request):
    own, subject, audience = request.get("own"), request["subject"], request["audience"]
    made = {}
    if own:
        main = own["kid"]
        keys = {main: serialization.load_der_private_key(base64.b64decode(own["pkcs8"]), None)}
    else:
        main = "p256"
        keys = {
            "p256": ec.generate_private_key(ec.SECP256R1()),
            "p384": ec.generate_private_key(ec.SECP384R1()),
            "p521": ec.generate_private_key(ec.SECP521R1()),
            "rsa": rsa.generate_private_key(65537, 2048),
            "ed25519": ed25519.Ed25519PrivateKey.generate(),
        }
    now = int(time.time())
    claims = {"sub": subject, "aud": [audience, "others"], "iat": now, "exp": now + 300}

    def token(case, headers={}, alg="ES256", kid=main, key=None, **changed):
        said = {name: value for name, value in {**claims, **changed}.items() if value is not None}
        made[case] = jwt.encode(said, key or keys[kid], algorithm=alg, headers={"kid": kid, **headers})

    token("as it should be")
    token("no typ", {"typ": None})
    token("typ JOSE", {"typ": "JOSE"})
    token("audience as a text", aud=audience)
    token("claims of its own", deep={"list": [1, "é", None, True, 1.5]}, iss="https://other.test", jti="1", nbf=now)
    made["no kid"] = jwt.encode(claims, keys[main], algorithm="ES256")

    made["alg none"] = jwt.encode(claims, None, algorithm="none", headers={"kid": main})
    # As a bare point: PyJWT knows the DER and the PEM of a public key, and takes neither as a secret.
    public = keys[main].public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )
    token("alg HS256 with the public key", alg="HS256", key=public)
    token("alg of another curve", alg="ES384", key=ec.generate_private_key(ec.SECP384R1()))
    token("another's key", key=ec.generate_private_key(ec.SECP256R1()))
    made["unknown kid"] = jwt.encode(claims, keys[main], algorithm="ES256", headers={"kid": "nobody's"})
    token("typ at+jwt", {"typ": "at+jwt"})
    token("typ wit+jwt", {"typ": "wit+jwt"})
    token("crit", {"crit": ["x"], "x": 1})
    token("jwk in the header", {"jwk": public_jwk(main, keys[main])})
    token("expired", exp=now - 120)
    token("not valid yet", nbf=now + 120)
    token("no exp", exp=None)
    token("no aud", aud=None)
    token("other audiences", aud=["others"])
    token("no sub", sub=None)
    token("sub of no workload", sub=subject.rsplit("/", 1)[0])
    token("sub of another trust domain", sub="spiffe://third.test/a")
    if not own:
        token("sub of our trust domain", sub="spiffe://example.org/peer")
        for kid, algorithms in {
            "p384": ["ES384"],
            "p521": ["ES512"],
            "rsa": ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"],
            "ed25519": ["EdDSA"],
        }.items():
            for alg in algorithms:
                token(alg, alg=alg, kid=kid)
    return {"keys": [public_jwk(kid, key) for kid, key in keys.items()], "tokens": made}


print(json.dumps({"judge": judge, "make": make}[sys.argv[1]](json.load(sys.stdin))))
