//! The services that gRPC itself defines, for whichever socket: health and reflection.

use std::{
    convert::Infallible,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use futures_util::future::{Either, Ready, ready};
use http::{Request, Response};
use tonic::{
    Status,
    body::Body,
    server::NamedService,
    service::{Interceptor, InterceptorLayer, RoutesBuilder},
};
use tonic_health::server::{HealthReporter, HealthService};
use tonic_reflection::server::{Builder, Error};
use tower::{Layer as _, Service};

use crate::pb;

/// Adds health and reflection to a socket's services, behind the same gate as these. Reflection names the services in
/// `names` and gRPC's own.
pub(crate) fn add_standard(
    routes: &mut RoutesBuilder,
    names: &'static [&'static str],
    health: &HealthReporter,
    gate: impl Interceptor + Clone + Send + Sync + 'static,
) {
    let gate = InterceptorLayer::new(gate);
    let service = HealthService::from_health_reporter(health.clone());
    let health = tonic_health::pb::health_server::HealthServer::new(service);
    routes.add_service(gate.layer(health));
    routes.add_service(gate.layer(Asked::new(move || files(names).build_v1())));
    routes.add_service(gate.layer(Asked::new(move || files(names).build_v1alpha())));
}

fn files(names: &[&'static str]) -> Builder<'static> {
    let files = Builder::configure()
        .register_encoded_file_descriptor_set(pb::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .with_service_name("grpc.health.v1.Health");
    names.iter().fold(files, |files, name| files.with_service_name(*name))
}

/// A service that is made when it is first asked. Indexing the descriptors takes most of a millisecond, four times, and
/// a daemon that restarts has callers waiting.
struct Asked<S> {
    make: Arc<dyn Fn() -> Result<S, Error> + Send + Sync>,
    made: Arc<OnceLock<Option<S>>>,
}

impl<S> Asked<S> {
    fn new(make: impl Fn() -> Result<S, Error> + Send + Sync + 'static) -> Self {
        Self { make: Arc::new(make), made: Arc::default() }
    }
}

impl<S> Clone for Asked<S> {
    fn clone(&self) -> Self {
        Self { make: self.make.clone(), made: self.made.clone() }
    }
}

impl<S: NamedService> NamedService for Asked<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Asked<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<S::Future, Ready<Result<Response<Body>, Infallible>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match self.made.get_or_init(|| (self.make)().ok()) {
            // tonic's generated servers are always ready.
            Some(service) => Either::Left(service.clone().call(request)),
            None => Either::Right(ready(Ok(Status::internal("the compiled descriptors are not ours").into_http()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reflection_can_be_made() {
        assert!(files(&["SpiffeWorkloadAPI"]).build_v1().is_ok());
        assert!(files(&["dayfly.v1.Entries", "dayfly.v1.Control"]).build_v1alpha().is_ok());
    }
}
