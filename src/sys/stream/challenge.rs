//! A challenge, driven by the connection's own task: in this order, of which nothing may be left out or changed: between two frames of ours · drain the
//! socket to EAGAIN · note which image runs and where it lies · nothing is queued (else begin again: bytes queued
//! earlier may be pages that others still write to) · only then the PING leaves · its ACK comes from the same pid ·
//! the image lies where it lay · the process lives.

use std::{
    io, mem,
    task::{Context, Poll},
};

use tokio::sync::oneshot;

use super::{Answer, Proved, Question, State, Wire, lost, queued};
use crate::sys::{
    frames::{Nonce, ping},
    image::{Image, Looked, Spot},
    looks::Making,
    peer::Fault,
};

/// How far the challenge has come.
pub(super) enum Phase {
    Idle,
    /// What runs is being looked at.
    Noting(Making<Looked<Spot>>),
    /// A PING has been made and these bytes of it have not left yet.
    Asking {
        before: Before,
        unsent: Vec<u8>,
    },
    /// The PING has left.
    Asked {
        before: Before,
    },
    /// Its ACK has come.
    Answered {
        before: Before,
    },
    /// What runs is being looked at once more.
    Checking {
        spot: Spot,
        look: Making<Looked<Image>>,
    },
}

/// What was noted before the PING.
#[derive(Clone, Copy)]
pub(super) enum Before {
    Writer,
    Image(Spot),
}

impl Wire {
    /// Drives a challenge as far as it goes now.
    pub(super) fn advance(&self, state: &mut State, cx: &mut Context<'_>) {
        loop {
            if state.fault.is_some() {
                state.waiters.clear();
                return;
            }
            match mem::replace(&mut state.phase, Phase::Idle) {
                Phase::Idle if state.waiters.is_empty() || !state.outbound.is_between_frames() => return,
                // Full, ended or at fault; the last two end the waiting by themselves.
                Phase::Idle if !self.drain(state) => return,
                Phase::Idle if state.waiters.iter().any(|(question, _)| *question == Question::Image) => {
                    let (lens, peer) = (self.lens.clone(), self.peer.clone());
                    state.phase = Phase::Noting(self.looks.make(peer.pid(), move || lens.spot(&peer)));
                }
                Phase::Idle => self.ask(state, Before::Writer),
                Phase::Noting(mut look) => {
                    state.waiters.retain(|(_, waiter)| !waiter.is_closed());
                    if state.waiters.is_empty() {
                        continue;
                    }
                    match look.as_mut().poll(cx) {
                        Poll::Ready(seen) => self.note(state, seen),
                        Poll::Pending => {
                            state.phase = Phase::Noting(look);
                            return;
                        }
                    }
                }
                Phase::Asking { before, unsent } => match self.poll_send(cx, |socket| socket.try_write(&unsent)) {
                    Poll::Ready(Ok(sent)) if sent == unsent.len() => state.phase = Phase::Asked { before },
                    Poll::Ready(Ok(sent)) => {
                        let unsent = unsent.get(sent..).unwrap_or_default().to_vec();
                        state.phase = Phase::Asking { before, unsent };
                    }
                    Poll::Ready(Err(error)) => state.fault = Some(lost(error)),
                    Poll::Pending => {
                        state.phase = Phase::Asking { before, unsent };
                        return;
                    }
                },
                Phase::Asked { before } => {
                    state.phase = Phase::Asked { before };
                    state.waiters.retain(|(_, waiter)| !waiter.is_closed());
                    // h2 may be too busy writing to read, so the ACK is looked for here, while somebody waits for it.
                    if !state.waiters.is_empty() {
                        let _ready_or_not = self.poll_fill(state, cx);
                    }
                    if matches!(state.phase, Phase::Asked { .. }) && state.fault.is_none() {
                        return;
                    }
                }
                Phase::Answered { before: Before::Writer } => match self.peer.is_alive() {
                    true => {
                        state.proved.writer = true;
                        self.answer(state, Question::Writer, &Ok(None));
                    }
                    false => state.fault = Some(Fault::Gone),
                },
                Phase::Answered { before: Before::Image(spot) } => {
                    let (lens, peer) = (self.lens.clone(), self.peer.clone());
                    let look = self.looks.make(peer.pid(), move || lens.image(&peer));
                    state.phase = Phase::Checking { spot, look };
                }
                Phase::Checking { spot, mut look } => match look.as_mut().poll(cx) {
                    Poll::Ready(seen) => self.settle(state, spot, seen),
                    Poll::Pending => {
                        state.phase = Phase::Checking { spot, look };
                        return;
                    }
                },
            }
        }
    }

    /// What runs was noted before the PING.
    fn note(&self, state: &mut State, seen: Option<Looked<Spot>>) {
        match seen {
            Some(Ok(Ok(spot))) => self.ask(state, Before::Image(spot)),
            Some(Ok(Err(lack))) => {
                // Who asked for the image hears what it lacks; the others go on.
                self.answer(state, Question::Image, &Err(lack));
                if !state.waiters.is_empty() {
                    self.ask(state, Before::Writer);
                }
            }
            Some(Err(fault)) => state.fault = Some(fault),
            None => state.fault = Some(broken_off()),
        }
    }

    /// Makes the PING, if nothing is queued; else all begins again.
    fn ask(&self, state: &mut State, before: Before) {
        match queued(&*self.socket) {
            Ok(0) => {
                let mut nonce: Nonce = [0; 8];
                if aws_lc_rs::rand::fill(&mut nonce).is_err() {
                    state.fault = Some(broken_off());
                    return;
                }
                state.inbound.expect(nonce);
                state.phase = Phase::Asking { before, unsent: ping(nonce).to_vec() };
            }
            Ok(_) => {}
            Err(error) => state.fault = Some(lost(error)),
        }
    }

    /// The ACK has come, from the right writer. Is all as it was?
    fn settle(&self, state: &mut State, before: Spot, seen: Option<Looked<Image>>) {
        match seen {
            Some(Ok(Ok(image))) if image.spot == before => {
                state.proved = Proved { writer: true, image: Some(image.spot) };
                self.answer(state, Question::Image, &Ok(Some(image)));
                self.answer(state, Question::Writer, &Ok(None));
            }
            // Another image than before: begin again, with whoever still waits.
            Some(Ok(Ok(_))) => {}
            Some(Ok(Err(lack))) => self.answer(state, Question::Image, &Err(lack)),
            Some(Err(fault)) => state.fault = Some(fault),
            None => state.fault = Some(broken_off()),
        }
    }

    fn answer(&self, state: &mut State, to: Question, answer: &Answer) {
        let (asked, others) = mem::take(&mut state.waiters).into_iter().partition(|(question, _)| *question == to);
        state.waiters = others;
        for (_, waiter) in asked as Vec<(Question, oneshot::Sender<Answer>)> {
            // Who has stopped waiting is not told.
            waiter.send(answer.clone()).ok();
        }
    }
}

/// The daemon is stopping, or something broke that never does.
fn broken_off() -> Fault {
    Fault::Unreadable(io::ErrorKind::Interrupted.into())
}
