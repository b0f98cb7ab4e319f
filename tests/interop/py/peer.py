"""py-spiffe, unmodified, as a caller: peer.py fetch | watch | loop N | fork"""

import os
import sys
import threading
import time

from spiffe import WorkloadApiClient, X509Source


def fetch():
    with WorkloadApiClient(default_timeout=5) as client:
        context = client.fetch_x509_context()
        for svid in context.x509_svids:
            print("x509", svid.spiffe_id, len(svid.cert_chain))
        for bundle in client.fetch_x509_bundles().bundles:
            print("bundle", bundle.trust_domain, len(bundle.x509_authorities))
    with X509Source(timeout_in_seconds=5) as source:
        print("source", source.get_x509_context().default_svid.spiffe_id)


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


def loop(count):
    for _ in range(count):
        with WorkloadApiClient(default_timeout=10) as client:
            assert client.fetch_x509_svid() is not None
    print("served", count)


def fork():
    """A client that forks after it has connected: the child is refused, the parent served again."""
    client = WorkloadApiClient(default_timeout=10)
    print("before", client.fetch_x509_svid().spiffe_id, flush=True)
    # gRPC's own fork support would close the channel in the child; what is shown here is a child that writes to the
    # inherited connection, whatever library it uses.
    sockets = [fd for fd in range(3, 256) if is_unix_socket(fd)]
    child = os.fork()
    if child == 0:
        for fd in sockets:
            try:
                os.write(fd, b"\x00\x00\x08\x06\x00\x00\x00\x00\x00forkfork")
            except OSError:
                pass
        os._exit(0)
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


def is_unix_socket(fd):
    try:
        return os.readlink("/proc/self/fd/%d" % fd).startswith("socket:")
    except OSError:
        return False


{"fetch": fetch, "watch": watch, "fork": fork, "loop": lambda: loop(int(sys.argv[2]))}[sys.argv[1]]()
