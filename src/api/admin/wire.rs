//! Entries between the wire and the registry.

use std::{str::FromStr as _, time::SystemTime};

use tonic::Status;

use super::items;
use crate::{
    api::status,
    issuance::desk::{Amendment, Order},
    pb::admin as pb,
    registry::{Draft, Entry, EntryId},
};

/// Seconds since the epoch; 0 for what is before it.
pub(super) fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

pub(crate) fn entry_id(text: &str) -> Result<EntryId, Status> {
    Ok(EntryId::from_str(text)?)
}

pub(super) fn encode(entry: &Entry) -> pb::Entry {
    let said = Draft::from(&entry.spec);
    pb::Entry {
        id: entry.id.to_string(),
        spiffe_id: said.spiffe_id,
        selectors: said.selectors,
        x509_ttl_seconds: said.x509_ttl_seconds,
        jwt_ttl_seconds: said.jwt_ttl_seconds,
        wit_ttl_seconds: said.wit_ttl_seconds,
        dns_names: said.dns_names,
        certificate_profile: said.certificate_profile,
        common_name: said.common_name,
        hint: said.hint,
        federates_with: said.federates_with,
        sds_for: said.sds_for,
        admin: said.admin,
        downstream: said.downstream,
        expires_at: said.expires_at,
        agent: said.agent,
        revision: entry.revision,
        created_at: unix_seconds(entry.created_at),
    }
}

/// A new entry.
pub(crate) fn new_draft(entry: Option<pb::Entry>) -> Result<Draft, Status> {
    let entry = entry.ok_or_else(|| status::invalid("the entry is missing"))?;
    match entry.id.is_empty() && entry.revision == 0 && entry.created_at == 0 {
        true => Ok(draft(entry)),
        false => Err(status::invalid("id, revision and created_at of a new entry are given by the daemon")),
    }
}

/// An entry as it is to be. Its revision and time may be those that were shown; they say nothing here.
pub(crate) fn amendment(request: pb::UpdateEntryRequest) -> Result<Amendment, Status> {
    let entry = request.entry.ok_or_else(|| status::invalid("the entry is missing"))?;
    let expected = (request.expected_revision != 0).then_some(request.expected_revision);
    Ok(Amendment { id: entry_id(&entry.id)?, draft: draft(entry), expected })
}

/// Many changes, to be made together or only to be checked.
pub(crate) fn order(request: pb::ApplyEntriesRequest) -> Result<Order, Status> {
    Ok(Order {
        create: request.create.into_iter().map(|entry| new_draft(Some(entry))).collect::<Result<_, _>>()?,
        update: request.update.into_iter().map(amendment).collect::<Result<_, _>>()?,
        delete: request.delete.iter().map(|id| entry_id(id)).collect::<Result<_, _>>()?,
        put: request.put.into_iter().map(items::put).collect::<Result<_, _>>()?,
        remove: request.remove.iter().map(items::id).collect::<Result<_, _>>()?,
        dry_run: request.dry_run,
    })
}

fn draft(entry: pb::Entry) -> Draft {
    Draft {
        spiffe_id: entry.spiffe_id,
        selectors: entry.selectors,
        x509_ttl_seconds: entry.x509_ttl_seconds,
        jwt_ttl_seconds: entry.jwt_ttl_seconds,
        wit_ttl_seconds: entry.wit_ttl_seconds,
        dns_names: entry.dns_names,
        certificate_profile: entry.certificate_profile,
        common_name: entry.common_name,
        hint: entry.hint,
        federates_with: entry.federates_with,
        sds_for: entry.sds_for,
        admin: entry.admin,
        downstream: entry.downstream,
        expires_at: entry.expires_at,
        agent: entry.agent,
    }
}
