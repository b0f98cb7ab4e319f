//! Where a client finds what a resource needs (RFC 9728): the metadata of a tool, at a URL that is made of its audience.
//!
//! Only an audience that is a URL itself has such a place: http or https without a query, in its one spelling, and above
//! the requests that are told of it, so that a client that compares the two finds them to be one resource.

use super::target::{Base, Target};

/// What stands between host and path.
const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// Where the metadata of an audience is, for a request. `None` where it has none, or the request is elsewhere.
pub(crate) fn url(audience: &str, request: &Target) -> Option<String> {
    let base = Base::parse(audience).ok()?;
    base.relative(request)?;
    let (origin, path) = (base.origin().as_str(), base.to_string());
    let is_itself = audience.strip_suffix('/').unwrap_or(audience) == path;
    is_itself.then(|| format!("{origin}{WELL_KNOWN}{}", path.get(origin.len()..).unwrap_or_default()))
}

/// The audiences whose metadata is at this URL: one, or the same with a slash behind it.
pub(crate) fn audiences(url: &Target) -> Option<[String; 2]> {
    let path = url.path().strip_prefix(WELL_KNOWN)?;
    // No segment that begins alike, and no second spelling.
    let fits = path.is_empty() || (path.starts_with('/') && !path.ends_with('/'));
    let audience = format!("{}{path}", url.origin());
    fits.then(|| [audience.clone(), audience + "/"])
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn target(url: &str) -> Target {
        Target::parse(url).unwrap()
    }

    #[test]
    fn the_url_is_made_of_the_audience_and_leads_back_to_it() {
        for (audience, request, expected) in [
            ("https://a.example", "https://a.example/x?y", "https://a.example/.well-known/oauth-protected-resource"),
            ("https://a.example/", "https://a.example", "https://a.example/.well-known/oauth-protected-resource"),
            (
                "https://a.example/v1",
                "https://a.example/v1/x",
                "https://a.example/.well-known/oauth-protected-resource/v1",
            ),
            (
                "https://a.example/v1/",
                "https://a.example/v1",
                "https://a.example/.well-known/oauth-protected-resource/v1",
            ),
            (
                "http://a.example:8080",
                "http://a.example:8080/",
                "http://a.example:8080/.well-known/oauth-protected-resource",
            ),
        ] {
            assert_eq!(url(audience, &target(request)).as_deref(), Some(expected), "{audience}");
            assert!(audiences(&target(expected)).unwrap().contains(&audience.to_owned()), "{audience}");
        }
    }

    #[test]
    fn an_audience_that_is_elsewhere_or_no_url_has_none() {
        let request = target("https://a.example/v1/x");
        for audience in [
            "urn:tickets",
            "https://b.example",
            "http://a.example",
            "https://a.example:8443",
            "https://a.example/v",
            "https://a.example/v1/x/y",
            "https://A.example",
            "https://a.example:443",
            "https://a.example?v=1",
            "https://a.example/%76",
            "https://a.example/v1//",
        ] {
            assert_eq!(url(audience, &request), None, "{audience}");
        }
        for other in ["/", "/v1", "/.well-known/oauth-protected-resources", "/.well-known/oauth-protected-resource/"] {
            assert_eq!(audiences(&target(&format!("https://a.example{other}"))), None, "{other}");
        }
    }
}
