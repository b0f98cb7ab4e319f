//! The daemon's log: lines on stderr, whose level can be changed while it runs.
//!
//! Only our own lines go down to `debug` and `trace`; other crates are heard from `warn` up, since what they
//! say below that is not known to be free of secrets.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    io::{self, IsTerminal as _},
    panic,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
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
use crate::sys::{lines::Lines, threads};

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

/// From now on a panic is one line of the log, and those that are expected and answered in another way are none. Until
/// the log is begun, they are told as before.
pub fn log_panics() {
    let (before, panics) = (panic::take_hook(), Panics::default());
    panic::set_hook(Box::new(move |panicked| {
        if threads::is_quiet() {
            return;
        }
        if !tracing::dispatcher::has_been_set() {
            return before(panicked);
        }
        let place = panicked.location().map(ToString::to_string).unwrap_or_default();
        let words = panicked.payload_as_str().unwrap_or_default();
        panics.tell(&place, words, Backtrace::capture, Instant::now());
    }));
}

/// How many panics have a line. Callers may have a part in each, so as many in a minute as one party has lines.
#[derive(Debug, Default)]
struct Panics {
    lines: Lines,
    left_out: AtomicU64,
}

/// How much of a panic's words is told, in bytes.
const PANIC_BYTES_MAX: usize = 1_024;
/// Panics are no user's.
const NO_USER: u32 = u32::MAX;

impl Panics {
    fn tell(&self, place: &str, words: &str, backtrace: impl FnOnce() -> Backtrace, now: Instant) {
        if !self.lines.may(NO_USER, now) {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let left_out = self.left_out.swap(0, Ordering::Relaxed);
        let words = words.get(..words.floor_char_boundary(PANIC_BYTES_MAX)).unwrap_or_default();
        // Taken when RUST_BACKTRACE asks for it.
        let backtrace = backtrace();
        let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| tracing::field::display(&backtrace));
        let thread = std::thread::current();
        let name = thread.name().unwrap_or_default();
        tracing::error!(thread = name, place, words, left_out, backtrace, "panicked");
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
    #![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use std::time::Duration;

    use tracing::{debug, info, subscriber::with_default, warn};

    use super::*;
    use crate::sys::lines::LINES_OF_PARTY;

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
    fn panics_have_so_many_lines_a_minute_and_so_many_words() {
        logged(TEXT, false, |_, lines| {
            let (panics, begin) = (Panics::default(), Instant::now());
            (0..1_000).for_each(|_| panics.tell("src/a.rs:1:2", &"wö\n".repeat(1_000), Backtrace::disabled, begin));
            let first = lines.take();
            assert_eq!(first.lines().count(), usize::try_from(LINES_OF_PARTY).unwrap());
            assert!(first.lines().all(|line| line.contains("src/a.rs:1:2") && line.len() < 2 * PANIC_BYTES_MAX));
            panics.tell("src/a.rs:1:2", "once more", Backtrace::disabled, begin + Duration::from_secs(60));
            assert!(lines.take().contains("left_out=940"));
        });
    }

    /// The hook is the whole process's, so this test is run once more in a process of its own.
    #[test]
    fn a_panic_is_one_line_of_the_log_and_an_expected_one_is_none() {
        const OWN: &str = "DAYFLY_TEST_OF_PANICS";
        if std::env::var_os(OWN).is_some() {
            log_panics();
            let _telemetry = Telemetry::start(TEXT).unwrap();
            assert_eq!(threads::quietly(|| panic!("expected")), None::<()>);
            std::thread::spawn(|| panic!("a fault")).join().unwrap_err();
            return;
        }
        let name = "daemon::telemetry::tests::a_panic_is_one_line_of_the_log_and_an_expected_one_is_none";
        let mut test = std::process::Command::new(std::env::current_exe().unwrap());
        test.args(["--exact", name, "--nocapture"]).env(OWN, "").env_remove("RUST_BACKTRACE");
        let told = test.output().unwrap();
        let words = String::from_utf8(told.stderr).unwrap();
        assert!(told.status.success(), "{words}");
        assert_eq!(words.lines().count(), 1, "{words}");
        assert!(words.contains("ERROR panicked") && words.contains("words=\"a fault\""), "{words}");
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
