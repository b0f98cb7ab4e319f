//! gRPC health (`dayfly healthcheck`): serving as long as something can sign.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic_health::{ServingStatus, server::HealthReporter};

use super::standing::unsigned;
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
        let authorities: Arc<[Listed]> = listed.borrow_and_update().clone();
        let ends = authorities.iter().filter(|one| one.is_active()).map(|one| one.not_after);
        let (status, until) = match unsigned(&authorities, now) {
            None => (ServingStatus::Serving, ends.min()),
            // A clock that is set right changes no authority, so nobody tells.
            Some(_) => (ServingStatus::NotServing, None),
        };
        // The empty name is the whole daemon.
        reporter.set_service_status("", status).await;
        tokio::select! {
            () = stopping.cancelled() => return,
            changed = listed.changed() => if changed.is_err() { return },
            () = clock.sleep_between(now, until.unwrap_or(now + AGAIN_AFTER)) => {}
        }
    }
}

/// How soon it looks again where nothing can sign: as the clock does in its long sleeps.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

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

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_set_back_and_right_again_is_told_as_readiness_tells_it() {
        let (minute, hour) = (Duration::from_secs(60), Duration::from_secs(3_600));
        for (layout, issues_anew) in [("self-signed", false), ("rooted", true)] {
            let (clock, stopping, reporter) =
                (Clock::following_tokio(), CancellationToken::new(), HealthReporter::new());
            let both = listed(&clock, 48 * hour);
            let root = both.first().unwrap().clone();
            let issuing = both.get(1).filter(|_| issues_anew).cloned();
            let present: Arc<[Listed]> = std::iter::once(root.clone()).chain(issuing.clone()).collect();
            let (sender, receiver) = watch::channel(present);
            tokio::spawn(tell(reporter.clone(), receiver, clock.clone(), stopping.clone()));
            let health = HealthService::from_health_reporter(reporter);
            let ask = async || {
                let answer = health.check(Request::new(HealthCheckRequest::default())).await.unwrap();
                answer.into_inner().status()
            };
            tokio::time::sleep(minute).await;
            assert_eq!(ask().await, Wire::Serving, "{layout}");
            clock.set_back(2 * hour);
            tokio::time::sleep(minute).await;
            assert_eq!(ask().await, Wire::NotServing, "{layout}: the root is of the future");
            if let Some(old) = issuing {
                let anew = Listed { not_before: clock.now(), ..old };
                sender.send_replace([root, anew].into());
                tokio::time::sleep(minute).await;
                assert_eq!(ask().await, Wire::NotServing, "{layout}: one that is valid now is believed by nobody");
            }
            tokio::time::sleep(2 * hour).await;
            assert_eq!(ask().await, Wire::Serving, "{layout}: nobody has told that the clock is right again");
            stopping.cancel();
        }
    }
}
