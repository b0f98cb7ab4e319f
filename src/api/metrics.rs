//! The counters in OpenMetrics text, for Prometheus.

use std::{
    collections::BTreeMap,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _, NoLabelSet, text},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};

use crate::{
    issuance::Stand,
    sys::{
        counters::{Counters, Kind},
        memory,
    },
};

/// What the text is called (OpenMetrics 1.0.0, exposition format).
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Everything there is to measure.
#[derive(Debug)]
pub(crate) struct Metrics(Registry);

impl Metrics {
    /// The numbers of a daemon that started at `started_at`.
    pub(crate) fn new(counters: Arc<Counters>, stand: Stand, started_at: SystemTime) -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Source { counters, stand, started_at }));
        Self(registry)
    }

    /// All of them, as they are now.
    pub(crate) fn text(&self) -> Result<String, fmt::Error> {
        let mut page = String::new();
        text::encode(&mut page, &self.0)?;
        Ok(page)
    }
}

struct Source {
    counters: Arc<Counters>,
    stand: Stand,
    started_at: SystemTime,
}

impl fmt::Debug for Source {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Source")
    }
}

impl Collector for Source {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families: BTreeMap<&'static str, (Kind, &'static str, Vec<_>)> = BTreeMap::new();
        self.counters.each(|sample| {
            let (_, _, values) = families.entry(sample.name).or_insert((sample.kind, sample.help, Vec::new()));
            values.push((sample.labels.to_vec(), sample.value));
        });
        for (name, (kind, help, values)) in families {
            let kind_of_metric = match kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
            };
            let name = format!("dayfly_{name}");
            let mut metric = encoder.encode_descriptor(&name, &format!("{help}."), None, kind_of_metric)?;
            for (labels, value) in values {
                match (kind, labels.is_empty()) {
                    (Kind::Counter, true) => metric.encode_counter::<NoLabelSet, _, u64>(&value, None)?,
                    (Kind::Gauge, true) => metric.encode_gauge(&signed(value))?,
                    (Kind::Counter, false) => ConstCounter::new(value).encode(metric.encode_family(&labels)?)?,
                    (Kind::Gauge, false) => gauge(value).encode(metric.encode_family(&labels)?)?,
                }
            }
        }
        self.encode_standing(&mut encoder)
    }
}

impl Source {
    fn encode_standing(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let standing = (self.stand)();
        let mut plain = |name, help, value: u64| {
            gauge(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
        };
        plain("dayfly_ready", "Whether credentials can be issued.", u64::from(standing.is_ready))?;
        plain("dayfly_audit_records", "Records that the audit log has taken.", standing.audit_records)?;
        plain("dayfly_start_time_seconds", "When the daemon started, in Unix time.", seconds(self.started_at))?;
        if let Ok(bytes) = memory::resident_bytes() {
            plain("dayfly_resident_memory_bytes", "Memory of the daemon, shared parts included.", bytes)?;
        }
        let help = "When an authority's certificate ends, in Unix time.";
        let mut ends =
            encoder.encode_descriptor("dayfly_authority_not_after_seconds", help, None, MetricType::Gauge)?;
        for authority in standing.authorities {
            let labels = [("kind", authority.kind), ("slot", authority.slot), ("id", authority.id.as_str())];
            gauge(seconds(authority.not_after)).encode(ends.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

fn gauge(value: u64) -> ConstGauge<i64> {
    ConstGauge::new(signed(value))
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::issuance::{AuthorityStanding, Standing};

    #[test]
    fn the_page_is_openmetrics() {
        let counters = Arc::new(Counters::default());
        counters.request("Fetch", 0);
        counters.connected();
        let not_after = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let authority = AuthorityStanding {
            id: "a1".into(),
            kind: "issuing",
            slot: "active",
            not_before: SystemTime::UNIX_EPOCH,
            not_after,
        };
        let standing = Standing {
            is_ready: true,
            problems: Vec::new(),
            authorities: vec![authority],
            audit_records: 7,
            ..Standing::default()
        };
        let stand: Stand = Arc::new(move || standing.clone());
        let page = Metrics::new(counters, stand, not_after).text().unwrap();
        for line in [
            "# TYPE dayfly_requests counter\n",
            "dayfly_requests_total{method=\"Fetch\",code=\"ok\"} 1\n",
            "# TYPE dayfly_connections gauge\ndayfly_connections 1\n",
            "dayfly_connections_opened_total 1\n",
            "dayfly_ready 1\n",
            "dayfly_start_time_seconds 1800000000\n",
            "dayfly_authority_not_after_seconds{kind=\"issuing\",slot=\"active\",id=\"a1\"} 1800000000\n",
            "# HELP dayfly_panics Panics caught; each is a bug.\n",
        ] {
            assert!(page.contains(line), "{line} is not in\n{page}");
        }
        assert!(page.ends_with("# EOF\n"));
        let names = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let names: Vec<_> = names.collect();
        assert!(names.iter().all(|name| names.iter().filter(|other| *other == name).count() == 1), "{names:?}");
    }
}
