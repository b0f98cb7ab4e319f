//! The bundles of trust domains, of each kind, as the Workload API hands them out.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    pin::Pin,
};

use futures_util::{
    Stream, StreamExt as _,
    stream::{self, SelectAll},
};
use tonic::{Code, Response, Status, Streaming};

use crate::{
    pb::workload::{
        JwtBundlesRequest, JwtBundlesResponse, WitBundlesRequest, WitBundlesResponse, X509BundlesRequest,
        X509BundlesResponse,
    },
    spiffe::{
        TrustDomain,
        document::{LeftOut, parse_set},
        jose::{self, Usage},
        jwt, wit, x509,
    },
};

use super::{
    failure::{Failure, whole},
    link,
    print::Printer,
};

/// A kind of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Kind {
    /// Authorities of X.509-SVIDs
    X509,
    /// Keys of JWT-SVIDs
    Jwt,
    /// Keys of WIT-SVIDs (Incubating)
    Wit,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::X509, Self::Jwt, Self::Wit];
}

/// Bundles by their trust domains.
pub(crate) type Map<B> = BTreeMap<TrustDomain, B>;

/// What is known of each kind; `None` is a kind that was not asked for, or is not offered.
#[derive(Clone, Default)]
pub(crate) struct Known {
    pub(crate) x509: Option<Map<x509::Bundle>>,
    pub(crate) jwt: Option<Map<jwt::Bundle>>,
    pub(crate) wit: Option<Map<wit::Bundle>>,
}

impl Known {
    /// Takes in what one message says; answers whether nothing was known of that kind before.
    fn take(&mut self, piece: Self) -> bool {
        let Self { x509, jwt, wit } = piece;
        let is_first = x509.is_some() && self.x509.is_none()
            || jwt.is_some() && self.jwt.is_none()
            || wit.is_some() && self.wit.is_none();
        self.x509 = x509.or(self.x509.take());
        self.jwt = jwt.or(self.jwt.take());
        self.wit = wit.or(self.wit.take());
        is_first
    }

    /// All trust domains of which anything is known.
    pub(crate) fn trust_domains(&self) -> BTreeSet<&TrustDomain> {
        let x509 = self.x509.iter().flat_map(Map::keys);
        x509.chain(self.jwt.iter().flat_map(Map::keys)).chain(self.wit.iter().flat_map(Map::keys)).collect()
    }
}

/// The streams of the kinds that were asked for.
pub(crate) struct Feed {
    pieces: SelectAll<Pieces>,
    known: Known,
    /// How many kinds have not come yet.
    missing: usize,
}

type Pieces = Pin<Box<dyn Stream<Item = Result<Known, Failure>>>>;

impl Feed {
    /// Asks for kinds. Where not all are needed, one that the endpoint does not offer is left out.
    ///
    /// # Errors
    /// When nobody listens there, or the daemon refuses.
    pub(crate) async fn open(print: Printer, socket: &Path, kinds: &[Kind], needs_all: bool) -> Result<Self, Failure> {
        let mut client = link::workload(socket).await?;
        let mut pieces = SelectAll::new();
        for kind in kinds {
            let opened = match kind {
                Kind::X509 => client.fetch_x509_bundles(X509BundlesRequest {}).await.map(|opened| each(opened, x509)),
                Kind::Jwt => {
                    let opened = client.fetch_jwt_bundles(JwtBundlesRequest {}).await;
                    opened.map(|opened| each(opened, move |message| jwt(&print, message)))
                }
                Kind::Wit => {
                    let opened = client.fetch_wit_bundles(WitBundlesRequest {}).await;
                    opened.map(|opened| each(opened, move |message| wit(&print, message)))
                }
            };
            match opened {
                Ok(opened) => pieces.push(opened),
                Err(status) if status.code() == Code::Unimplemented && !needs_all => {}
                Err(status) => return Err(link::workload_refusal(&status)),
            }
        }
        match pieces.len() {
            0 => Err(link::workload_refusal(&Status::unimplemented(""))),
            missing => Ok(Self { pieces, known: Known::default(), missing }),
        }
    }

    /// What is known when each kind has come, and then each other state.
    ///
    /// # Errors
    /// When a stream ends, or a message is not what the standard says.
    pub(crate) async fn next(&mut self) -> Result<Known, Failure> {
        loop {
            let piece = self.pieces.next().await;
            let piece = piece.unwrap_or_else(|| Err(link::workload_refusal(&link::ended())))?;
            self.missing = self.missing.saturating_sub(self.known.take(piece).into());
            if self.missing == 0 {
                return Ok(self.known.clone());
            }
        }
    }
}

/// The messages of a stream, and its end as a failure.
fn each<M: 'static>(opened: Response<Streaming<M>>, read: impl Fn(M) -> Result<Known, Wrong> + 'static) -> Pieces {
    let messages = opened.into_inner().map(move |message| match message {
        Ok(message) => read(message).map_err(|wrong| Failure::because("the endpoint's answer is not right", &*wrong)),
        Err(status) => Err(link::workload_refusal(&status)),
    });
    Box::pin(messages.chain(stream::once(async { Err(link::workload_refusal(&link::ended())) })))
}

type Wrong = Box<dyn std::error::Error>;

fn x509(message: X509BundlesResponse) -> Result<Known, Wrong> {
    let map = message.bundles.iter().map(|(id, der)| {
        let domain = TrustDomain::parse_id(id)?;
        Ok((domain.clone(), x509::Bundle::from_der(domain, der)?))
    });
    Ok(Known { x509: Some(map.collect::<Result<_, Wrong>>()?), ..Known::default() })
}

fn jwt(print: &Printer, message: JwtBundlesResponse) -> Result<Known, Wrong> {
    let map = message.bundles.iter().map(|(id, set)| keys(print, id, set));
    Ok(Known { jwt: Some(map.collect::<Result<_, Wrong>>()?), ..Known::default() })
}

fn wit(print: &Printer, message: WitBundlesResponse) -> Result<Known, Wrong> {
    let map = message.bundles.iter().map(|(id, set)| keys(print, id, set.as_bytes()));
    Ok(Known { wit: Some(map.collect::<Result<_, Wrong>>()?), ..Known::default() })
}

fn keys<U: Usage>(print: &Printer, id: &str, set: &[u8]) -> Result<(TrustDomain, jose::Bundle<U>), Wrong> {
    let domain = TrustDomain::parse_id(id)?;
    let (bundle, left_out) = parse_set(domain.clone(), set)?;
    warn(print, &domain, &left_out);
    Ok((domain, bundle))
}

/// Tells what of a trust domain's keys is not used.
pub(crate) fn warn(print: &Printer, domain: &TrustDomain, left_out: &[LeftOut]) {
    for LeftOut { index, reason } in left_out {
        print.warn(format_args!("key {index} of the trust domain {domain} is not used: {}", whole(reason)));
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use crate::cli::print::Output;

    use super::*;

    fn own() -> TrustDomain {
        TrustDomain::parse("example.org").unwrap()
    }

    #[test]
    fn a_kind_that_comes_again_takes_the_place_of_what_it_was() {
        let print = Printer::new(Output::Table);
        let sets = |id: &str| JwtBundlesResponse {
            bundles: std::collections::HashMap::from([(id.to_owned(), br#"{"keys":[]}"#.to_vec().into())]),
        };
        let mut known = Known::default();
        assert!(known.take(jwt(&print, sets("spiffe://example.com")).unwrap()));
        assert!(known.take(x509(X509BundlesResponse::default()).unwrap()));
        assert!(!known.take(jwt(&print, sets("spiffe://example.org")).unwrap()));
        assert_eq!(known.trust_domains(), BTreeSet::from([&own()]));
    }

    #[test]
    fn a_message_that_breaks_a_rule_is_refused_whole() {
        let print = Printer::new(Output::Table);
        for (id, set) in [
            ("example.org", r#"{"keys":[]}"#),
            ("spiffe://example.org/", r#"{"keys":[]}"#),
            ("spiffe://example.org", ""),
            ("spiffe://example.org", "{}"),
        ] {
            let message =
                WitBundlesResponse { bundles: std::collections::HashMap::from([(id.to_owned(), set.to_owned())]) };
            assert!(wit(&print, message).is_err(), "{id} {set}");
        }
    }
}
