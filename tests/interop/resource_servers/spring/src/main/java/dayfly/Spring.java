package dayfly;

import java.util.Map;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.boot.web.server.servlet.context.ServletWebServerInitializedEvent;
import org.springframework.context.annotation.Bean;
import org.springframework.context.event.EventListener;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.security.config.Customizer;
import org.springframework.security.config.annotation.web.builders.HttpSecurity;
import org.springframework.security.core.annotation.AuthenticationPrincipal;
import org.springframework.security.oauth2.jose.jws.SignatureAlgorithm;
import org.springframework.security.oauth2.jwt.Jwt;
import org.springframework.security.oauth2.jwt.JwtClaimValidator;
import org.springframework.security.oauth2.jwt.JwtDecoder;
import org.springframework.security.oauth2.jwt.JwtValidators;
import org.springframework.security.oauth2.jwt.NimbusJwtDecoder;
import org.springframework.security.web.SecurityFilterChain;
import org.springframework.web.bind.annotation.RequestMapping;
import org.springframework.web.bind.annotation.RestController;

/** A resource server by Spring Security: Spring JWKS ISSUER AUDIENCE. Says "listening PORT", and to whom it answers. */
@SpringBootApplication
@RestController
public class Spring {
    public static void main(String[] args) {
        SpringApplication application = new SpringApplication(Spring.class);
        application.setDefaultProperties(Map.of(
            "server.address", "127.0.0.1", "server.port", "0",
            "logging.level.root", "warn", "spring.main.banner-mode", "off",
            "rs.jwks", args[0], "rs.issuer", args[1], "rs.audience", args[2]));
        application.run();
    }

    @EventListener
    void listening(ServletWebServerInitializedEvent event) {
        System.out.println("listening " + event.getWebServer().getPort());
    }

    @Bean
    SecurityFilterChain chain(HttpSecurity http) throws Exception {
        return http.csrf(csrf -> csrf.disable())
            .authorizeHttpRequests(paths -> paths.requestMatchers("/admin/**").hasAuthority("SCOPE_admin").anyRequest().authenticated())
            .oauth2ResourceServer(server -> server.jwt(Customizer.withDefaults()).dPoP(Customizer.withDefaults()))
            .build();
    }

    /** Boot's own wants the type JWT. */
    @Bean
    JwtDecoder decoder(@Value("${rs.jwks}") String jwks, @Value("${rs.issuer}") String issuer, @Value("${rs.audience}") String audience) {
        NimbusJwtDecoder decoder = NimbusJwtDecoder.withJwkSetUri(jwks).jwsAlgorithm(SignatureAlgorithm.ES256).validateType(false).build();
        decoder.setJwtValidator(JwtValidators.createAtJwtValidator().issuer(issuer).audience(audience)
            .validators(all -> all.put("client_id", new JwtClaimValidator<String>("client_id", name -> name != null)))
            .build());
        return decoder;
    }

    @RequestMapping("/**")
    String answer(@AuthenticationPrincipal Jwt token) {
        return token.getSubject() + " " + token.getClaimAsString("client_id") + " " + token.getClaimAsString("scope");
    }
}
