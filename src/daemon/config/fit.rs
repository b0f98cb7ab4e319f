//! Whether what was read goes together: what no value alone can show.

use std::collections::BTreeSet;

use super::{Config, Layout, OpsAddress, problems::Place, read::Reading, values};
use crate::{
    authority::{ISSUING_TTL_MIN, ROOT_TTL_MIN},
    daemon::units::duration_text,
};

impl Reading {
    /// Tells of everything that does not.
    pub(super) fn fit(&mut self, config: &Config) {
        let Config { x509, jwt, wit, token, authority, audit, .. } = config;
        self.sockets(config);
        for (keys, ttl, most) in [
            (["x509.ttl", "x509.ttl_max"], x509.ttl, x509.ttl_max),
            (["jwt.ttl", "jwt.ttl_max"], jwt.ttl, jwt.ttl_max),
            (["wit.ttl", "wit.ttl_max"], wit.ttl, wit.ttl_max),
        ] {
            if ttl > most {
                self.misfit(&keys, &format!("cannot be longer than {}", keys[1]));
            }
        }
        // Whoever looks at issuer, audience and signature alone must not take one for the other.
        if jwt.issuer.as_ref() == Some(&token.issuer) {
            self.misfit(
                &["token.issuer", "jwt.issuer"],
                "cannot be jwt.issuer: the two kinds of tokens are told apart by it",
            );
        }
        let of_users =
            token.user_issuers.iter().map(|issuer| ("token.user_issuer", issuer, "its tokens are no user's"));
        let of_tools =
            config.authz.issuers.iter().map(|issuer| ("authz.issuer", issuer, "every tool takes its tokens"));
        for (key, issuer, why) in of_users.chain(of_tools) {
            let name = issuer.name.as_str();
            if name == token.issuer || Some(name) == jwt.issuer.as_deref() {
                let words = format!("cannot be {name}, which is this daemon: {why}");
                self.misfit(&[key, "token.issuer", "jwt.issuer"], &words);
            }
        }
        if config.authz.entries_per_key_max() > config.authz.replay_entries_max {
            let keys = ["authz.replay_entries_per_key_max", "authz.replay_entries_max"];
            self.misfit(&keys, "cannot be more than authz.replay_entries_max");
        }
        // A key signs until five sixths of its life; what it signs just before must still have room.
        for (key, longest) in [("jwt.ttl_max", jwt.ttl_max), ("wit.ttl_max", wit.ttl_max)] {
            if authority.token_key_ttl < longest.saturating_mul(6) {
                let words = format!("must be at least six times {key}");
                self.misfit(&["authority.token_key_ttl", key], &words);
            }
        }
        // An authority is replaced at half its life; what it signs just before must still have room.
        if authority.issuing_ttl < x509.ttl.saturating_mul(2) {
            self.misfit(&["authority.issuing_ttl", "x509.ttl"], "must be at least twice x509.ttl");
        }
        if authority.layout == Layout::Rooted && authority.root_ttl < authority.issuing_ttl.saturating_mul(2) {
            let keys = ["authority.root_ttl", "authority.issuing_ttl"];
            self.misfit(&keys, "must be at least twice authority.issuing_ttl");
        }
        for (key, ttl, least, is_used) in [
            ("authority.issuing_ttl", authority.issuing_ttl, ISSUING_TTL_MIN, true),
            ("authority.root_ttl", authority.root_ttl, ROOT_TTL_MIN, authority.layout == Layout::Rooted),
            ("authority.token_key_ttl", authority.token_key_ttl, ISSUING_TTL_MIN, true),
        ] {
            if is_used && ttl < least {
                let (least, ttl) = (duration_text(least), duration_text(ttl));
                let words = format!(
                    "must be at least {least}, not {ttl}: certificates begin a minute before they are made, and are \
                     replaced at half of their life"
                );
                self.misfit(&[key], &words);
            }
        }
        if audit.total_bytes < audit.segment_bytes.saturating_mul(4) {
            let keys = ["audit.total_bytes", "audit.segment_bytes"];
            self.misfit(&keys, "must be at least four times audit.segment_bytes");
        }
        if let Some(OpsAddress::Tcp(address)) = config.ops.address
            && !address.ip().is_loopback()
            && !config.ops.allow_remote
        {
            let words = format!("other machines can reach {address}; if that is wanted, set ops.allow_remote = true");
            self.misfit(&["ops.address", "ops.allow_remote"], &words);
        }
    }

    fn sockets(&mut self, config: &Config) {
        let Config { workload_sockets, ops, .. } = config;
        if workload_sockets.is_empty() {
            self.misfit(&["workload_sockets"], "must name at least one socket");
        }
        let mut named = BTreeSet::new();
        let of_ops = ops.address.iter().filter_map(|address| match address {
            OpsAddress::Unix(path) => Some(path),
            OpsAddress::Tcp(_) => None,
        });
        for (key, path) in config.sockets().chain(of_ops.map(|path| ("ops.address", path))) {
            if !named.insert(path) {
                self.misfit(&[key], &format!("the socket {path:?} is named twice"));
            }
            // Those of the file were judged where they stand; the default ones follow from folders that may be deep.
            if let (Place::File, Err(words)) = (self.place(key), values::check_socket(path)) {
                self.misfit(&[key], &words);
            }
        }
    }

    /// Says that the values of `keys` do not fit together, unless one of them is wrong by itself.
    fn misfit(&mut self, keys: &[&str], words: &str) {
        let places = keys.iter().map(|key| self.place(key));
        let told = |place| place != Place::File && self.findings.problems.iter().any(|problem| problem.place == place);
        if places.clone().any(told) {
            return;
        }
        // The first of them that is in the file; `keys` is never empty.
        let place = places.clone().find(|place| *place != Place::File).unwrap_or(Place::File);
        let key = keys.first().copied().unwrap_or_default();
        self.wrong(place, format!("{key}: {words}"));
    }
}
