//! Who is answered at all.

use super::*;
use crate::pb::admin::bundles_client::BundlesClient;

#[tokio::test]
async fn only_the_daemons_user_root_and_the_admin_group_are_answered() {
    let house = House::new();
    for (who, is_admin) in [
        (caller(OWN, 20, &[]), true),
        (caller(0, 0, &[]), true),
        (caller(1000, GROUP, &[]), true),
        (caller(1000, 100, &[4, GROUP]), true),
        (caller(1000, 100, &[4]), false),
        (caller(OWN + 1, OWN, &[OWN]), false),
    ] {
        let listed = EntriesClient::new(house.calls(who.clone())).list(pb::ListEntriesRequest::default()).await;
        assert_eq!(listed.is_ok(), is_admin, "{who:?}");
        let asked = ControlClient::new(house.calls(who.clone())).status(pb::StatusRequest {}).await;
        let code = asked.map_or_else(|status| status.code(), |_| Code::Ok);
        assert_eq!(code, if is_admin { Code::Ok } else { Code::PermissionDenied }, "{who:?}");
        let asked = BundlesClient::new(house.calls(who.clone())).list(pb::ListBundlesRequest::default()).await;
        assert_eq!(asked.map_or_else(|status| status.code(), |_| Code::Ok), code, "{who:?}");
    }
    assert_eq!(house.fixture.records("refused").len(), 6);
}

#[tokio::test]
async fn health_and_reflection_are_behind_the_same_gate() {
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    let house = House::new();
    let check = |who| {
        let mut client = HealthClient::new(house.calls(who));
        async move { client.check(HealthCheckRequest::default()).await.map(|answer| answer.into_inner().status) }
    };
    assert_eq!(check(caller(OWN, 20, &[])).await.unwrap(), 1);
    assert_eq!(check(caller(1000, 100, &[])).await.unwrap_err().code(), Code::PermissionDenied);
    for service in ["grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"] {
        for (who, code) in [(caller(OWN, 20, &[]), None), (caller(1000, 100, &[]), Some("7"))] {
            let request = http::Request::post(format!("/{service}/ServerReflectionInfo"))
                .header("content-type", "application/grpc")
                .body(Body::empty())
                .unwrap();
            let answer = house.calls(who).oneshot(request).await.unwrap();
            let status = answer.headers().get("grpc-status").map(|value| value.to_str().unwrap());
            assert_eq!(status, code, "{service}");
        }
    }
}

#[tokio::test]
async fn a_request_whose_caller_is_not_known_is_a_fault() {
    let house = House::new();
    let error = EntriesClient::new(house.routes.clone()).list(pb::ListEntriesRequest::default()).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
}
