//! The streams of proxies: messages come and go while what they are about changes.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::stream;
use tonic::{Request, Response, Status, Streaming};

use super::{
    MESSAGE_BYTES_MAX,
    inbound::Inbound,
    node::word,
    protocol::{Protocol, StateOfTheWorld},
    talk::{Heard, News, State, Talk},
};
use crate::{
    api::{
        allowance::{Allowance, Taken},
        connection::Workload,
        sealed::{Nothing, seal_all, seal_one},
        status,
    },
    attest::Caller,
    issuance::{Feed, Issuer, ProxyStream, Seat, Secrets},
    pb::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse},
};

/// Up to so many bytes of names are a stream's own. What is beyond is kept for its user as answers are that wait.
const NAMES_BYTES_FREE: usize = 4 << 10;

/// One stream of a proxy.
struct Open<P: Protocol> {
    issuer: Arc<Issuer>,
    caller: Arc<Caller>,
    inbound: Inbound<P::Request>,
    secrets: Asking<P>,
    seat: Seat,
    allowance: Allowance,
    /// For the names that are asked for, where they are long.
    room: Option<Taken>,
    /// Something that was given is the proxy's no more: this is the last that is said.
    end: Option<Status>,
}

/// What is asked for, and what there is of it.
struct Asking<P> {
    talk: Talk<P>,
    feed: Feed<Secrets>,
}

/// Opens a stream with its first message. What can be answered at once is.
pub(super) async fn open<P: Protocol>(
    issuer: &Arc<Issuer>,
    mut request: Request<Streaming<P::Request>>,
) -> Result<Response<Nothing<P::Response>>, Status> {
    let Workload { caller, keys, allowance } = Workload::of(&request)?;
    let mut inbound = Inbound::<P::Request>::of(&mut request, MESSAGE_BYTES_MAX)?;
    let Some(first) = inbound.message().await? else { return Err(status::invalid("the stream has no request")) };
    let mut open = Open {
        seat: issuer.proxies().enter(newcomer::<P>(issuer, &caller)),
        secrets: Asking { talk: Talk::<P>::new(), feed: issuer.secrets(caller.clone(), &keys) },
        issuer: issuer.clone(),
        caller,
        inbound,
        allowance: allowance.clone(),
        room: None,
        end: None,
    };
    open.hear(first)?;
    let first = open.look().await?;
    let later = stream::unfold(Some(open), |open| async move {
        let mut open = open?;
        match open.next().await {
            Ok(Some(response)) => Some((Ok(response), Some(open))),
            Ok(None) => None,
            Err(status) => Some((Err(status), None)),
        }
    });
    seal_all(first, later, allowance)
}

/// Answers once, with what there is.
pub(super) async fn fetch(
    issuer: &Arc<Issuer>,
    request: Request<DiscoveryRequest>,
) -> Result<Response<DiscoveryResponse>, Status> {
    let Workload { caller, keys, allowance } = Workload::of(&request)?;
    let feed = issuer.secrets(caller, &keys);
    let mut secrets = Asking { talk: Talk::<StateOfTheWorld>::new(), feed };
    secrets.hear(request.into_inner())?;
    let mut answer = secrets.look(issuer).await?.and_then(|news| news.answer).ok_or_else(status::nothing_given)?;
    // There is nothing that it could be said of.
    answer.nonce.clear();
    seal_one(StateOfTheWorld::write(answer), &allowance)
}

impl<P: Protocol> Asking<P> {
    fn hear(&mut self, message: P::Request) -> Result<Heard, Status> {
        let heard = self.talk.hear(P::read(message))?;
        if heard.asks {
            let certificates = self.talk.asked().certificates();
            self.feed.ask(|secrets| secrets.ask(certificates));
        }
        Ok(heard)
    }

    /// What there is to tell now, if it is anything else than what was told.
    async fn look(&mut self, issuer: &Issuer) -> Result<Option<News>, Status> {
        let Some(update) = self.feed.look().await? else { return Ok(None) };
        let state = State {
            identities: &update.identities,
            default: self.feed.kind().default_id(),
            own: (issuer.trust_domain(), &update.bundle),
            federated: &update.federated,
        };
        self.talk.tell(&state).map(Some)
    }
}

impl<P: Protocol> Open<P> {
    /// The next answer; `None` when the proxy has left.
    async fn next(&mut self) -> Result<Option<P::Response>, Status> {
        loop {
            if let Some(end) = self.end.take() {
                return Err(end);
            }
            tokio::select! {
                message = self.inbound.message() => match message? {
                    Some(message) => self.hear(message)?,
                    None => return Ok(None),
                },
                changed = self.secrets.feed.changed() => changed?,
            }
            if self.secrets.feed.is_due()
                && let Some(response) = self.look().await?
            {
                return Ok(Some(response));
            }
        }
    }

    fn hear(&mut self, message: P::Request) -> Result<(), Status> {
        let Heard { asks, introduces, verdict } = self.secrets.hear(message)?;
        if asks {
            self.room = None;
            let bytes = self.secrets.talk.asked().bytes();
            self.room = (bytes > NAMES_BYTES_FREE).then(|| self.allowance.take(bytes)).transpose()?;
        }
        if introduces {
            let proxy = self.secrets.talk.proxy();
            self.seat.is(&proxy.id, &proxy.cluster, &proxy.agent);
        }
        match verdict {
            Some((nonce, None)) => {
                self.issuer.counters().secrets("taken");
                self.seat.took(&nonce);
            }
            Some((_, Some(why))) => self.refused(&word(&why)),
            None => {}
        }
        Ok(())
    }

    /// The proxy does not take what it was sent, and keeps what it had. It is sent nothing for that.
    fn refused(&self, why: &str) {
        self.issuer.counters().secrets("refused");
        self.seat.refused(why.to_owned(), self.issuer.clock().now());
        let peer = self.caller.peer();
        if self.issuer.counters().is_worth_a_line(peer.uid()) {
            let node = &self.secrets.talk.proxy().id;
            tracing::warn!(pid = peer.pid(), uid = peer.uid(), node, why, "a proxy does not take its secrets");
        }
    }

    /// The answer to what is so now, if there is anything new in it.
    async fn look(&mut self) -> Result<Option<P::Response>, Status> {
        let Some(News { answer, lost, waiting }) = self.secrets.look(&self.issuer).await? else { return Ok(None) };
        self.seat.waits_for(waiting, |name| self.secrets.talk.has_given(name));
        if !lost.is_empty() {
            self.issuer.counters().secrets("withdrawn");
            self.end = Some(status::taken_away(&lost));
        }
        let Some(answer) = answer else {
            return self.end.take().map_or(Ok(None), Err);
        };
        let told = answer.told.iter().map(|one| (one.name.as_str(), one.version.as_str()));
        self.seat.told(&answer.nonce, told, self.issuer.clock().now());
        self.issuer.counters().secrets("sent");
        Ok(Some(P::write(answer)))
    }
}

fn newcomer<P: Protocol>(issuer: &Issuer, caller: &Caller) -> ProxyStream {
    ProxyStream {
        pid: caller.peer().pid().unsigned_abs(),
        uid: caller.peer().uid(),
        since: issuer.clock().now(),
        protocol: P::NAME,
        node: String::new(),
        cluster: String::new(),
        agent: String::new(),
        secrets: BTreeMap::new(),
        waits_for: Vec::new(),
        refusal: None,
    }
}
