//! The daemon's log: lines on stderr, whose level can be changed while it runs.
//!
//! Only our own lines go down to `debug` and `trace`; other crates are heard from `warn` up, since what they
//! say below that is not known to be free of secrets.

use std::{
    io::{self, IsTerminal as _},
    sync::{Arc, Mutex, PoisonError},
};

use tracing::{Subscriber, field::Field, level_filters::LevelFilter, subscriber::SetGlobalDefaultError};
use tracing_subscriber::{
    Layer as _, Registry,
    field::MakeExt as _,
    filter::Targets,
    fmt::{
        self, FormatFields, MakeWriter,
        format::{Writer, debug_fn},
    },
    layer::SubscriberExt as _,
    reload,
};

use super::config::{Log, LogFormat, LogLevel};

/// Changes the level of the log. Cloning shares it.
#[derive(Clone)]
pub struct Telemetry {
    handle: reload::Handle<Targets, Registry>,
    level: Arc<Mutex<LogLevel>>,
}

impl Telemetry {
    /// Begins to log, for the whole process.
    ///
    /// # Errors
    /// When somebody logs already.
    pub fn start(log: Log) -> Result<Self, SetGlobalDefaultError> {
        // Whether a terminal wants colour (`NO_COLOR`) is the subscriber's own default.
        let (subscriber, telemetry) = build(log, io::stderr, io::stderr().is_terminal());
        tracing::subscriber::set_global_default(subscriber)?;
        Ok(telemetry)
    }

    /// The present level.
    pub fn level(&self) -> LogLevel {
        *self.level.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the level; answers the one before.
    pub fn set_level(&self, level: LogLevel) -> LogLevel {
        let mut present = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        // It fails only when the log is gone, and then no level matters.
        if self.handle.reload(targets(level)).is_ok() {
            return std::mem::replace(&mut *present, level);
        }
        *present
    }
}

/// The subscriber that writes lines to `writer`.
fn build<W>(log: Log, writer: W, may_colour: bool) -> (impl Subscriber + Send + Sync, Telemetry)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(targets(log.level));
    let lines = fmt::layer().with_writer(writer);
    let lines = match log.format {
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed(),
        LogFormat::Text if may_colour => lines.with_target(false).fmt_fields(plain_fields()).boxed(),
        LogFormat::Text => lines.with_target(false).fmt_fields(plain_fields()).with_ansi(false).boxed(),
    };
    let telemetry = Telemetry { handle, level: Arc::new(Mutex::new(log.level)) };
    (tracing_subscriber::registry().with(filter).with(lines), telemetry)
}

/// Fields as `name=value`, where no text of a caller's can end the line or speak to the terminal.
fn plain_fields() -> impl for<'w> FormatFields<'w> + Send + Sync + 'static {
    let show = |out: &mut Writer<'_>, field: &Field, value: &dyn std::fmt::Debug| {
        if field.name() != "message" {
            write!(out, "{}=", field.name())?;
        }
        format!("{value:?}").chars().try_for_each(|letter| match letter.is_control() {
            true => write!(out, "{}", letter.escape_default()),
            false => out.write_char(letter),
        })
    };
    debug_fn(show).delimited(" ")
}

fn targets(level: LogLevel) -> Targets {
    let ours = LevelFilter::from(level);
    Targets::new().with_target(env!("CARGO_PKG_NAME"), ours).with_default(ours.min(LevelFilter::WARN))
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use tracing::{debug, info, subscriber::with_default, warn};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Lines {
        fn take(&self) -> String {
            String::from_utf8(std::mem::take(&mut self.0.lock().unwrap())).unwrap()
        }
    }

    fn logged(log: Log, may_colour: bool, events: impl FnOnce(&Telemetry, &Lines)) {
        let lines = Lines::default();
        let writer = lines.clone();
        let (subscriber, telemetry) = build(log, move || writer.clone(), may_colour);
        with_default(subscriber, || events(&telemetry, &lines));
    }

    const TEXT: Log = Log { level: LogLevel::Info, format: LogFormat::Text };

    #[test]
    fn the_level_changes_while_it_runs() {
        logged(TEXT, false, |telemetry, lines| {
            debug!("one");
            assert_eq!(lines.take(), "");
            assert_eq!(telemetry.set_level(LogLevel::Debug), LogLevel::Info);
            debug!("two");
            assert!(lines.take().contains("DEBUG two"));
            assert_eq!(telemetry.set_level(LogLevel::Error), LogLevel::Debug);
            warn!("three");
            assert_eq!(lines.take(), "");
            assert_eq!(telemetry.level(), LogLevel::Error);
        });
    }

    #[test]
    fn other_crates_are_not_heard_below_warn() {
        logged(Log { level: LogLevel::Trace, ..TEXT }, false, |_, lines| {
            info!(target: "h2::proto", "frame");
            assert_eq!(lines.take(), "");
            warn!(target: "h2::proto", "broken");
            assert!(lines.take().contains("broken"));
        });
    }

    #[test]
    fn text_has_no_colour_unless_it_may() {
        logged(TEXT, false, |_, lines| {
            info!(serial = "ab", "issued");
            let line = lines.take();
            assert!(line.ends_with(" INFO issued serial=\"ab\"\n"), "{line:?}");
        });
    }

    #[test]
    fn json_is_one_flat_object_a_line() {
        logged(Log { format: LogFormat::Json, ..TEXT }, true, |_, lines| {
            info!(serial = "ab", "issued\nand \x1b[31mmore");
            let line = lines.take();
            let object: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert_eq!(line.matches('\n').count(), 1);
            assert_eq!(object.get("serial").unwrap(), "ab");
            assert_eq!(object.get("message").unwrap(), "issued\nand \x1b[31mmore");
            assert_eq!(object.get("level").unwrap(), "INFO");
            assert!(object.get("timestamp").is_some());
        });
    }

    #[test]
    fn text_of_callers_cannot_end_a_line_or_colour_the_terminal() {
        logged(TEXT, true, |_, lines| {
            info!(hint = %"\x1b[31mréd\n\tERROR forged", path = ?"a\nb", "shown");
            let line = lines.take();
            assert!(line.ends_with("shown hint=\\u{1b}[31mréd\\n\\tERROR forged path=\"a\\nb\"\n"), "{line:?}");
        });
    }
}
