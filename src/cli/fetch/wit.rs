//! `dayfly fetch wit`: tokens that are worth nothing without the key that comes with them.

use std::{path::Path, time::SystemTime};

use clap::Args;
use serde_json::json;
use tonic::Streaming;
use zeroize::Zeroizing;

use crate::{
    cli::{exit::Exit, failure::Failure, link, moment, print::Printer},
    pb::workload::{Witsvid, WitsvidRequest, WitsvidResponse},
    spiffe::{Id, jose, wit},
    sys::Clock,
};

use super::{
    choice::{Choice, Named},
    delivery::{Delivery, Door},
    files::Files,
    token::Said,
};

/// `fetch wit`
#[derive(Debug, Args)]
pub(crate) struct FetchWit {
    #[command(flatten)]
    choice: Choice,
    #[command(flatten)]
    pub(super) delivery: Delivery,
}

pub(super) struct Wit {
    hint: String,
    compact: String,
    /// A JWK.
    key: Zeroizing<String>,
    thumbprint: String,
    said: Said,
}

impl Named for Wit {
    fn id(&self) -> &Id {
        &self.said.id
    }

    fn hint(&self) -> &str {
        &self.hint
    }
}

impl Door for FetchWit {
    type Feed = Streaming<WitsvidResponse>;
    type Update = Vec<Wit>;

    async fn open(&self, socket: &Path) -> Result<Self::Feed, Failure> {
        let mut client = link::workload(socket).await?;
        let request = WitsvidRequest { spiffe_id: self.choice.spiffe_id() };
        link::stream(client.fetch_witsvid(request)).await
    }

    async fn next(&self, feed: &mut Self::Feed) -> Result<Vec<Wit>, Failure> {
        let (message, now) = (link::next(feed).await?, Clock::system().now());
        let all = message.svids.into_iter().map(|svid| read(svid, now)).collect::<Result<Vec<_>, _>>();
        let all = all.map_err(|error| Failure::because("the endpoint's answer is not right", &*error))?;
        match all.is_empty() {
            true => Err(Failure::new(Exit::Failed, "the endpoint's answer has no token")),
            false => Ok(all),
        }
    }

    fn files(&self, update: &Vec<Wit>) -> Result<Files, Failure> {
        let wit = self.choice.choose(update)?;
        let end = moment::text(moment::unix(wit.said.expires_at));
        Ok(Files::new(format!("{} until {end}", wit.said.id))
            .of(&wit.said.id)
            .secret("wit_svid.token", &wit.compact)
            .secret("wit_svid_key.json", &wit.key))
    }

    fn show(&self, print: &Printer, update: &Vec<Wit>, again: bool) -> Result<(), Failure> {
        let shown = self.choice.shown(update)?;
        if print.is_json() {
            let document = json!({ "svids": shown.into_iter().map(view).collect::<Vec<_>>() });
            return print.json_of(&document, again);
        }
        let now = Clock::system().now();
        let rows = shown.into_iter().map(|wit| {
            let end = moment::text_and_distance(moment::unix(wit.said.expires_at), now);
            [wit.said.id.to_string(), end, wit.thumbprint.clone(), wit.hint.clone()]
        });
        match again {
            true => {
                rows.into_iter().try_for_each(|[id, end, key, _]| print.line(format_args!("{id}  {key}  until {end}")))
            }
            false => print.table(["SPIFFE ID", "UNTIL", "KEY", "HINT"], rows),
        }
    }
}

/// Takes one in, if the key is the one that the token names.
fn read(svid: Witsvid, now: SystemTime) -> Result<Wit, Box<dyn std::error::Error>> {
    let key = Zeroizing::new(svid.wit_svid_key);
    let said = Said::read(&svid.wit_svid, &svid.spiffe_id, now)?;
    let (named, held) = (wit::named_key(&svid.wit_svid)?, jose::Jwk::of_private(key.as_bytes())?);
    if !named.is_same_key(&held) {
        return Err("the key is not the one that the token names".into());
    }
    Ok(Wit { hint: svid.hint, compact: svid.wit_svid, key, thumbprint: named.thumbprint(), said })
}

/// Without the key.
fn view(wit: &Wit) -> serde_json::Value {
    json!({
        "spiffe_id": wit.said.id.as_str(),
        "hint": wit.hint,
        "issued_at": wit.said.issued_at.map(moment::unix),
        "expires_at": moment::unix(wit.said.expires_at),
        "key_thumbprint": wit.thumbprint,
        "wit_svid": wit.compact,
    })
}
