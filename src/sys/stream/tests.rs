//! A real socket between this process and itself: the peer is the test, its children are strangers.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::{
    future::poll_fn,
    io::{Read as _, Write as _},
    os::{fd::OwnedFd, unix::net::UnixStream as Client},
    process::{Command, Stdio},
    time::Duration,
};

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use super::{receive::READ_BYTES, *};
use crate::sys::{
    kernel::{Feature, Kernel},
    listener::{Listener, registered},
    looks::AllLooks,
    scratch::Scratch,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";

struct Pair {
    client: Client,
    stream: Stream,
    line: Line,
    _dir: Scratch,
}

async fn pair(kernel: Kernel) -> Pair {
    pair_of(kernel, Speech::Http2).await
}

async fn pair_of(kernel: Kernel, speech: Speech) -> Pair {
    let dir = Scratch::new();
    let path = dir.path().join("s");
    let mut listener = Listener::bind(&path, 0o600, kernel).unwrap();
    let client = Client::connect(&path).unwrap();
    let socket = registered(listener.accept().await.unwrap()).unwrap();
    let peer = Arc::new(Peer::of(&socket, kernel).unwrap());
    let address = path.as_os_str().as_encoded_bytes().to_vec();
    let (stream, line) =
        guard(socket, peer, Lens::new("/".into(), vec![address]).unwrap(), AllLooks::default().of_user(0), speech);
    Pair { client, stream, line, _dir: dir }
}

fn kernel() -> Kernel {
    Kernel::probe(&[]).unwrap()
}

async fn write(stream: &mut Stream, bytes: &[u8]) {
    let sent = poll_fn(|cx| Pin::new(&mut *stream).poll_write(cx, bytes)).await.unwrap();
    assert_eq!(sent, bytes.len());
}

/// Drives the connection as its task would, until it has to end.
async fn drive(stream: &Stream) {
    poll_fn(|cx| stream.poll_challenge(cx)).await;
}

/// Answers the first PING that comes, after SETTINGS.
fn answer_ping(client: &mut Client) -> [u8; 17] {
    let mut frame = [0; 17];
    let mut settings = [0; SETTINGS.len()];
    client.read_exact(&mut settings).unwrap();
    client.read_exact(&mut frame).unwrap();
    assert_eq!((&settings[..], frame[3]), (SETTINGS, 6));
    let mut ack = frame;
    ack[4] = 1;
    client.write_all(&ack).unwrap();
    frame
}

/// Puts a challenge that the client answers.
async fn ask_for_image(mut client: Client, stream: &Stream, line: &Line) -> (Option<Answer>, Client) {
    let answering = tokio::task::spawn_blocking(move || {
        answer_ping(&mut client);
        client
    });
    let answer = tokio::select! {
        answer = line.challenge(Question::Image) => answer,
        () = drive(stream) => None,
    };
    (answer, answering.await.unwrap())
}

#[tokio::test]
async fn the_running_image_answers_for_itself() {
    for kernel in [kernel(), Kernel::probe(&Feature::ALL).unwrap()] {
        let Pair { mut client, mut stream, line, _dir } = pair(kernel).await;
        client.write_all(PREFACE).unwrap();
        write(&mut stream, SETTINGS).await;
        let (answer, _client) = ask_for_image(client, &stream, &line).await;
        assert!(matches!(answer, Some(Ok(Some(_)))), "{answer:?}");
    }
}

/// A call that begins in this moment need not ask.
#[tokio::test]
async fn what_was_shown_is_known_before_whoever_waited_hears_of_it() {
    let Pair { mut client, mut stream, line, _dir } = pair(kernel()).await;
    client.write_all(PREFACE).unwrap();
    write(&mut stream, SETTINGS).await;
    let mut waiting = Box::pin(line.challenge(Question::Image));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    assert_eq!(line.proved(), Proved::default());
    let answering = tokio::task::spawn_blocking(move || {
        answer_ping(&mut client);
        client
    });
    tokio::select! {
        () = drive(&stream) => {}
        () = async { while line.proved().image.is_none() { tokio::task::yield_now().await } } => {}
    }
    assert!(line.proved().writer);
    let Some(Ok(Some(image))) = waiting.await else { return unreachable_answer() };
    assert_eq!(line.proved().image, Some(image.spot));
    answering.await.unwrap();
}

#[tokio::test]
async fn nothing_is_asked_before_our_settings_and_inside_a_header_block() {
    let Pair { mut client, mut stream, line, _dir } = pair(kernel()).await;
    client.write_all(PREFACE).unwrap();
    client.set_nonblocking(true).unwrap();
    let quiet = |mut client: &Client| client.read(&mut [0; 64]).unwrap_err().kind() == io::ErrorKind::WouldBlock;
    let mut challenge = Box::pin(line.challenge(Question::Writer));
    let mut step = async |stream: &Stream| {
        tokio::select! {
            biased;
            _ = &mut challenge => unreachable_answer(),
            () = drive(stream) => unreachable_answer(),
            () = tokio::time::sleep(Duration::from_millis(1)) => {}
        }
    };
    step(&stream).await;
    assert!(quiet(&client), "no PING before SETTINGS");
    // HEADERS without END_HEADERS, in the same write as SETTINGS, so that no PING fits between.
    let both = [SETTINGS, b"\0\0\x01\x01\0\0\0\0\x01x"].concat();
    poll_fn(|cx| Pin::new(&mut stream).poll_write(cx, &both[..SETTINGS.len()])).await.unwrap();
    step(&stream).await;
    let mut seen = [0; 64];
    assert_eq!(client.read(&mut seen).unwrap(), SETTINGS.len() + 17, "the PING follows SETTINGS");
}

fn unreachable_answer() {
    assert!(std::hint::black_box(false), "nobody answered");
}

#[tokio::test]
async fn a_childs_bytes_end_the_connection() {
    let Pair { client, mut stream, _dir, .. } = pair(kernel()).await;
    let mut child = Command::new("printf").arg("PRI").stdout(Stdio::from(OwnedFd::from(client))).spawn().unwrap();
    let mut storage = [0; 64];
    let mut buf = hyper::rt::ReadBuf::new(&mut storage);
    poll_fn(|cx| Pin::new(&mut stream).poll_read(cx, buf.unfilled())).await.unwrap_err();
    assert!(matches!(stream.close(), Some(Fault::ForkedClient | Fault::SenderDiffers { .. })));
    child.wait().unwrap();
}

#[tokio::test]
async fn a_byte_out_of_band_ends_the_connection() {
    let Pair { client, mut stream, _dir, .. } = pair(kernel()).await;
    nix::sys::socket::send(client.as_raw_fd(), b"!", MsgFlags::MSG_OOB).unwrap();
    let mut storage = [0; 64];
    let mut buf = hyper::rt::ReadBuf::new(&mut storage);
    poll_fn(|cx| Pin::new(&mut stream).poll_read(cx, buf.unfilled())).await.unwrap_err();
    assert!(matches!(stream.close(), Some(Fault::OutOfBand)));
}

#[tokio::test]
async fn descriptors_are_refused_or_end_the_connection() {
    for kernel in [kernel(), Kernel::probe(&[Feature::PassRights]).unwrap()] {
        let Pair { client, mut stream, _dir, .. } = pair(kernel).await;
        let fds = [client.as_raw_fd()];
        let iov = [IoSlice::new(b"x")];
        let sent = sendmsg::<()>(client.as_raw_fd(), &iov, &[ControlMessage::ScmRights(&fds)], MsgFlags::empty(), None);
        if kernel.has(Feature::PassRights) {
            assert_eq!(sent, Err(nix::errno::Errno::EPERM));
            continue;
        }
        let mut storage = [0; 64];
        let mut buf = hyper::rt::ReadBuf::new(&mut storage);
        poll_fn(|cx| Pin::new(&mut stream).poll_read(cx, buf.unfilled())).await.unwrap_err();
        assert!(matches!(stream.close(), Some(Fault::Descriptors)));
    }
}

/// Told by the first bytes, it is HTTP/2 as if it had been from the beginning.
#[tokio::test]
async fn what_begins_as_http2_is_challenged_as_that() {
    for split in [1, 3, 23, 24, 25, PREFACE.len()] {
        let Pair { mut client, mut stream, line, _dir } = pair_of(kernel(), Speech::Either).await;
        let mut told = Box::pin(poll_fn(|cx| stream.poll_speech(cx)));
        assert!(futures_util::poll!(&mut told).is_pending());
        assert!(matches!(line.challenge(Question::Image).await, Some(Err(Lack::Http1))), "nobody knows yet");
        assert!(line.challenge(Question::Writer).await.is_none());
        client.write_all(&PREFACE[..split]).unwrap();
        if split < 24 {
            let early = tokio::time::timeout(Duration::from_millis(5), &mut told).await;
            assert!(early.is_err(), "{split}");
        }
        client.write_all(&PREFACE[split..]).unwrap();
        assert_eq!(told.await, Some(Speech::Http2), "{split}");
        write(&mut stream, SETTINGS).await;
        let (answer, _client) = ask_for_image(client, &stream, &line).await;
        assert!(matches!(answer, Some(Ok(Some(_)))), "{split}: {answer:?}");
        let mut storage = [0; 256];
        let mut buf = hyper::rt::ReadBuf::new(&mut storage);
        while buf.filled().len() < PREFACE.len() {
            poll_fn(|cx| Pin::new(&mut stream).poll_read(cx, buf.unfilled())).await.unwrap();
        }
        assert_eq!(buf.filled(), PREFACE, "all of it is passed on, and not the ACK");
        assert_eq!(stream.take_tally(), Tally { frames: 2, useful: 0 });
    }
}

#[tokio::test]
async fn what_begins_otherwise_is_passed_on_as_it_is() {
    for begin in ["GET / HTTP/1.1\r\n\r\n", "PRI * HTTP/2.0\r\nHost: a\r\n\r\n", "PRI", ""] {
        let Pair { mut client, mut stream, line, _dir } = pair_of(kernel(), Speech::Either).await;
        client.write_all(begin.as_bytes()).unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(poll_fn(|cx| stream.poll_speech(cx)).await, Some(Speech::Http1), "{begin}");
        assert!(matches!(line.challenge(Question::Image).await, Some(Err(Lack::Http1))));
        let mut storage = [0; 256];
        let mut buf = hyper::rt::ReadBuf::new(&mut storage);
        poll_fn(|cx| Pin::new(&mut stream).poll_read(cx, buf.unfilled())).await.unwrap();
        assert_eq!(buf.filled(), begin.as_bytes());
    }
}

#[tokio::test]
async fn the_first_bytes_have_their_writer_too() {
    let Pair { mut client, mut stream, _dir, .. } = pair_of(kernel(), Speech::Either).await;
    client.write_all(b"PRI * ").unwrap();
    assert!(futures_util::poll!(poll_fn(|cx| stream.poll_speech(cx))).is_pending());
    let mut child = Command::new("printf").arg("HTTP").stdout(Stdio::from(OwnedFd::from(client))).spawn().unwrap();
    assert_eq!(poll_fn(|cx| stream.poll_speech(cx)).await, None);
    poll_fn(|cx| Pin::new(&mut stream).poll_read(cx, hyper::rt::ReadBuf::new(&mut [0; 64]).unfilled()))
        .await
        .unwrap_err();
    assert!(matches!(stream.close(), Some(Fault::ForkedClient | Fault::SenderDiffers { .. })));
    child.wait().unwrap();
}

#[tokio::test]
async fn bytes_written_before_accept_have_their_writer() {
    let Pair { mut client, mut stream, _dir, .. } = pair(kernel()).await;
    client.write_all(PREFACE).unwrap();
    let mut storage = [0; 256];
    let mut buf = hyper::rt::ReadBuf::new(&mut storage);
    poll_fn(|cx| Pin::new(&mut stream).poll_read(cx, buf.unfilled())).await.unwrap();
    assert_eq!(buf.filled(), PREFACE);
}

#[tokio::test]
async fn more_waiters_than_there_is_room_for_are_turned_away() {
    let Pair { line, _dir, .. } = pair(kernel()).await;
    let mut waiting: Vec<_> = (0..WAITERS_MAX).map(|_| Box::pin(line.challenge(Question::Writer))).collect();
    for one in &mut waiting {
        assert!(futures_util::poll!(one).is_pending());
    }
    assert!(line.challenge(Question::Writer).await.is_none());
}

#[tokio::test]
async fn a_client_that_floods_while_asked_is_kept_up_to_the_limit() {
    let Pair { mut client, mut stream, line, _dir } = pair(kernel()).await;
    client.write_all(PREFACE).unwrap();
    write(&mut stream, SETTINGS).await;
    client.set_nonblocking(true).unwrap();
    let noise = vec![0; 4 * KEPT_BYTES_MAX];
    assert!(client.write(&noise).unwrap() > 0);
    let asking = line.clone();
    let asked = tokio::spawn(async move { asking.challenge(Question::Writer).await });
    for _ in 0..20 {
        tokio::select! {
            () = drive(&stream) => {}
            () = tokio::time::sleep(Duration::from_millis(1)) => {}
        }
        while client.write(&noise).is_ok() {}
    }
    asked.abort();
    let state = stream.0.state();
    assert!(state.kept.len() - state.given <= KEPT_BYTES_MAX + READ_BYTES);
}

#[tokio::test]
async fn what_h2_has_taken_is_not_kept_while_a_writer_stays_ahead() {
    let Pair { mut client, mut stream, line, _dir } = pair(kernel()).await;
    client.write_all(PREFACE).unwrap();
    write(&mut stream, SETTINGS).await;
    client.set_nonblocking(true).unwrap();
    // DATA of 16,000 bytes each.
    let noise = [&[0, 0x3e, 0x80, 0, 0, 0, 0, 0, 1][..], &[0; 16_000]].concat().repeat(16);
    let asked = tokio::spawn(async move { line.challenge(Question::Writer).await });
    let (mut taken, mut sent) = (0, 0);
    for _ in 0..200 {
        while let Ok(count) = client.write(noise.get(sent % noise.len()..).unwrap()) {
            sent += count;
        }
        tokio::select! {
            () = drive(&stream) => {}
            () = tokio::task::yield_now() => {}
        }
        stream.begin_turn();
        let mut storage = [0; READ_BYTES];
        let mut buf = hyper::rt::ReadBuf::new(&mut storage);
        assert!(matches!(
            futures_util::poll!(poll_fn(|cx| Pin::new(&mut stream).poll_read(cx, buf.unfilled()))),
            Poll::Ready(Ok(()))
        ));
        taken += buf.filled().len();
        let kept = stream.0.state().kept.len();
        assert!(kept <= KEPT_BYTES_MAX + 2 * READ_BYTES, "{kept} bytes are kept after {taken} were taken");
    }
    asked.abort();
    assert!(taken > 4 * KEPT_BYTES_MAX, "{taken}");
}
