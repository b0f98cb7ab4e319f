//! The verifier as a layer of `tower`.

use std::{
    future::{Future, Ready, ready},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use tower::{Layer, Service};

use crate::oauth::{challenge::Challenge, verify::Verified};

use super::ResourceServer;

const AGENT: HeaderName = HeaderName::from_static("x-dayfly-agent");
const SCOPES: HeaderName = HeaderName::from_static("x-dayfly-scopes");

/// Puts a [`Guard`] around services.
#[derive(Clone, Debug)]
pub struct GuardLayer(Arc<ResourceServer>);

impl GuardLayer {
    /// Of this verifier.
    pub fn new(server: Arc<ResourceServer>) -> Self {
        Self(server)
    }
}

impl<S> Layer<S> for GuardLayer {
    type Service = Guard<S>;

    fn layer(&self, inner: S) -> Guard<S> {
        Guard { inner, server: self.0.clone() }
    }
}

/// A service that only verified requests reach. Each has [`Verified`] among its extensions, and `x-dayfly-agent` and
/// `x-dayfly-scopes` as it says, whatever the client has sent under these names.
#[derive(Clone, Debug)]
pub struct Guard<S> {
    inner: S,
    server: Arc<ResourceServer>,
}

impl<S, B, R> Service<Request<B>> for Guard<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Default,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Answer<S::Future, R, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        match self.server.verify(request.method(), request.uri(), request.headers()) {
            Ok(verified) => {
                tell(&mut request, &verified);
                request.extensions_mut().insert(verified);
                Answer::Passed(Box::pin(self.inner.call(request)))
            }
            Err(refused) => Answer::Refused(ready(Ok(answer(refused.challenge())))),
        }
    }
}

fn tell<B>(request: &mut Request<B>, verified: &Verified) {
    for (name, text) in [(AGENT, verified.agent().to_owned()), (SCOPES, verified.scopes().to_string())] {
        let value = HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""));
        request.headers_mut().insert(name, value);
    }
}

/// An answer without a body.
fn answer<R: Default>(challenge: Challenge) -> Response<R> {
    let mut response = Response::new(R::default());
    *response.status_mut() = StatusCode::from_u16(challenge.status).unwrap_or(StatusCode::FORBIDDEN);
    for (name, text) in challenge.headers() {
        if let Ok(value) = HeaderValue::try_from(text) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// The service's answer, or a refusal.
#[derive(Debug)]
pub enum Answer<F, R, E> {
    /// What the service answers.
    Passed(Pin<Box<F>>),
    /// Nothing but the refusal.
    Refused(Ready<Result<Response<R>, E>>),
}

impl<F, R, E> Future for Answer<F, R, E>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match &mut *self {
            Self::Passed(passed) => ready!(passed.as_mut().poll(cx)),
            Self::Refused(refused) => ready!(Pin::new(refused).poll(cx)),
        })
    }
}
