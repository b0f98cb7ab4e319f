"""py-spiffe, unmodified, as a caller: peer.py fetch | tokens | watch | watches N | loop N | fork"""

import os
import signal
import sys
import tempfile
import threading
import time

from cryptography.x509 import DNSName, SubjectAlternativeName
from spiffe import JwtSvid, WorkloadApiClient, X509Source


def fetch():
    with WorkloadApiClient(default_timeout=5) as client:
        context = client.fetch_x509_context()
        for svid in context.x509_svids:
            print("x509", svid.spiffe_id, len(svid.cert_chain))
        for bundle in client.fetch_x509_bundles().bundles:
            print("bundle", bundle.trust_domain, len(bundle.x509_authorities))
    with X509Source(timeout_in_seconds=5) as source:
        print("source", source.get_x509_context().default_svid.spiffe_id)


def tokens():
    with WorkloadApiClient(default_timeout=5) as client:
        svid = client.fetch_jwt_svid({"aud-a", "aud-b"})
        bundles = client.fetch_jwt_bundles()
        print("trusted", " ".join(sorted(bundle.trust_domain.name for bundle in bundles.bundles)))
        own = bundles.get_bundle_for_trust_domain(svid.spiffe_id.trust_domain)
        print("local", JwtSvid.parse_and_validate(svid.token, own, {"aud-a"}).spiffe_id)
        print("remote", client.validate_jwt_svid(svid.token, "aud-b").spiffe_id)
        print("federated", client.validate_jwt_svid(sys.argv[2], "aud-a").spiffe_id)
        try:
            client.validate_jwt_svid(svid.token, "aud-c")
            print("accepted a wrong audience")
        except Exception as error:
            print("refused", error)


def watch():
    """Prints each serial number; ends after the third, so that two renewals were seen."""
    seen, done = [], threading.Event()

    def on_success(context):
        serial = context.default_svid.leaf.serial_number
        if serial not in seen:
            seen.append(serial)
            print("update", serial, flush=True)
        if len(seen) == 3:
            done.set()

    with WorkloadApiClient(default_timeout=5) as client:
        handler = client.stream_x509_contexts(on_success, lambda error: print("error", error, flush=True))
        ok = done.wait(60)
        handler.cancel()
    sys.exit(0 if ok else 1)


def watches(count):
    """Says every update of each of many watches, until stdin ends:
    update MILLISECONDS NUMBER SERIAL NOT_AFTER DNS_NAMES|- fits|differs."""
    lock = threading.Lock()

    def say(*words):
        with lock:
            print(*words, flush=True)

    def watch(number, path):
        def on_success(context):
            now = int(time.time() * 1000)
            svid = context.default_svid
            leaf = svid.leaf
            names = leaf.extensions.get_extension_for_class(SubjectAlternativeName).value.get_values_for_type(DNSName)
            fits = "fits" if leaf.public_key() == svid.private_key.public_key() else "differs"
            until = int(leaf.not_valid_after_utc.timestamp())
            say("update", now, number, "%x" % leaf.serial_number, until, ",".join(names) or "-", fits)

        client = WorkloadApiClient(socket_path="unix:" + path)
        handler = client.stream_x509_contexts(on_success, lambda error: say("error", int(time.time() * 1000), number, error))
        return client, handler

    socket = "/" + os.environ["SPIFFE_ENDPOINT_SOCKET"].removeprefix("unix:").lstrip("/")
    # gRPC gives all channels to one address the same connection. Here each is to have its own, by a name of its own.
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            os.symlink(socket, f"{folder}/{number}")
        open_watches = [watch(number, f"{folder}/{number}") for number in range(count)]
        sys.stdin.read()
        for _client, handler in open_watches:
            handler.cancel()


def loop(count):
    for _ in range(count):
        with WorkloadApiClient(default_timeout=10) as client:
            assert client.fetch_x509_svid() is not None
    print("served", count)


def fork():
    """Forks after connecting, with gRPC's own fork support off (GRPC_ENABLE_FORK_SUPPORT=0, set by the test): the
    child goes on with the inherited connection, as clients of other libraries do."""
    client = WorkloadApiClient(default_timeout=10)
    print("before", client.fetch_x509_svid().spiffe_id, flush=True)
    # A thread of gRPC's that is at work when the process forks leaves the child a lock that nobody opens: it would
    # write nothing, and there would be nothing to refuse.
    time.sleep(0.5)
    child = os.fork()
    if child == 0:
        try:
            print("child served", client.fetch_x509_svid().spiffe_id, flush=True)
        except BaseException:  # refused, or left without an answer
            pass
        os._exit(0)
    time.sleep(0.5)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    begin = time.monotonic()
    while True:
        try:
            print("after", client.fetch_x509_svid().spiffe_id, "%.2f s" % (time.monotonic() - begin), flush=True)
            break
        except Exception as error:  # the connection was closed under it
            if time.monotonic() - begin > 2:
                print("parent not served:", error)
                sys.exit(1)
            time.sleep(0.05)


VERBS = {
    "fetch": fetch,
    "tokens": tokens,
    "watch": watch,
    "watches": lambda: watches(int(sys.argv[2])),
    "fork": fork,
    "loop": lambda: loop(int(sys.argv[2])),
}
VERBS[sys.argv[1]]()
