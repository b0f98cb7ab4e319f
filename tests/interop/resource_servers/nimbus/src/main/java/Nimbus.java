import com.nimbusds.jose.JOSEObjectType;
import com.nimbusds.jose.JWSAlgorithm;
import com.nimbusds.jose.jwk.source.JWKSourceBuilder;
import com.nimbusds.jose.proc.DefaultJOSEObjectTypeVerifier;
import com.nimbusds.jose.proc.JWSVerificationKeySelector;
import com.nimbusds.jose.proc.SecurityContext;
import com.nimbusds.jwt.JWTClaimsSet;
import com.nimbusds.jwt.SignedJWT;
import com.nimbusds.jwt.proc.DefaultJWTClaimsVerifier;
import com.nimbusds.jwt.proc.DefaultJWTProcessor;
import com.nimbusds.oauth2.sdk.dpop.JWKThumbprintConfirmation;
import com.nimbusds.oauth2.sdk.dpop.verifiers.DPoPIssuer;
import com.nimbusds.oauth2.sdk.dpop.verifiers.DPoPProtectedResourceRequestVerifier;
import com.nimbusds.oauth2.sdk.dpop.verifiers.InMemoryDPoPSingleUseChecker;
import com.nimbusds.oauth2.sdk.dpop.verifiers.InvalidDPoPProofException;
import com.nimbusds.oauth2.sdk.token.DPoPAccessToken;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Set;
import java.util.concurrent.Executors;

/** A resource server by Nimbus's OAuth SDK: Nimbus JWKS ISSUER AUDIENCE. Says "listening PORT", and to whom it answers. */
public class Nimbus {
    private final DefaultJWTProcessor<SecurityContext> tokens = new DefaultJWTProcessor<>();
    private final DPoPProtectedResourceRequestVerifier proofs = new DPoPProtectedResourceRequestVerifier(
        Set.of(JWSAlgorithm.ES256), 5, 60, new InMemoryDPoPSingleUseChecker(120, 120));

    Nimbus(String jwks, String issuer, String audience) throws Exception {
        tokens.setJWSTypeVerifier(new DefaultJOSEObjectTypeVerifier<>(new JOSEObjectType("at+jwt"), new JOSEObjectType("application/at+jwt")));
        tokens.setJWSKeySelector(new JWSVerificationKeySelector<>(
            Set.of(JWSAlgorithm.ES256), JWKSourceBuilder.create(URI.create(jwks).toURL()).build()));
        tokens.setJWTClaimsSetVerifier(new DefaultJWTClaimsVerifier<>(audience,
            new JWTClaimsSet.Builder().issuer(issuer).build(), Set.of("sub", "client_id", "iat", "exp", "jti", "cnf")));
    }

    public static void main(String[] args) throws Exception {
        Nimbus nimbus = new Nimbus(args[0], args[1], args[2]);
        HttpServer server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
        int port = server.getAddress().getPort();
        server.createContext("/", exchange -> nimbus.answer(exchange, port));
        server.setExecutor(Executors.newFixedThreadPool(8));
        server.start();
        System.out.println("listening " + port);
    }

    private void answer(HttpExchange exchange, int port) throws IOException {
        int status = 200;
        String said;
        try {
            JWTClaimsSet claims = verify(exchange, port);
            String scopes = claims.getStringClaim("scope");
            said = claims.getSubject() + " " + claims.getStringClaim("client_id") + " " + scopes;
            if (exchange.getRequestURI().getPath().startsWith("/admin") && !List.of(scopes.split(" ")).contains("admin")) {
                status = 403;
                said = "";
                exchange.getResponseHeaders().set("WWW-Authenticate", "DPoP error=\"insufficient_scope\", scope=\"admin\"");
            }
        } catch (Exception refusal) {
            status = 401;
            said = refusal.toString();
            String code = refusal instanceof InvalidDPoPProofException ? "invalid_dpop_proof" : "invalid_token";
            exchange.getResponseHeaders().set("WWW-Authenticate", "DPoP error=\"" + code + "\", algs=\"ES256\"");
        }
        byte[] body = said.getBytes(StandardCharsets.UTF_8);
        exchange.sendResponseHeaders(status, body.length);
        exchange.getResponseBody().write(body);
        exchange.close();
    }

    private JWTClaimsSet verify(HttpExchange exchange, int port) throws Exception {
        DPoPAccessToken token = DPoPAccessToken.parse(exchange.getRequestHeaders().getFirst("Authorization"));
        List<String> given = exchange.getRequestHeaders().get("DPoP");
        if (given == null || given.size() != 1) {
            throw new InvalidDPoPProofException("not one proof");
        }
        JWTClaimsSet claims = tokens.process(token.getValue(), null);
        URI uri = URI.create("http://127.0.0.1:" + port + exchange.getRequestURI().getRawPath());
        proofs.verify(exchange.getRequestMethod(), uri, new DPoPIssuer(claims.getStringClaim("client_id")),
            SignedJWT.parse(given.get(0)), token, JWKThumbprintConfirmation.parse(claims));
        return claims;
    }
}
