//! The request and its answer.

use std::{future::Future, path::Path, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri,
    header::{
        AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, LOCATION, TRANSFER_ENCODING, USER_AGENT, WWW_AUTHENTICATE,
    },
};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use serde_json::{Map, Value as Json, json};

use crate::{
    cli::{
        context::Context,
        exit::Exit,
        failure::{Failure, whole},
        token::{Desk, Token},
        validate,
    },
    oauth::target::Target,
};

use super::wire::Web;

const PROOF: HeaderName = HeaderName::from_static("dpop");
const NONCE: HeaderName = HeaderName::from_static("dpop-nonce");
/// The longest body that becomes a member of a JSON document, in bytes; as it is, one may be of any length.
const JSON_BYTES_MAX: usize = 16 * 1024 * 1024;
const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");

/// A request, but for what is made anew for each try.
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) url: Uri,
    pub(super) headers: Headers,
    pub(super) body: Option<Body>,
    pub(super) client: Web,
    /// The longest wait for an answer, and for more of one.
    pub(super) silence_max: Duration,
}

/// What is sent.
pub(super) struct Body(Bytes);

/// The headers that were asked for.
pub(super) struct Headers(HeaderMap);

/// What came.
pub(super) struct Answer {
    response: Response<Incoming>,
    silence_max: Duration,
}

impl Body {
    /// What `--data` says: the text itself, or what is in a file.
    ///
    /// # Errors
    /// When the file cannot be read, or is longer than what is read of one.
    pub(super) fn read(data: &str) -> Result<Self, Failure> {
        Ok(Self(match data.strip_prefix('@') {
            None => Bytes::copy_from_slice(data.as_bytes()),
            Some(file) => Bytes::copy_from_slice(&validate::read(Path::new(file))?),
        }))
    }
}

impl Headers {
    /// Each as `Name: value`.
    ///
    /// # Errors
    /// When one is none, or is not the caller's to set.
    pub(super) fn read(lines: &[String], has_body: bool) -> Result<Self, Failure> {
        let mut headers = HeaderMap::new();
        for line in lines {
            let wrong = || Failure::new(Exit::Usage, "a header is not written as `Name: value`");
            let (name, value) = line.split_once(':').ok_or_else(wrong)?;
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
            if [AUTHORIZATION, PROOF, HOST, CONTENT_LENGTH, TRANSFER_ENCODING].contains(&name) {
                return Err(Failure::new(Exit::Usage, format!("the header {name} is made by the command itself")));
            }
            headers.append(name, HeaderValue::from_str(value.trim()).map_err(|_| wrong())?);
        }
        let version = HeaderValue::from_static(concat!("dayfly/", env!("CARGO_PKG_VERSION")));
        headers.entry(USER_AGENT).or_insert(version);
        if has_body {
            headers.entry(CONTENT_TYPE).or_insert(FORM);
        }
        Ok(Self(headers))
    }
}

impl Call {
    /// Asks, and once more with the nonce that is asked for in return.
    ///
    /// # Errors
    /// When nobody answers in time.
    pub(super) async fn make(self, desk: &Desk, target: &Target, token: &Token) -> Result<Answer, Failure> {
        let first = self.ask(desk, target, token, None).await?;
        let response = match wanted_nonce(&first) {
            None => first,
            Some(nonce) => self.ask(desk, target, token, Some(&nonce)).await?,
        };
        Ok(Answer { response, silence_max: self.silence_max })
    }

    async fn ask(
        &self,
        desk: &Desk,
        target: &Target,
        token: &Token,
        nonce: Option<&str>,
    ) -> Result<Response<Incoming>, Failure> {
        let proof = desk.prove(self.method.as_str(), target, token, nonce)?;
        let body = self.body.as_ref().map(|body| body.0.clone()).unwrap_or_default();
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.url.clone();
        *request.headers_mut() = self.headers.0.clone();
        for (name, text) in [(AUTHORIZATION, format!("DPoP {}", &*token.text)), (PROOF, proof)] {
            let value = HeaderValue::try_from(text);
            let mut value = value.map_err(|_| Failure::new(Exit::Failed, "the token is no header's value"))?;
            value.set_sensitive(true);
            request.headers_mut().insert(name, value);
        }
        let asked = within(self.silence_max, self.client.request(request)).await?;
        asked.map_err(|error| unanswered(&target.origin().to_string(), &whole(&error)))
    }
}

/// Why there is no answer of a tool.
fn unanswered(tool: &str, why: &str) -> Failure {
    let failure = Failure::new(Exit::Failed, format!("no answer of {tool}: {why}"));
    match why.contains("invalid peer certificate") {
        true => failure
            .hint("a tool with a certificate of the trust domain: `dayfly fetch bundle > FILE`, and `--cacert FILE`"),
        false => failure,
    }
}

impl Answer {
    /// Prints what came: the body as it is, or all of it as JSON.
    ///
    /// # Errors
    /// When it ends early, or its status is no success.
    pub(super) async fn print(self, context: &Context, with_head: bool) -> Result<(), Failure> {
        let Self { response, silence_max } = self;
        let (head, mut body) = response.into_parts();
        let print = &context.print;
        let mut kept = Vec::new();
        if with_head && !print.is_json() {
            print.line(format_args!("{:?} {}", head.version, head.status))?;
            for (name, value) in &head.headers {
                print.line(format_args!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))?;
            }
            print.line("")?;
        }
        while let Some(frame) = within(silence_max, body.frame()).await? {
            let frame = frame.map_err(|error| Failure::because("the answer ended early", &error))?;
            let Ok(bytes) = frame.into_data() else { continue };
            if !print.is_json() {
                print.data(&bytes)?;
            } else if kept.len() + bytes.len() > JSON_BYTES_MAX {
                let words = format!("the answer has more than {JSON_BYTES_MAX} bytes, too many for one JSON document");
                return Err(Failure::new(Exit::Failed, words).hint("leave out --output json"));
            } else {
                kept.extend_from_slice(&bytes);
            }
        }
        if print.is_json() {
            let body = String::from_utf8_lossy(&kept);
            print.json(&json!({ "status": head.status.as_u16(), "headers": json_of(&head.headers), "body": body }))?;
        }
        judge(head.status, &head.headers)
    }
}

/// Each header once; those that came more than once as a list.
fn json_of(headers: &HeaderMap) -> Map<String, Json> {
    let text = |value: &HeaderValue| Json::from(String::from_utf8_lossy(value.as_bytes()));
    let values = |name| headers.get_all(name).iter().map(text).collect::<Vec<_>>();
    let each = headers.keys().map(|name| match values(name).as_mut_slice() {
        [one] => (name.to_string(), one.take()),
        all => (name.to_string(), Json::from(all.to_vec())),
    });
    each.collect()
}

/// What is not as it was asked for, in words.
fn judge(status: StatusCode, headers: &HeaderMap) -> Result<(), Failure> {
    let told = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or_default();
    if status.is_success() {
        return Ok(());
    }
    let words = format!("the tool answered {status}");
    Err(match status {
        _ if status.is_redirection() => Failure::new(Exit::Failed, words)
            .details([told(LOCATION)])
            .hint("a redirection is not followed: token and proof are for this URL alone"),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            let why = Some(told(WWW_AUTHENTICATE)).filter(|why| !why.is_empty());
            Failure::new(Exit::Refused, words).details(why).hint("`dayfly audit tail` has the reason, for its admin")
        }
        _ => Failure::new(Exit::Failed, words),
    })
}

/// The nonce with which the request is to be made again (RFC 9449 §9).
fn wanted_nonce(response: &Response<Incoming>) -> Option<String> {
    if response.status() != StatusCode::UNAUTHORIZED {
        return None;
    }
    Some(response.headers().get(NONCE)?.to_str().ok()?.to_owned()).filter(|nonce| !nonce.is_empty())
}

async fn within<T>(most: Duration, coming: impl Future<Output = T>) -> Result<T, Failure> {
    tokio::time::timeout(most, coming).await.map_err(|_| {
        let words = format!("the tool was silent for {} s", most.as_secs());
        Failure::new(Exit::Failed, words).hint("--timeout says how long it may be")
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn headers_are_read_and_those_of_the_command_are_its_own() {
        let read = |lines: &[&str], has_body| {
            Headers::read(&lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>(), has_body)
        };
        let headers = read(&["A: 1", "a:2 ", "User-Agent: x"], false).unwrap().0;
        assert_eq!(headers.get_all("a").iter().collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(
            (headers.get(USER_AGENT).unwrap(), headers.get(CONTENT_TYPE)),
            (&HeaderValue::from_static("x"), None)
        );
        assert_eq!(read(&[], true).unwrap().0.get(CONTENT_TYPE), Some(&FORM));
        assert_eq!(read(&["content-type: a/b"], true).unwrap().0.get(CONTENT_TYPE).unwrap(), "a/b");
        let own = ["Authorization: x", "dpop: x", "Host: x", "Content-Length: 1", "transfer-encoding: chunked"];
        for wrong in ["", "a", ": b", "a b: c", "a: b\nc: d"].into_iter().chain(own) {
            assert_eq!(read(&[wrong], false).err().map(|failure| failure.exit()), Some(Exit::Usage), "{wrong:?}");
        }
    }

    #[test]
    fn the_bundle_is_named_where_it_is_the_certificate_that_is_wrong() {
        for (why, has_hint) in [
            ("client error (Connect): invalid peer certificate: UnknownIssuer", true),
            ("client error (Connect): dns error: failed to lookup address information", false),
            ("client error (SendRequest): connection closed before message completed", false),
        ] {
            let advice = unanswered("https://a.example", why).advice().map(ToOwned::to_owned);
            assert_eq!(advice.is_some_and(|advice| advice.contains("--cacert")), has_hint, "{why}");
        }
    }

    #[test]
    fn what_is_no_success_is_a_failure_that_says_why() {
        let headers = HeaderMap::from_iter([
            (WWW_AUTHENTICATE, HeaderValue::from_static("DPoP error=\"invalid_token\"")),
            (LOCATION, HeaderValue::from_static("https://other.example.org/")),
        ]);
        for (status, exit, line) in [
            (301, Exit::Failed, Some("https://other.example.org/")),
            (401, Exit::Refused, Some("DPoP error=\"invalid_token\"")),
            (403, Exit::Refused, Some("DPoP error=\"invalid_token\"")),
            (404, Exit::Failed, None),
            (500, Exit::Failed, None),
        ] {
            let failure = judge(StatusCode::from_u16(status).unwrap(), &headers).unwrap_err();
            assert_eq!((failure.exit(), failure.lines().first().map(String::as_str)), (exit, line), "{status}");
        }
        judge(StatusCode::NO_CONTENT, &headers).unwrap();
    }
}
