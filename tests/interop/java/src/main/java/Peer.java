import io.spiffe.bundle.jwtbundle.JwtBundleSet;
import io.spiffe.exception.JwtSvidException;
import io.spiffe.spiffeid.TrustDomain;
import io.spiffe.svid.jwtsvid.JwtSvid;
import io.spiffe.svid.x509svid.X509Svid;
import io.spiffe.workloadapi.DefaultWorkloadApiClient;
import io.spiffe.workloadapi.Watcher;
import io.spiffe.workloadapi.WorkloadApiClient;
import io.spiffe.workloadapi.X509Context;
import java.io.OutputStream;
import java.math.BigInteger;
import java.security.GeneralSecurityException;
import java.security.Signature;
import java.security.cert.CertificateParsingException;
import java.security.cert.X509Certificate;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;

/** java-spiffe, unmodified, as a caller: Peer fetch | tokens TOKEN | watch | watches N | loop N. */
public class Peer {
    public static void main(String[] args) throws Exception {
        switch (args[0]) {
            case "fetch" -> fetch();
            case "tokens" -> tokens(args[1]);
            case "watch" -> watch();
            case "watches" -> watches(Integer.parseInt(args[1]));
            case "loop" -> loop(Integer.parseInt(args[1]));
            default -> System.exit(2);
        }
        System.exit(0);
    }

    static void fetch() throws Exception {
        try (WorkloadApiClient client = DefaultWorkloadApiClient.newClient()) {
            client.fetchX509Context().getX509Svids()
                .forEach(svid -> System.out.println("x509 " + svid.getSpiffeId() + " " + svid.getChain().size()));
            client.fetchX509Bundles().getBundles()
                .forEach((domain, bundle) -> System.out.println("bundle " + domain.getName() + " " + bundle.getX509Authorities().size()));
        }
    }

    static void tokens(String foreign) throws Exception {
        try (WorkloadApiClient client = DefaultWorkloadApiClient.newClient()) {
            JwtSvid svid = client.fetchJwtSvid("aud-a", "aud-b");
            JwtBundleSet bundles = client.fetchJwtBundles();
            String names = bundles.getBundles().keySet().stream().map(TrustDomain::getName).sorted().collect(Collectors.joining(" "));
            System.out.println("trusted " + names);
            System.out.println("local " + JwtSvid.parseAndValidate(svid.getToken(), bundles, Set.of("aud-a")).getSpiffeId());
            System.out.println("remote " + client.validateJwtSvid(svid.getToken(), "aud-b").getSpiffeId());
            System.out.println("federated " + client.validateJwtSvid(foreign, "aud-a").getSpiffeId());
            try {
                client.validateJwtSvid(svid.getToken(), "aud-c");
                System.out.println("accepted a wrong audience");
            } catch (JwtSvidException refusal) {
                System.out.println("refused " + refusal.getCause().getMessage());
            }
        }
    }

    static void watch() throws Exception {
        Set<BigInteger> seen = ConcurrentHashMap.newKeySet();
        CountDownLatch done = new CountDownLatch(3);
        try (WorkloadApiClient client = DefaultWorkloadApiClient.newClient()) {
            client.watchX509Context(new Watcher<X509Context>() {
                public void onUpdate(X509Context context) {
                    BigInteger serial = context.getDefaultSvid().getLeaf().getSerialNumber();
                    if (seen.add(serial)) {
                        System.out.println("update " + serial);
                        done.countDown();
                    }
                }

                public void onError(Throwable error) {
                    System.out.println("error " + error);
                }
            });
            if (!done.await(60, TimeUnit.SECONDS)) {
                System.exit(1);
            }
        }
    }

    /** Says every update of each watch, until stdin ends: update MILLISECONDS NUMBER SERIAL NOT_AFTER DNS_NAMES|- fits|differs. */
    static void watches(int count) throws Exception {
        for (int number = 0; number < count; number++) {
            DefaultWorkloadApiClient.newClient().watchX509Context(new Numbered(number));
        }
        System.in.transferTo(OutputStream.nullOutputStream());
    }

    /** One of many watches, each with a connection of its own. */
    record Numbered(int number) implements Watcher<X509Context> {
        public void onUpdate(X509Context context) {
            long now = System.currentTimeMillis();
            X509Svid svid = context.getDefaultSvid();
            X509Certificate leaf = svid.getLeaf();
            long until = leaf.getNotAfter().getTime() / 1000;
            String serial = leaf.getSerialNumber().toString(16);
            System.out.println("update " + now + " " + number + " " + serial + " " + until + " " + names(leaf) + " " + fits(svid));
        }

        public void onError(Throwable error) {
            System.out.println("error " + System.currentTimeMillis() + " " + number + " " + error);
        }

        static String names(X509Certificate leaf) {
            try {
                String names = leaf.getSubjectAlternativeNames().stream()
                    .filter(name -> name.get(0).equals(2)).map(name -> name.get(1).toString()).collect(Collectors.joining(","));
                return names.isEmpty() ? "-" : names;
            } catch (CertificateParsingException error) {
                return "unreadable";
            }
        }

        static String fits(X509Svid svid) {
            try {
                byte[] words = {1, 2, 3};
                Signature signer = Signature.getInstance("SHA256withECDSA");
                signer.initSign(svid.getPrivateKey());
                signer.update(words);
                Signature verifier = Signature.getInstance("SHA256withECDSA");
                verifier.initVerify(svid.getLeaf().getPublicKey());
                verifier.update(words);
                return verifier.verify(signer.sign()) ? "fits" : "differs";
            } catch (GeneralSecurityException error) {
                return "differs";
            }
        }
    }

    static void loop(int count) throws Exception {
        for (int round = 0; round < count; round++) {
            try (WorkloadApiClient client = DefaultWorkloadApiClient.newClient()) {
                client.fetchX509Context();
            }
        }
        System.out.println("served " + count);
    }
}
