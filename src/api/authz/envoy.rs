//! The verifier as Envoy asks it (ext_authz v3): what Envoy says of a request, and what it is told to do with it.
//!
//! A refusal is an answer for the client. An error of the call is for what is wrong here; Envoy lets nobody pass then,
//! unless it is configured to.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::{
    Authz, asker,
    refused::Refused,
    request::{Malformed, Sent},
};
use crate::{
    api::connection::Workload,
    oauth::verify::Verified,
    pb::{
        envoy::{
            config::core::v3::{HeaderValue, HeaderValueOption, header_value_option::HeaderAppendAction},
            service::auth::v3::{
                AttributeContext, CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse,
                authorization_server::{Authorization, AuthorizationServer},
                check_response::HttpResponse,
            },
            r#type::v3::HttpStatus,
        },
        google::rpc,
    },
};

/// The context extension by which a route says which tool is behind it.
const TOOL: &str = "dayfly_tool";

/// The service of a verifier.
pub(super) fn service(authz: Arc<Authz>, message_bytes_max: usize) -> AuthorizationServer<impl Authorization> {
    AuthorizationServer::new(Check(authz)).max_decoding_message_size(message_bytes_max)
}

struct Check(Arc<Authz>);

#[tonic::async_trait]
impl Authorization for Check {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        let asker = asker(&Workload::of(&request)?.caller);
        let attributes = request.into_inner().attributes.unwrap_or_default();
        let told = self.0.judge(&asker, sent(&attributes))?;
        Ok(Response::new(told.map_or_else(denied, |verified| passed(&verified))))
    }
}

/// What Envoy says of a request.
///
/// Each header line is by itself where the filter has `encode_raw_headers`; otherwise lines of one name are joined with
/// commas, which is refused where one was expected.
///
/// # Errors
/// See [`Malformed`].
pub(crate) fn sent(attributes: &AttributeContext) -> Result<Sent<'_>, Malformed> {
    let http = attributes.request.as_ref().and_then(|request| request.http.as_ref()).ok_or(Malformed::Missing)?;
    let url = Sent::url(&http.scheme, &http.host, &http.path)?;
    let lines = http.header_map.iter().flat_map(|map| &map.headers).map(|line| {
        let value = if line.raw_value.is_empty() { line.value.as_bytes() } else { &line.raw_value };
        (line.key.as_str(), value)
    });
    let joined = http.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    let tool = attributes.context_extensions.get(TOOL).map(String::as_str);
    let certificate = attributes.source.as_ref().map(|source| source.certificate.as_bytes());
    Ok(Sent::new(&http.method, url, tool, lines.chain(joined)).with_certificates(certificate.into_iter()))
}

/// It goes on, with our word for who asks in place of the client's.
fn passed(verified: &Verified) -> CheckResponse {
    let told = [("x-dayfly-agent", verified.agent().to_owned()), ("x-dayfly-scopes", verified.scopes().to_string())];
    // Never both set and removed: Envoy removes last.
    let (set, removed): (Vec<_>, Vec<_>) = told.into_iter().partition(|(_, value)| !value.is_empty());
    let response = OkHttpResponse {
        headers: set.into_iter().map(header).collect(),
        headers_to_remove: removed.into_iter().map(|(name, _)| name.to_owned()).collect(),
    };
    answer(tonic::Code::Ok, HttpResponse::OkResponse(response))
}

fn denied(refused: Refused) -> CheckResponse {
    let response = DeniedHttpResponse {
        status: Some(HttpStatus { code: refused.status.into() }),
        headers: refused.headers.into_iter().map(header).collect(),
        body: refused.words,
    };
    answer(tonic::Code::PermissionDenied, HttpResponse::DeniedResponse(response))
}

fn answer(code: tonic::Code, response: HttpResponse) -> CheckResponse {
    let status = rpc::Status { code: code.into(), message: String::new() };
    CheckResponse { status: Some(status), http_response: Some(response) }
}

/// In place of all of its name.
fn header((name, value): (&'static str, String)) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue { key: name.to_owned(), value, ..HeaderValue::default() }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use super::*;
    use crate::{
        oauth::{Certificate, challenge::Challenge, target},
        pb::envoy::{
            config::core::v3::HeaderMap,
            service::auth::v3::attribute_context::{HttpRequest, Peer, Request},
        },
    };

    fn denied(refused: Refused) -> (i32, DeniedHttpResponse) {
        let told = super::denied(refused);
        match told.http_response {
            Some(HttpResponse::DeniedResponse(response)) => (told.status.unwrap().code, response),
            _ => panic!("it is not denied"),
        }
    }

    fn attributes(http: HttpRequest) -> AttributeContext {
        AttributeContext { request: Some(Request { http: Some(http) }), ..AttributeContext::default() }
    }

    fn get() -> HttpRequest {
        let text = str::to_owned;
        let (method, scheme) = (text("GET"), text("https"));
        HttpRequest { method, scheme, host: text("a.example"), path: text("/x?y=1"), ..HttpRequest::default() }
    }

    #[test]
    fn each_line_of_a_header_counts_by_itself_and_joined_ones_as_they_are() {
        let line = |key: &str, value: &str, raw: &[u8]| HeaderValue {
            key: key.into(),
            value: value.into(),
            raw_value: raw.to_vec().into(),
        };
        let headers = vec![
            line("authorization", "", b"DPoP a"),
            line("dpop", "", b"one"),
            line("dpop", "two", b""),
            line("x-raw", "", b"\xff"),
        ];
        let mut context = attributes(HttpRequest { header_map: Some(HeaderMap { headers }), ..get() });
        context.context_extensions.insert(TOOL.into(), "tickets".into());
        let sent = sent(&context).unwrap();
        let target = sent.target().unwrap();
        assert_eq!(target.to_string(), "https://a.example/x");
        let request = sent.request(&target);
        assert_eq!((request.method, request.tool), ("GET", Some("tickets")));
        assert_eq!((request.authorization, request.proofs), (&[&b"DPoP a"[..]][..], &[&b"one"[..], b"two"][..]));
        assert!(request.certificates.is_empty());
        let source = Some(Peer { certificate: "a%20b".into() });
        let seen = AttributeContext { source, ..attributes(get()) };
        let sent = super::sent(&seen).unwrap();
        assert!(matches!(sent.request(&target).certificates, [Certificate::Pem(b"a%20b")]));
        let headers = [("dpop".into(), "one,two".into()), ("x".into(), "y".into())].into();
        let context = attributes(HttpRequest { headers, ..get() });
        let sent = super::sent(&context).unwrap();
        assert_eq!(sent.request(&target).proofs, [&b"one,two"[..]]);
        assert!(sent.request(&target).authorization.is_empty() && sent.request(&target).tool.is_none());
    }

    #[test]
    fn what_is_no_request_is_told_so() {
        let missing = [
            AttributeContext::default(),
            AttributeContext { request: Some(Request { http: None }), ..AttributeContext::default() },
        ];
        for context in missing {
            assert_eq!(sent(&context).err(), Some(Malformed::Missing));
        }
        for http in [
            HttpRequest::default(),
            HttpRequest { host: "a.example/x?".into(), ..get() },
            HttpRequest { path: "x".into(), ..get() },
            HttpRequest { scheme: "wss".into(), ..get() },
        ] {
            assert_eq!(sent(&attributes(http)).err(), Some(Malformed::Parts));
        }
        let dots = attributes(HttpRequest { path: "/a/%2e%2e/b".into(), ..get() });
        let told = sent(&dots).unwrap().target().unwrap_err();
        assert_eq!(told, Malformed::Url(target::Error::DotSegment));
        let (_, response) = denied(told.into());
        assert_eq!((response.status.unwrap().code, response.headers.len()), (400, 1));
        assert_eq!(response.body, "the URL's path has a segment `.` or `..`\n");
    }

    #[test]
    fn a_refusal_is_answered_with_all_that_belongs_to_it() {
        let challenge = Challenge {
            status: 401,
            authenticate: Some("DPoP x".into()),
            nonce: Some("n".into()),
            retry_after: Some(std::time::Duration::from_millis(1)),
        };
        let (code, response) = denied(challenge.into());
        assert_eq!(code, 7);
        let headers: Vec<_> = response
            .headers
            .into_iter()
            .map(|option| {
                assert!(option.append_action() == HeaderAppendAction::OverwriteIfExistsOrAdd);
                option.header.map(|header| (header.key, header.value)).unwrap()
            })
            .collect();
        let expected =
            [("cache-control", "no-store"), ("www-authenticate", "DPoP x"), ("dpop-nonce", "n"), ("retry-after", "1")];
        assert_eq!(headers, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!((response.status.unwrap().code, response.body.as_str()), (401, ""));
    }
}
