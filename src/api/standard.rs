//! The services that gRPC itself defines, for whichever socket: health and reflection.

use tonic::service::{Interceptor, InterceptorLayer, RoutesBuilder};
use tonic_health::server::{HealthReporter, HealthService};
use tower::Layer as _;

use crate::pb;

/// Adds health and reflection to a socket's services, behind the same gate as these. Reflection names the services in
/// `names` and gRPC's own.
///
/// # Errors
/// When the compiled descriptors are not ours.
pub(crate) fn add_standard(
    routes: &mut RoutesBuilder,
    names: &[&'static str],
    health: &HealthReporter,
    gate: impl Interceptor + Clone + Send + Sync + 'static,
) -> Result<(), tonic_reflection::server::Error> {
    let reflection = || {
        let files = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(pb::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .with_service_name("grpc.health.v1.Health");
        names.iter().fold(files, |files, name| files.with_service_name(*name))
    };
    let gate = InterceptorLayer::new(gate);
    let service = HealthService::from_health_reporter(health.clone());
    let health = tonic_health::pb::health_server::HealthServer::new(service);
    routes.add_service(gate.layer(health));
    routes.add_service(gate.layer(reflection().build_v1()?));
    routes.add_service(gate.layer(reflection().build_v1alpha()?));
    Ok(())
}
