//! What every gRPC door offers beside its own services: health, and reflection of what it serves.

use tonic::service::RoutesBuilder;
use tonic_health::server::HealthReporter;

use crate::pb::DESCRIPTORS;

/// Adds `grpc.health.v1.Health` and both versions of `grpc.reflection`, which tell of `services` and health alone.
pub(super) fn add_health_and_reflection(routes: &mut RoutesBuilder, services: &[&str]) {
    // Whoever can ask is answered: the sockets are open only while the daemon serves.
    routes.add_service(tonic_health::pb::health_server::HealthServer::new(
        tonic_health::server::HealthService::from_health_reporter(HealthReporter::new()),
    ));
    let reflection = || {
        let builder = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .with_service_name("grpc.health.v1.Health");
        services.iter().fold(builder, |builder, service| builder.with_service_name(*service))
    };
    // The descriptors were compiled with the program; without them there is no reflection, and everything else works.
    if let (Ok(v1), Ok(v1alpha)) = (reflection().build_v1(), reflection().build_v1alpha()) {
        routes.add_service(v1);
        routes.add_service(v1alpha);
    }
}
