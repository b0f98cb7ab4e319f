//! gRPC health (`dayfly healthcheck`): serving as long as something can sign.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::{authority::Listed, sys::Clock};

/// Tells whether leaves can be signed, each time that changes, until the daemon stops.
pub(super) async fn tell(
    reporter: HealthReporter,
    mut listed: watch::Receiver<Arc<[Listed]>>,
    clock: Clock,
    stopping: CancellationToken,
) {
    loop {
        let now = clock.now();
        let signs = |one: &&Listed| one.signs_leaves && one.is_valid(now);
        let end = listed.borrow_and_update().iter().find(signs).map(|one| one.not_after);
        let status = if end.is_some() { ServingStatus::Serving } else { ServingStatus::NotServing };
        // The empty name is the whole daemon.
        reporter.set_service_status("", status).await;
        let over = async {
            match end {
                Some(end) => clock.sleep_between(now, end).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stopping.cancelled() => return,
            changed = listed.changed() => if changed.is_err() { return },
            () = over => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::time::Duration;

    use tonic::Request;
    use tonic_health::{
        pb::{HealthCheckRequest, health_check_response::ServingStatus as Wire, health_server::Health as _},
        server::HealthService,
    };

    use super::*;
    use crate::daemon::standing::fixture::listed;

    #[tokio::test(start_paused = true)]
    async fn it_serves_until_what_signs_leaves_has_expired_and_again_with_a_successor() {
        let (clock, stopping) = (Clock::following_tokio(), CancellationToken::new());
        let (minute, reporter) = (Duration::from_secs(60), HealthReporter::new());
        let (sender, receiver) = watch::channel(listed(&clock, minute));
        tokio::spawn(tell(reporter.clone(), receiver, clock.clone(), stopping.clone()));
        let health = HealthService::from_health_reporter(reporter);
        let ask = async || {
            let answer = health.check(Request::new(HealthCheckRequest::default())).await.unwrap();
            answer.into_inner().status()
        };
        tokio::time::sleep(minute / 2).await;
        assert_eq!(ask().await, Wire::Serving);
        tokio::time::sleep(minute).await;
        assert_eq!(ask().await, Wire::NotServing, "the root lives, and signs no leaf");
        sender.send_replace(listed(&clock, minute));
        tokio::time::sleep(minute / 2).await;
        assert_eq!(ask().await, Wire::Serving);
        stopping.cancel();
    }
}
