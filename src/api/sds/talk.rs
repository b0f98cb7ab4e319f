//! One stream: what is asked on it, and what was answered.

use std::{
    collections::{BTreeMap, BTreeSet},
    marker::PhantomData,
};

use bytes::Bytes;
use tonic::Status;

use super::{
    name::Name,
    node::{self, Proxy, Validator},
    protocol::{Answer, Names, Protocol, Said, Told},
    secret::{Material, TYPE_URL},
    subscription::{EVERY, Subscription},
};
use crate::{
    api::status,
    authority::Svid,
    issuance::{Identity, foreign::View},
    spiffe::{Id, TrustDomain},
};

/// Of how many names it is kept that a proxy waits for them.
const WAITING_MAX: usize = 64;

/// The state of a stream.
pub(super) struct Talk<P> {
    asked: Subscription,
    proxy: Proxy,
    /// What was given on this stream: names with their versions.
    given: BTreeMap<String, String>,
    /// What the proxy says that it has from an earlier one.
    had: BTreeSet<String>,
    /// Names that are answered though nothing has changed.
    owed: BTreeSet<String>,
    is_first: bool,
    /// Counts the answers.
    nonce: u64,
    protocol: PhantomData<P>,
}

/// What a message comes to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// Something is asked for that is to be answered.
    pub(super) asks: bool,
    /// It says who the proxy is.
    pub(super) introduces: bool,
    /// Of which answer it says that it was taken, or why it was not.
    pub(super) verdict: Option<(String, Option<String>)>,
}

/// Everything that a proxy may have at one moment.
pub(super) struct State<'u> {
    pub(super) identities: &'u [Identity<Svid>],
    /// Its default identity; `None` where it has none at all, and is told nobody to trust.
    pub(super) default: Option<&'u Id>,
    pub(super) own: (&'u TrustDomain, &'u Bytes),
    pub(super) federated: &'u View,
}

/// What is to be told of that.
#[derive(Default)]
pub(super) struct News {
    pub(super) answer: Option<Answer>,
    /// Names of what was given on this stream and is not the proxy's any more.
    pub(super) lost: Vec<String>,
    /// Names of what is asked for and is not there, as people may read them; of many the first.
    pub(super) waiting: Vec<String>,
}

impl<P: Protocol> Talk<P> {
    pub(super) fn new() -> Self {
        Self {
            asked: Subscription::default(),
            proxy: Proxy::default(),
            given: BTreeMap::new(),
            had: BTreeSet::new(),
            owed: BTreeSet::new(),
            is_first: true,
            nonce: 0,
            protocol: PhantomData,
        }
    }

    pub(super) fn asked(&self) -> &Subscription {
        &self.asked
    }

    pub(super) fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    /// Whether the proxy was given something under this name, which is its own still.
    pub(super) fn has_given(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    /// Whether it is that of an answer of this stream, from this one on.
    fn is_nonce(&self, nonce: &str, from: u64) -> bool {
        let is_one = |number: &u64| (from.max(1)..=self.nonce).contains(number);
        nonce.parse().ok().filter(is_one).is_some_and(|number: u64| number.to_string() == nonce)
    }

    /// A message of the proxy.
    ///
    /// # Errors
    /// When it is for something else than secrets, or asks for too much.
    pub(super) fn hear(&mut self, said: Said) -> Result<Heard, Status> {
        if !matches!(said.type_url.as_str(), "" | TYPE_URL) {
            let given = node::word(&said.type_url);
            return Err(status::invalid(&format!("the type of what is asked for is `{given}`, and not {TYPE_URL}")));
        }
        let mut heard = Heard::default();
        if let Some(node) = said.node.as_ref().filter(|node| !node::is_empty(node)) {
            let proxy = Proxy::of(node);
            heard.introduces = self.proxy != proxy;
            self.proxy = proxy;
        }
        let is_first = std::mem::take(&mut self.is_first);
        // A first message is about no answer of this stream, whatever it says.
        if !said.nonce.is_empty() && !is_first {
            // Of what came before the last answer the names are repeated in what comes after it; changes are not.
            if P::IS_WHOLE && !self.is_nonce(&said.nonce, self.nonce) {
                return Ok(heard);
            }
            if self.is_nonce(&said.nonce, 1) {
                heard.verdict = Some((said.nonce.clone(), said.error));
            }
        }
        heard.asks = match said.names {
            Names::Are(names) => {
                let is_other = self.asked.replace(&names)?;
                is_first || is_other || said.nonce.is_empty()
            }
            Names::Change { more, fewer, had } => {
                self.asked.remove(&fewer);
                self.asked.add(&more)?;
                if is_first && self.asked.is_empty() && fewer.is_empty() {
                    self.asked.ask_for_every();
                }
                // Of an earlier stream; later messages say nothing of it.
                if is_first {
                    let mut earlier = Subscription::default();
                    earlier.add(&had.into_keys().collect::<Vec<_>>())?;
                    self.had = earlier.names().map(|(name, _)| name.to_owned()).collect();
                }
                self.given.retain(|name, _| self.asked.has(name));
                self.owed.extend(more);
                is_first || !self.owed.is_empty() || !fewer.is_empty()
            }
        };
        if heard.asks && P::IS_WHOLE {
            self.given.clear();
        }
        Ok(heard)
    }

    /// What is to be told when this is so.
    ///
    /// # Errors
    /// When it cannot be written: a fault.
    pub(super) fn tell(&mut self, state: &State<'_>) -> Result<News, Status> {
        let present = self.present(state);
        let waiting = self.asked.names().map(|(name, _)| name).filter(|name| !present.contains_key(*name));
        let waiting = waiting.take(WAITING_MAX).map(node::word).collect();
        let versions: BTreeMap<_, _> = present.iter().map(|(name, one)| (name.clone(), one.version())).collect();
        let lost: Vec<_> = self.given.keys().filter(|name| !versions.contains_key(*name)).cloned().collect();
        let owes_all = self.owed.contains(EVERY);
        let is_news =
            |name: &String| owes_all || self.owed.contains(name) || self.given.get(name) != versions.get(name);
        let has_news = versions.keys().any(is_news);
        let mut told = Vec::new();
        for (name, version) in versions.iter().filter(|(name, _)| has_news && (P::IS_WHOLE || is_news(name))) {
            let Some(one) = present.get(name) else { continue };
            told.push(Told { secret: one.to_any(name)?, name: name.clone(), version: version.clone() });
        }
        let had = std::mem::take(&mut self.had).into_iter().filter(|name| !versions.contains_key(name));
        let gone: Vec<_> = if P::IS_WHOLE { Vec::new() } else { lost.iter().cloned().chain(had).collect() };
        self.owed.clear();
        self.given = versions;
        let answer = (!told.is_empty() || !gone.is_empty()).then(|| {
            self.nonce += 1;
            Answer { nonce: self.nonce.to_string(), told, gone }
        });
        Ok(News { answer, lost, waiting })
    }

    /// What there is of what is asked for, by name.
    fn present(&self, state: &State<'_>) -> BTreeMap<String, Material> {
        let validator = self.proxy.validator;
        let named = self.asked.names().filter_map(|(text, name)| {
            let found = match name {
                Name::Default => state.certificate(state.default?),
                Name::Certificate(id) => state.certificate(id),
                Name::Root => state.default.map(|_| one_of(state.own, validator)),
                // In one list, each of them would be believed for all names.
                Name::All if validator == Validator::Plain => None,
                Name::All => state.default.map(|_| Material::Trust {
                    domains: state.domains().map(|(domain, bundle)| (domain.clone(), bundle.clone())).collect(),
                    validator,
                }),
                Name::Domain(wanted) => {
                    state.domains().find(|(domain, _)| *domain == wanted).map(|found| one_of(found, validator))
                }
                Name::Nothing => None,
            };
            Some((text.to_owned(), found?))
        });
        let mut present: BTreeMap<_, _> = named.collect();
        if self.asked.has_every() {
            let identities = state.identities.iter();
            present.extend(identities.map(|one| (one.svid.id.to_string(), Material::Certificate(one.svid.clone()))));
            present.extend(state.domains().map(|found| (found.0.id(), one_of(found, validator))));
        }
        present
    }
}

fn one_of((domain, bundle): (&TrustDomain, &Bytes), validator: Validator) -> Material {
    Material::Trust { domains: vec![(domain.clone(), bundle.clone())], validator }
}

impl<'u> State<'u> {
    fn certificate(&self, id: &Id) -> Option<Material> {
        let one = self.identities.iter().find(|one| one.svid.id == *id)?;
        Some(Material::Certificate(one.svid.clone()))
    }

    /// Each trust domain that is believed, ours first.
    fn domains(&self) -> impl Iterator<Item = (&'u TrustDomain, &'u Bytes)> {
        let own = self.default.map(|_| self.own);
        own.into_iter().chain(self.federated.iter().map(|(domain, bundle)| (domain, bundle)))
    }
}
