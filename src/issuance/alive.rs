//! Which access tokens are alive, for whoever asks what an agent has now. In memory: known since the process began, and of
//! those who get very many, the latest.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use crate::{
    authority::AccessToken,
    oauth::access::{Claims, Subject, TokenId},
    registry::{Label, Snapshot},
};

/// The most tokens of one agent that are known.
pub(crate) const PER_AGENT_MAX: usize = 1_000;
/// The most tokens that are known.
pub(crate) const TOTAL_MAX: usize = 100_000;
/// Where there is no room, how long it is until all are looked at again: it takes a millisecond or two.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A token that was issued and has not ended.
#[derive(Clone, Debug)]
pub(crate) struct LiveToken {
    /// For which tool.
    pub(crate) tool: Label,
    /// What it says.
    pub(crate) claims: Claims,
}

/// What is known of an agent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// The latest first.
    pub(crate) tokens: Vec<LiveToken>,
    /// Whether there may be more, which are not known.
    pub(crate) is_incomplete: bool,
}

/// The tokens of all agents. One for the daemon.
#[derive(Debug)]
pub(crate) struct Alive {
    since: SystemTime,
    state: Mutex<State>,
    total_max: usize,
}

#[derive(Debug, Default)]
struct State {
    agents: HashMap<Label, Tokens>,
    total: usize,
    /// When all were looked at last.
    looked_at: Option<SystemTime>,
    /// Of agents of which nothing is kept, when the last of what was left out ends.
    left_out_until: Option<SystemTime>,
}

/// In the order in which they were issued.
#[derive(Debug, Default)]
struct Tokens {
    all: VecDeque<LiveToken>,
    left_out_until: Option<SystemTime>,
}

impl Alive {
    /// Nothing is known of what was issued before.
    pub(crate) fn new(since: SystemTime) -> Self {
        Self { since, state: Mutex::default(), total_max: TOTAL_MAX }
    }

    /// Since when.
    pub(crate) fn since(&self) -> SystemTime {
        self.since
    }

    /// A token leaves.
    pub(super) fn add(&self, token: &AccessToken, now: SystemTime) {
        let Some(token_id) = TokenId::parse(&token.token.serial) else { return };
        let claims = Claims {
            issuer: String::new(),
            subject: Subject::Agent(token.token.id.clone()),
            audience: token.audience.to_string(),
            client: token.agent.to_string(),
            issued_at: token.token.not_before,
            expires_at: token.token.not_after,
            token_id,
            scopes: token.scopes.iter().cloned().collect(),
            key: token.holder,
            session: None,
        };
        self.keep(token.agent.clone(), LiveToken { tool: token.tool.clone(), claims }, now);
    }

    fn keep(&self, agent: Label, token: LiveToken, now: SystemTime) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.total >= self.total_max {
            state.forget(now);
        }
        let end = token.claims.expires_at;
        if state.total >= self.total_max {
            state.left_out_until = state.left_out_until.max(Some(end));
            return;
        }
        let State { agents, total, .. } = &mut *state;
        let tokens = agents.entry(agent).or_default();
        *total -= tokens.make_room(now);
        tokens.all.push_back(token);
        *total += 1;
    }

    /// What an agent has now: of what was issued to it, all that has not ended and that nothing was taken from since.
    pub(crate) fn of(&self, agent: &str, snapshot: &Snapshot, now: SystemTime) -> Known {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_ahead = |end: Option<SystemTime>| end.is_some_and(|end| end > now);
        let Some(tokens) = state.agents.get(agent) else {
            return Known { tokens: Vec::new(), is_incomplete: is_ahead(state.left_out_until) };
        };
        let is_alive =
            |token: &&LiveToken| token.claims.expires_at > now && snapshot.revocation(&token.claims).is_none();
        Known {
            tokens: tokens.all.iter().rev().filter(is_alive).cloned().collect(),
            is_incomplete: is_ahead(tokens.left_out_until) || is_ahead(state.left_out_until),
        }
    }
}

impl State {
    /// What has ended, unless that was looked for a moment ago.
    fn forget(&mut self, now: SystemTime) {
        if self.looked_at.and_then(|then| now.duration_since(then).ok()).is_some_and(|since| since < LOOK_EVERY) {
            return;
        }
        self.looked_at = Some(now);
        self.agents.retain(|_, tokens| {
            tokens.all.retain(|token| token.claims.expires_at > now);
            !tokens.all.is_empty() || tokens.left_out_until.is_some_and(|end| end > now)
        });
        self.total = self.agents.values().map(|tokens| tokens.all.len()).sum();
    }
}

impl Tokens {
    /// Forgets what has ended, if there is no room, and then the oldest; answers how many went.
    fn make_room(&mut self, now: SystemTime) -> usize {
        let before = self.all.len();
        // Most end in the order in which they were issued.
        while self.all.front().is_some_and(|token| token.claims.expires_at <= now) {
            self.all.pop_front();
        }
        if self.all.len() >= PER_AGENT_MAX {
            self.all.retain(|token| token.claims.expires_at > now);
        }
        if self.all.len() >= PER_AGENT_MAX
            && let Some(oldest) = self.all.pop_front()
        {
            self.left_out_until = self.left_out_until.max(Some(oldest.claims.expires_at));
        }
        before - self.all.len()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::time::Duration;

    use super::*;
    use crate::{
        oauth::{Scopes, Thumbprint},
        spiffe::Id,
    };

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn label(name: &str) -> Label {
        Label::parse(name).unwrap()
    }

    fn token(number: u32, agent: &str, end: u64) -> LiveToken {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&number.to_be_bytes());
        let claims = Claims {
            issuer: String::new(),
            subject: Subject::Agent(Id::parse("spiffe://example.org/crew").unwrap()),
            audience: "https://shop.example.org".into(),
            client: agent.into(),
            issued_at: at(1),
            expires_at: at(end),
            token_id: TokenId(id),
            scopes: Scopes::parse("read").unwrap(),
            key: Thumbprint::parse("0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I").unwrap(),
            session: None,
        };
        LiveToken { tool: label("shop"), claims }
    }

    fn held(alive: &Alive) -> (usize, usize) {
        let state = alive.state.lock().unwrap();
        (state.total, state.agents.values().map(|tokens| tokens.all.len()).sum())
    }

    #[test]
    fn of_one_agent_the_latest_are_known_and_it_is_said_that_there_are_more() {
        let alive = Alive::new(at(0));
        let most = u32::try_from(PER_AGENT_MAX).unwrap();
        (0..most).for_each(|number| alive.keep(label("crew"), token(number, "crew", 100), at(1)));
        let is_incomplete = |agent: &str, now| alive.of(agent, &Snapshot::empty(), at(now)).is_incomplete;
        assert_eq!((held(&alive), is_incomplete("crew", 2)), ((PER_AGENT_MAX, PER_AGENT_MAX), false));
        alive.keep(label("crew"), token(most, "crew", 100), at(2));
        assert_eq!(held(&alive), (PER_AGENT_MAX, PER_AGENT_MAX));
        assert!(is_incomplete("crew", 2) && !is_incomplete("other", 2) && !is_incomplete("crew", 100));
        // What has ended makes room, and nothing is left out for it.
        alive.keep(label("crew"), token(0, "crew", 300), at(100));
        assert_eq!(held(&alive), (1, 1));
    }

    #[test]
    fn of_all_agents_no_more_are_known_than_the_most() {
        let alive = Alive { total_max: 3, ..Alive::new(at(0)) };
        for (number, end) in [(1, 10), (2, 20), (3, 30), (4, 40)] {
            alive.keep(label(&format!("a{number}")), token(number, "a", end), at(1));
        }
        assert_eq!(held(&alive), (3, 3));
        alive.keep(label("a6"), token(6, "a", 60), at(1) + Duration::from_millis(900));
        assert_eq!(held(&alive), (3, 3));
        assert!(alive.of("a4", &Snapshot::empty(), at(39)).is_incomplete);
        alive.keep(label("a5"), token(5, "a", 50), at(25));
        assert_eq!(held(&alive), (2, 2), "two had ended");
        let is_incomplete = |now| alive.of("a4", &Snapshot::empty(), at(now)).is_incomplete;
        assert!(is_incomplete(59) && !is_incomplete(60));
    }
}
