//! Connections to a daemon's sockets, and the daemon's refusals in a person's words.

use std::{
    future::Future,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::{
    Code, Request, Response, Status, Streaming,
    metadata::MetadataValue,
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

use crate::{
    pb::{
        admin::{
            bundles_client::BundlesClient, catalog_client::CatalogClient, control_client::ControlClient,
            entries_client::EntriesClient, revocations_client::RevocationsClient,
        },
        workload::spiffe_workload_api_client::SpiffeWorkloadApiClient,
    },
    sys::process,
};

use super::{
    context::Context,
    exit::Exit,
    failure::{Failure, whole},
};

/// The services of the admin socket.
pub(crate) struct Admin {
    pub(crate) entries: EntriesClient<Channel>,
    pub(crate) catalog: CatalogClient<Channel>,
    pub(crate) revocations: RevocationsClient<Channel>,
    pub(crate) bundles: BundlesClient<Channel>,
    pub(crate) control: ControlClient<Channel>,
}

impl Admin {
    /// Connects to the daemon that is meant.
    ///
    /// # Errors
    /// When nobody listens there, or this user may not open the socket.
    pub(crate) async fn connect(context: &Context) -> Result<Self, Failure> {
        Self::connect_to(&context.admin_socket()?).await
    }

    /// Connects to this admin socket.
    ///
    /// # Errors
    /// As [`Admin::connect`].
    pub(crate) async fn connect_to(socket: &Path) -> Result<Self, Failure> {
        let channel = channel(socket, Door::Admin).await?;
        Ok(Self {
            entries: EntriesClient::new(channel.clone())
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX),
            catalog: CatalogClient::new(channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX),
            revocations: RevocationsClient::new(channel.clone()),
            bundles: BundlesClient::new(channel.clone()),
            control: ControlClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX),
        })
    }
}

/// Waits for an answer of the admin socket, not for ever.
///
/// # Errors
/// The refusal, in words.
pub(crate) async fn answer<T>(call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, Failure> {
    match tokio::time::timeout(ANSWER_WAIT, call).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(admin_refusal(&status)),
        Err(_) => Err(Failure::new(
            Exit::Unreachable,
            format!("the daemon did not answer within {} s", ANSWER_WAIT.as_secs()),
        )),
    }
}

/// A client of the Workload API whose calls carry the security header.
pub(crate) type Workload = SpiffeWorkloadApiClient<InterceptedService<Channel, SecurityHeader>>;

/// Connects to a workload socket.
///
/// # Errors
/// When nobody listens there.
pub(crate) async fn workload(socket: &Path) -> Result<Workload, Failure> {
    Ok(SpiffeWorkloadApiClient::new(workload_channel(socket).await?))
}

/// Waits for a first answer of the workload socket, not for ever.
///
/// # Errors
/// What the asking ends with, or that nothing came.
pub(crate) async fn first<T>(asking: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::time::timeout(FIRST_WAIT, asking).await.unwrap_or_else(|_| {
        Err(Failure::new(Exit::Unreachable, format!("the daemon did not answer within {} s", FIRST_WAIT.as_secs())))
    })
}

/// The stream that a call of the Workload API begins.
///
/// # Errors
/// The refusal, in words.
pub(crate) async fn stream<T>(
    call: impl Future<Output = Result<Response<Streaming<T>>, Status>>,
) -> Result<Streaming<T>, Failure> {
    call.await.map(Response::into_inner).map_err(|status| workload_refusal(&status))
}

/// The next message of a stream; its end is a failure, whatever the status.
///
/// # Errors
/// The refusal, in words.
pub(crate) async fn next<T>(stream: &mut Streaming<T>) -> Result<T, Failure> {
    let message = stream.message().await.and_then(|message| message.ok_or_else(ended));
    message.map_err(|status| workload_refusal(&status))
}

/// What a stream that ends without a reason has for one.
pub(crate) fn ended() -> Status {
    Status::unavailable("it ended the stream")
}

/// As [`workload`], for any service of that socket.
///
/// # Errors
/// As [`workload`].
pub(crate) async fn workload_channel(socket: &Path) -> Result<InterceptedService<Channel, SecurityHeader>, Failure> {
    // A daemon of the same uid may have to look which program we are.
    process::allow_looks();
    Ok(InterceptedService::new(channel(socket, Door::Workload).await?, SecurityHeader))
}

/// `workload.spiffe.io: true`, which keeps a browser or proxy from being tricked into asking (Workload Endpoint §5).
#[derive(Clone, Copy)]
pub(crate) struct SecurityHeader;

impl Interceptor for SecurityHeader {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("workload.spiffe.io", MetadataValue::from_static("true"));
        Ok(request)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Door {
    Admin,
    Workload,
}

impl Door {
    /// By which its socket is named.
    fn flag(self) -> &'static str {
        match self {
            Self::Admin => "--admin-socket",
            Self::Workload => "--socket",
        }
    }
}

async fn channel(socket: &Path, door: Door) -> Result<Channel, Failure> {
    // The first connection is made here, where the system's word for a failure is still known.
    let stream = connect(socket).await.map_err(|error| not_connected(socket, door, &error))?;
    channel_over(stream, socket).await
}

/// What breaks later is connected anew.
async fn channel_over(stream: UnixStream, socket: &Path) -> Result<Channel, Failure> {
    let mut first = Some(stream);
    let path: PathBuf = socket.to_owned();
    let connector = tower::service_fn(move |_| {
        let (first, path) = (first.take(), path.clone());
        async move {
            match first {
                Some(stream) => Ok::<_, io::Error>(TokioIo::new(stream)),
                None => UnixStream::connect(path).await.map(TokioIo::new),
            }
        }
    });
    let endpoint = Endpoint::from_static("http://localhost").connect_timeout(CONNECT_WAIT);
    endpoint.connect_with_connector(connector).await.map_err(|error| {
        let at = socket.display();
        if is_hang_up(&error) {
            Failure::new(Exit::Unreachable, format!("the daemon at {at} closed the connection")).hint(OVERLOADED)
        } else {
            Failure::new(Exit::Unreachable, format!("{at} does not speak as a daemon does: {}", whole(&error)))
        }
    })
}

/// Waits, not for long, where a busy daemon's queue is full: a socket that does not block is told so at once.
async fn connect(socket: &Path) -> io::Result<UnixStream> {
    let end = tokio::time::Instant::now() + CONNECT_WAIT;
    loop {
        match UnixStream::connect(socket).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && tokio::time::Instant::now() < end => {
                tokio::time::sleep(QUEUE_WAIT).await;
            }
            done => return done,
        }
    }
}

/// Whether the other side closed the connection, before or after it read from it.
fn is_hang_up(error: &(dyn std::error::Error + 'static)) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    causes.any(|cause| {
        let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        matches!(kind, Some(BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof))
    })
}

fn broken() -> Failure {
    Failure::new(Exit::Unreachable, "the connection to the daemon broke")
        .hint("did it stop, or does this user have too many connections? its log says why; try again")
}

fn not_connected(socket: &Path, door: Door, error: &io::Error) -> Failure {
    let at = socket.display();
    match error.kind() {
        io::ErrorKind::NotFound => Failure::new(Exit::Unreachable, format!("no daemon has its socket at {at}")).hint(
            format!("is it running? try `dayfly up`, or say with `--home` or `{}` which one is meant", door.flag()),
        ),
        io::ErrorKind::ConnectionRefused => {
            Failure::new(Exit::Unreachable, format!("no daemon listens at {at} any more"))
                .hint("is it running? try `dayfly up`")
        }
        io::ErrorKind::PermissionDenied => {
            let failure = Failure::new(Exit::Refused, format!("uid {} may not open {at}", nix::unistd::geteuid()));
            match door {
                Door::Admin => failure.hint(WHO_MAY),
                Door::Workload => {
                    failure.hint("every process may open a workload socket; look at the modes of the folders above it")
                }
            }
        }
        io::ErrorKind::WouldBlock => {
            Failure::new(Exit::Unreachable, format!("the daemon at {at} takes no more connections now"))
                .hint(OVERLOADED)
        }
        io::ErrorKind::InvalidInput => Failure::new(Exit::Usage, format!("the path {at} is too long for a socket"))
            .hint("a socket's path has at most 107 bytes"),
        _ => Failure::new(Exit::Unreachable, format!("{at} cannot be reached: {error}")),
    }
}

/// What the admin socket's refusals mean.
pub(crate) fn admin_refusal(status: &Status) -> Failure {
    let said = status.message();
    match status.code() {
        // A connection that broke has a cause of this side; what the daemon says has none.
        _ if std::error::Error::source(status).is_some() => broken(),
        Code::InvalidArgument => listed(Exit::Usage, "the daemon does not accept this", said),
        Code::NotFound => Failure::new(Exit::Missing, said),
        Code::AlreadyExists => listed(Exit::Conflict, "it is there already", said),
        // Somebody needs it; whoever asked knows what to do.
        Code::FailedPrecondition => Failure::new(Exit::Conflict, said),
        Code::Aborted => {
            Failure::new(Exit::Conflict, said).hint("somebody else changed it meanwhile: look again, then repeat")
        }
        Code::PermissionDenied | Code::Unauthenticated => {
            Failure::new(Exit::Refused, format!("the daemon refused: {said}")).hint(WHO_MAY)
        }
        Code::Unavailable => Failure::new(Exit::Unreachable, format!("the daemon cannot do it now: {said}"))
            // Whether anything was changed only the daemon knows, and says so where it does.
            .hint("`dayfly status` tells its problems"),
        Code::Unimplemented => Failure::new(Exit::Failed, "this daemon does not know that verb")
            .hint("it is older than this program: `dayfly status` tells its version"),
        Code::ResourceExhausted | Code::OutOfRange => Failure::new(Exit::Failed, format!("too much at once: {said}")),
        _ => Failure::new(Exit::Failed, format!("the daemon failed: {said}")).hint("its log has the cause"),
    }
}

/// What the workload socket's refusals mean.
pub(crate) fn workload_refusal(status: &Status) -> Failure {
    let said = status.message();
    let (pid, uid) = (std::process::id(), nix::unistd::geteuid());
    match status.code() {
        _ if std::error::Error::source(status).is_some() => broken(),
        Code::PermissionDenied => Failure::new(Exit::Refused, format!("{said} for this process (uid {uid}, pid {pid})"))
            .hint("no entry gives it one: its admin sees why with `dayfly explain --pid PID`, and registers with `dayfly entry add`"),
        Code::Unavailable => Failure::new(Exit::Unreachable, format!("the daemon cannot answer now: {said}")),
        Code::InvalidArgument => Failure::new(Exit::Usage, format!("the daemon does not accept this: {said}")),
        Code::Unimplemented => Failure::new(Exit::Failed, "this endpoint does not offer that"),
        _ => Failure::new(Exit::Failed, format!("the daemon failed: {said}")).hint("its log has the cause"),
    }
}

/// One problem is the sentence; several stand below it.
fn listed(exit: Exit, words: &str, problems: &str) -> Failure {
    match problems.lines().count() {
        0 => Failure::new(exit, words),
        1 => Failure::new(exit, problems.trim()),
        _ => Failure::new(exit, words).details(problems.lines()),
    }
}

const WHO_MAY: &str = "admin verbs are for the daemon's own user, root, and the members of its admin_group";
const OVERLOADED: &str = "it is overloaded, or this user has too many connections: try again";
const CONNECT_WAIT: Duration = Duration::from_secs(5);
/// Between two looks whether there is room in the daemon's queue.
const QUEUE_WAIT: Duration = Duration::from_millis(20);
/// Attestation may hash a large program; the daemon itself gives up after 30 s.
const FIRST_WAIT: Duration = Duration::from_secs(40);
const ANSWER_WAIT: Duration = Duration::from_secs(30);
/// A page of a thousand entries, or an `apply` of ten thousand, fits.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn every_refusal_of_the_admin_socket_is_a_sentence_with_an_exit_code() {
        for (code, exit) in [
            (Code::InvalidArgument, Exit::Usage),
            (Code::NotFound, Exit::Missing),
            (Code::AlreadyExists, Exit::Conflict),
            (Code::Aborted, Exit::Conflict),
            (Code::FailedPrecondition, Exit::Conflict),
            (Code::PermissionDenied, Exit::Refused),
            (Code::Unavailable, Exit::Unreachable),
            (Code::Unimplemented, Exit::Failed),
            (Code::Internal, Exit::Failed),
        ] {
            let failure = admin_refusal(&Status::new(code, "the words"));
            assert_eq!(failure.exit(), exit, "{code:?}");
            assert!(!failure.words().is_empty(), "{code:?}");
        }
    }

    #[test]
    fn whether_something_was_changed_is_the_daemons_to_say() {
        let unsure = "the disk does not answer; the change may be made or not, look before you try again";
        for said in [unsure, "the request did not end in time; try again", "internal fault; try again"] {
            let failure = admin_refusal(&Status::new(Code::Unavailable, said));
            let told = format!("{failure:?}");
            assert!(told.contains(said) && !told.contains("nothing was changed"), "{told}");
        }
        let failure = admin_refusal(&Status::new(Code::Unavailable, "the disk is full; nothing was changed"));
        assert!(failure.words().ends_with("the disk is full; nothing was changed"));
    }

    #[test]
    fn several_problems_are_told_one_a_line() {
        let failure = admin_refusal(&Status::new(Code::InvalidArgument, "one\ntwo"));
        assert_eq!(failure.lines(), ["one", "two"]);
    }

    #[tokio::test]
    async fn a_daemon_that_is_not_running_is_told_with_a_hint() {
        let failure = workload(Path::new("/nowhere/workload.sock")).await.map(|_| ()).map_err(|failure| failure.exit());
        assert_eq!(failure, Err(Exit::Unreachable));
    }

    #[tokio::test]
    async fn a_connection_that_is_closed_at_once_is_not_told_as_a_foreign_protocol() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        let failure = channel_over(ours, Path::new("/a.sock")).await.unwrap_err();
        assert_eq!(failure.words(), "the daemon at /a.sock closed the connection");
    }

    #[test]
    fn the_hint_names_the_flag_of_the_socket_that_is_meant() {
        assert_eq!([Door::Admin.flag(), Door::Workload.flag()], ["--admin-socket", "--socket"]);
    }
}
