//! The endpoint over HTTP/1.1, with what clients read before they come: metadata and keys (RFC 6749 §3.2, RFC 8414,
//! RFC 7517).

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderValue, Method, StatusCode, header};
use serde_json::json;

use super::{
    Endpoint, KEYS, Presented, TOKEN,
    answer::{Code, Refusal},
    form::Form,
};
use crate::{
    api::pages::{Answer, Asked, KEPT_SECONDS, Pages, document, only, words},
    issuance::AccessAsked,
    oauth::{dpop::ALGORITHMS, exchange::TokenType},
};

/// The grants (RFC 6749 §4.4, RFC 8693 §2.1).
const CLIENT_CREDENTIALS: &str = "client_credentials";
const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// The pages of one endpoint.
pub(super) struct Token {
    endpoint: Arc<Endpoint>,
    token_path: String,
    keys_path: String,
    metadata_paths: [String; 3],
    metadata: Bytes,
}

impl Token {
    pub(super) fn new(endpoint: Arc<Endpoint>) -> Self {
        let name = endpoint.name.as_str();
        // The path of the issuer's name; for its host, any: a socket has none.
        let path = name.splitn(4, '/').nth(3).map(|path| format!("/{path}")).unwrap_or_default();
        let metadata = json!({
            "issuer": name,
            "token_endpoint": endpoint.url,
            "jwks_uri": format!("{name}{KEYS}"),
            "grant_types_supported": [CLIENT_CREDENTIALS, TOKEN_EXCHANGE],
            "token_endpoint_auth_methods_supported": ["none"],
            "dpop_signing_alg_values_supported": ALGORITHMS.split(' ').collect::<Vec<_>>(),
            // Without a page for people there is neither, and readers insist on both (RFC 8414 §2, OpenID Discovery §3).
            "response_types_supported": [],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        });
        Self {
            token_path: format!("{path}{TOKEN}"),
            keys_path: format!("{path}{KEYS}"),
            metadata_paths: [
                "/.well-known/oauth-authorization-server".to_owned(),
                format!("/.well-known/oauth-authorization-server{path}"),
                format!("{path}/.well-known/openid-configuration"),
            ],
            metadata: metadata.to_string().into(),
            endpoint,
        }
    }

    async fn token(&self, asked: Asked) -> Answer {
        if asked.method != Method::POST {
            return only(self.refuse(StatusCode::METHOD_NOT_ALLOWED, "the token endpoint takes only POST"), "POST");
        }
        match self.issue(&asked).await {
            Ok(answer) => answer,
            Err(refusal) => refused(refusal),
        }
    }

    async fn issue(&self, asked: &Asked) -> Result<Answer, Refusal> {
        let form = Form::read(&asked.headers, &asked.body)?;
        let presented = match form.get("grant_type") {
            Some(CLIENT_CREDENTIALS) => None,
            Some(TOKEN_EXCHANGE) => Some(presented(&form)?),
            None => return Err(Refusal::new(Code::InvalidRequest, "grant_type is missing")),
            Some(_) => return Err(Refusal::new(Code::UnsupportedGrantType, "the grant types are in the metadata")),
        };
        let has_secret = ["client_secret", "client_assertion"].into_iter().any(|name| form.get(name).is_some());
        if has_secret || asked.headers.contains_key(header::AUTHORIZATION) {
            let words = "no secret is needed here: send neither Authorization nor client_secret nor client_assertion";
            return Err(Refusal::new(Code::InvalidRequest, words));
        }
        let (client, scope) = (form.get("client_id").unwrap_or_default(), form.get("scope").unwrap_or_default());
        let wanted = AccessAsked::new(client, form.targets(), scope, 0)?;
        let wanted = wanted.for_reason(form.get("reason").unwrap_or_default())?;
        let proofs: Vec<&[u8]> = asked.headers.get_all("dpop").iter().map(HeaderValue::as_bytes).collect();
        let issued = presented.as_ref().map(|(_, issued)| issued.name());
        let presented = presented.map(|(presented, _)| presented);
        let token = self.endpoint.issue(&asked.caller, &proofs, wanted, presented).await?;
        let mut body = json!({
            "access_token": token.text(),
            "token_type": "DPoP",
            "expires_in": token.lifetime().as_secs(),
            "scope": token.scope(),
        });
        if let (Some(members), Some(issued)) = (body.as_object_mut(), issued) {
            members.insert("issued_token_type".to_owned(), issued.into());
        }
        Ok(document(StatusCode::OK, body.to_string(), "no-store"))
    }
}

/// What is to be exchanged, and for what (RFC 8693 §2.1).
fn presented(form: &Form) -> Result<(Presented<'_>, TokenType), Refusal> {
    let wrong = |words: &'static str| Refusal::new(Code::InvalidRequest, words);
    if ["actor_token", "actor_token_type"].into_iter().any(|name| form.get(name).is_some()) {
        return Err(wrong("send no actor_token: the actor is the caller"));
    }
    let token = form.get("subject_token").ok_or_else(|| wrong("subject_token is missing"))?;
    let kind = form.get("subject_token_type").ok_or_else(|| wrong("subject_token_type is missing"))?;
    let kind = TokenType::named(kind).ok_or_else(|| {
        wrong("subject_token_type must be urn:ietf:params:oauth:token-type:access_token, or with jwt or id_token at its end")
    })?;
    let issued = match form.get("requested_token_type").map(TokenType::named) {
        None => TokenType::AccessToken,
        Some(Some(issued @ (TokenType::AccessToken | TokenType::Jwt))) => issued,
        Some(_) => {
            return Err(wrong(
                "requested_token_type must be urn:ietf:params:oauth:token-type:access_token or :jwt, or left out",
            ));
        }
    };
    Ok((Presented { token, kind }, issued))
}

impl Pages for Token {
    fn answer(&self, asked: Asked) -> BoxFuture<'_, Answer> {
        Box::pin(async move {
            let path = asked.uri.path();
            if path == self.token_path {
                return self.token(asked).await;
            }
            let body = if path == self.keys_path {
                self.endpoint.issuer.present_keyring().access_keys()
            } else if self.metadata_paths.iter().any(|known| known == path) {
                self.metadata.clone()
            } else {
                return words(StatusCode::NOT_FOUND, "not found\n");
            };
            // A key is published long before it signs.
            match asked.method {
                Method::GET | Method::HEAD => document(StatusCode::OK, body, KEPT_SECONDS),
                _ => only(self.refuse(StatusCode::METHOD_NOT_ALLOWED, "this page takes only GET"), "GET, HEAD"),
            }
        })
    }

    /// As the endpoint tells its errors (RFC 6749 §5.2), which has no code of its own for these.
    fn refuse(&self, status: StatusCode, why: &str) -> Answer {
        let code = match status {
            StatusCode::SERVICE_UNAVAILABLE => "temporarily_unavailable",
            StatusCode::INTERNAL_SERVER_ERROR => "server_error",
            _ => "invalid_request",
        };
        document(status, json!({ "error": code, "error_description": why }).to_string(), "no-store")
    }
}

fn refused(refusal: Refusal) -> Answer {
    let Refusal { code, description, nonce, retry_after } = refusal;
    let body = json!({ "error": code.name(), "error_description": description }).to_string();
    let mut answer = document(StatusCode::from_u16(code.status()).unwrap_or(StatusCode::BAD_REQUEST), body, "no-store");
    if let Some(nonce) = nonce.and_then(|nonce| HeaderValue::try_from(nonce).ok()) {
        answer.headers_mut().insert("dpop-nonce", nonce);
    }
    if let Some(after) = retry_after {
        answer.headers_mut().insert(header::RETRY_AFTER, after.as_secs().max(1).into());
    }
    answer
}
