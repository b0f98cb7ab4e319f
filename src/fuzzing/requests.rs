//! Requests: of workloads and admins, and what Envoy asks about one.

use std::time::SystemTime;

use prost::Message as _;

use super::example_org;
use crate::{
    api::{List, SdsRequest, amendment, authz::sent_by_envoy, begin_sds, entry_id, new_draft, order},
    issuance::{AUDIENCE_BYTES_MAX, Audiences, Question, Wanted, foreign},
    oauth::target::Target,
    pb,
    registry::Draft,
    spiffe::{Id, TrustDomain, jwt},
};

/// A request of a workload or an admin: a letter that says which, then its message; `0` stands for all that have no
/// fields. What is accepted keeps within every limit, and what is refused is so in few words.
#[must_use]
pub fn requests(bytes: &[u8]) -> bool {
    let Some((letter, message)) = bytes.split_first() else { return false };
    let refused = |words: String| assert!(words.len() < 8_192, "a refusal repeats a long text");
    match letter {
        b'J' => pb::workload::JwtsvidRequest::decode(message).is_ok_and(|request| {
            let asked = request.audience.clone();
            let wanted = Wanted::parse(&request.spiffe_id).map_err(|error| refused(error.to_string()));
            let audiences = Audiences::new(request.audience).map_err(|error| refused(error.to_string()));
            assert_eq!(
                audiences.is_ok(),
                (1..=jwt::AUDIENCES_MAX).contains(&asked.len())
                    && asked.iter().all(|audience| (1..=AUDIENCE_BYTES_MAX).contains(&audience.len()))
                    && jwt::audiences_bytes(&asked) <= jwt::AUDIENCES_BYTES_MAX
            );
            audiences.is_ok() && wanted.is_ok()
        }),
        b'V' => pb::workload::ValidateJwtsvidRequest::decode(message)
            .is_ok_and(|request| Question::new(request.audience, request.svid).is_ok()),
        b'W' => pb::workload::WitsvidRequest::decode(message).is_ok_and(|request| {
            let wanted = Wanted::parse(&request.spiffe_id);
            assert_eq!(wanted.is_ok(), request.spiffe_id.is_empty() || Id::parse(&request.spiffe_id).is_ok());
            wanted.is_ok()
        }),
        b'E' => pb::admin::CreateEntryRequest::decode(message)
            .is_ok_and(|request| new_draft(request.entry).is_ok_and(|draft| is_entry(&draft))),
        b'U' => pb::admin::UpdateEntryRequest::decode(message)
            .is_ok_and(|request| amendment(request).is_ok_and(|amendment| is_entry(&amendment.draft))),
        b'A' => pb::admin::ApplyEntriesRequest::decode(message).is_ok_and(|request| {
            let asked = (request.create.len(), request.update.len(), request.delete.len());
            order(request).is_ok_and(|order| {
                assert_eq!((order.create.len(), order.update.len(), order.delete.len()), asked, "nothing is dropped");
                order.create.iter().chain(order.update.iter().map(|one| &one.draft)).all(is_entry)
            })
        }),
        b'L' => pb::admin::ListEntriesRequest::decode(message).is_ok_and(|request| List::of(request).is_ok()),
        b'D' => pb::admin::DeleteEntryRequest::decode(message).is_ok_and(|request| is_entry_id(&request.id)),
        b'S' => pb::admin::ShowEntryRequest::decode(message).is_ok_and(|request| is_entry_id(&request.id)),
        b'B' => pb::admin::SetBundleRequest::decode(message).is_ok_and(|request| {
            TrustDomain::parse(&request.trust_domain)
                .is_ok_and(|name| foreign::read(&name, &request.document, SystemTime::UNIX_EPOCH).is_ok())
        }),
        b'b' => pb::admin::DeleteBundleRequest::decode(message)
            .is_ok_and(|request| TrustDomain::parse(&request.trust_domain).is_ok()),
        b's' => pb::admin::ShowBundleRequest::decode(message)
            .is_ok_and(|request| TrustDomain::parse(&request.trust_domain).is_ok()),
        // What follows is taken as it comes, or says nothing.
        b'l' => pb::admin::ListBundlesRequest::decode(message).is_ok(),
        b'X' => pb::admin::ExplainRequest::decode(message).is_ok(),
        b'G' => pb::admin::SetLogLevelRequest::decode(message).is_ok(),
        b'R' => pb::admin::ReplaceRequest::decode(message).is_ok(),
        b'0' => pb::workload::X509svidRequest::decode(message).is_ok(),
        _ => false,
    }
}

/// What Envoy asks about a request: no part of its URL is read as a part of another, and no line of a header is lost.
/// Answers whether it is a request.
#[must_use]
pub fn check(bytes: &[u8]) -> bool {
    let Ok(asked) = pb::envoy::service::auth::v3::CheckRequest::decode(bytes) else { return false };
    let attributes = asked.attributes.unwrap_or_default();
    let Ok(sent) = sent_by_envoy(&attributes) else { return false };
    let Ok(target) = sent.target() else { return false };
    let http = attributes.request.as_ref().and_then(|request| request.http.as_ref()).expect("it was read");
    let alone = |url: String| Target::parse(&url).expect("a part of what was read");
    assert_eq!(target.origin(), alone(format!("{}://{}", http.scheme, http.host)).origin(), "the host is the host");
    assert_eq!(target.path(), alone(format!("https://a.example{}", http.path)).path(), "the path is the path");
    let request = sent.request(&target);
    let lines = http.header_map.iter().flat_map(|map| &map.headers).map(|line| line.key.as_str());
    let names: Vec<_> = lines.chain(http.headers.keys().map(String::as_str)).collect();
    let count = |wanted: &str| names.iter().filter(|name| name.eq_ignore_ascii_case(wanted)).count();
    assert_eq!((request.authorization.len(), request.proofs.len()), (count("authorization"), count("dpop")));
    assert!(request.method.bytes().all(|byte| byte.is_ascii_graphic()) && !request.method.is_empty());
    true
}

/// What a proxy asks for by SDS: a letter that says in which way, then its message. It asks for no more than it may,
/// and its words about itself fit a line.
#[must_use]
pub fn secrets(bytes: &[u8]) -> bool {
    let Some((letter, message)) = bytes.split_first() else { return false };
    let request = match letter {
        b'W' => pb::envoy::service::discovery::v3::DiscoveryRequest::decode(message).map(SdsRequest::Whole),
        _ => pb::envoy::service::discovery::v3::DeltaDiscoveryRequest::decode(message).map(SdsRequest::Delta),
    };
    match request.map(begin_sds) {
        Ok(Ok((names, words))) => {
            assert!(names.len() <= 1_024 && names.iter().all(|name| name.len() <= 2_048 && !name.is_empty()));
            assert!(words.iter().all(|word| word.len() <= 131 && !word.contains(char::is_control)));
            true
        }
        Ok(Err(refused)) => {
            assert!(refused.message().len() < 8_192, "a refusal repeats a long text");
            false
        }
        Err(_) => false,
    }
}

/// Whether it could be registered. What was checked once passes again, and says the same.
fn is_entry(draft: &Draft) -> bool {
    let own = example_org();
    match draft.clone().check_new(&own) {
        Ok(spec) => {
            assert_eq!(Draft::from(&spec).check_new(&own).as_ref(), Ok(&spec));
            true
        }
        Err(problems) => {
            assert!(!problems.to_string().is_empty());
            false
        }
    }
}

/// Whether it is the id of an entry, which has one spelling.
fn is_entry_id(text: &str) -> bool {
    entry_id(text).is_ok_and(|id| {
        assert_eq!(id.to_string(), text);
        true
    })
}
