//! `dayfly fetch jwt`: tokens for those who are to believe them.
//!
//! The standard's call gives tokens once; staying means asking again around half of their life.

use std::{path::Path, time::SystemTime};

use clap::Args;
use serde_json::json;
use zeroize::Zeroizing;

use crate::{
    cli::{
        exit::Exit,
        failure::Failure,
        link::{self, Workload},
        moment,
        print::Printer,
    },
    pb::workload::{JwtsvidRequest, JwtsvidResponse},
    spiffe::{
        Id,
        jwt::{AUDIENCES_BYTES_MAX, AUDIENCES_MAX, audiences_bytes},
    },
    sys::Clock,
};

use super::{
    choice::{Choice, Named},
    delivery::{Delivery, Door},
    files::Files,
    token::Said,
};

/// `fetch jwt`
#[derive(Debug, Args)]
pub(crate) struct FetchJwt {
    /// Who is to believe the token; several times for one token that all of them believe
    #[arg(long, value_name = "AUDIENCE", required = true)]
    audience: Vec<String>,
    /// A token of its own for each audience: jwt_svid.0.token, jwt_svid.1.token, … in their order
    #[arg(long)]
    each: bool,
    #[command(flatten)]
    choice: Choice,
    #[command(flatten)]
    pub(super) delivery: Delivery,
}

/// What is asked for.
pub(super) struct JwtDoor {
    /// One request, and one token of each identity, for each.
    requests: Vec<JwtsvidRequest>,
    /// Whether files have numbers.
    each: bool,
    choice: Choice,
    clock: Clock,
}

/// A connection, and what came last of it.
pub(super) struct Feed {
    client: Workload,
    last: Option<Tokens>,
}

/// For each request the tokens of all identities that were asked for; the default one first.
pub(super) type Tokens = Vec<Vec<Token>>;

#[derive(Clone, PartialEq, Eq)]
pub(super) struct Token {
    hint: String,
    compact: Zeroizing<String>,
    said: Said,
}

impl FetchJwt {
    pub(super) fn door(self: &FetchJwt) -> Result<JwtDoor, Failure> {
        let count = self.audience.len();
        if let Some(problem) = match () {
            () if self.audience.iter().any(String::is_empty) => Some("an audience is empty".into()),
            () if self.audience.iter().any(|audience| audience.len() > AUDIENCE_BYTES_MAX) => {
                Some(format!("an audience has more than {AUDIENCE_BYTES_MAX} bytes"))
            }
            () if audiences_bytes(&self.audience) > AUDIENCES_BYTES_MAX && !self.each => Some(format!(
                "the audiences have more than {AUDIENCES_BYTES_MAX} bytes together; --each fetches a token for each"
            )),
            () if count > AUDIENCES_MAX => Some(format!("{count} audiences are more than {AUDIENCES_MAX}")),
            () => None,
        } {
            return Err(Failure::new(Exit::Usage, problem));
        }
        let spiffe_id = self.choice.spiffe_id();
        let request = |audience: &[String]| JwtsvidRequest { audience: audience.into(), spiffe_id: spiffe_id.clone() };
        let requests =
            if self.each { self.audience.chunks(1).map(request).collect() } else { vec![request(&self.audience)] };
        Ok(JwtDoor { requests, each: self.each, choice: self.choice.clone(), clock: Clock::system() })
    }
}

impl Named for Token {
    fn id(&self) -> &Id {
        &self.said.id
    }

    fn hint(&self) -> &str {
        &self.hint
    }
}

impl Door for JwtDoor {
    type Feed = Feed;
    type Update = Tokens;

    async fn open(&self, socket: &Path) -> Result<Feed, Failure> {
        Ok(Feed { client: link::workload(socket).await?, last: None })
    }

    async fn next(&self, feed: &mut Feed) -> Result<Tokens, Failure> {
        while let Some(last) = &feed.last {
            let begin = self.clock.now();
            // The first to need it; should the clock be set back, the tokens may be of its future.
            let due = last.iter().flatten().map(|token| token.said.renewal(begin, drawn())).min().unwrap_or(begin);
            self.clock.sleep_between(begin, due).await;
            let tokens = self.ask(&mut feed.client).await?;
            // An endpoint may keep tokens, and give out the same ones for a while.
            if feed.last.as_ref() != Some(&tokens) {
                feed.last = Some(tokens.clone());
                return Ok(tokens);
            }
        }
        let tokens = self.ask(&mut feed.client).await?;
        feed.last = Some(tokens.clone());
        Ok(tokens)
    }

    fn files(&self, update: &Tokens) -> Result<Files, Failure> {
        let chosen = self.chosen(update)?;
        let files = Files::new(subject(&chosen));
        let files = chosen.first().map_or(Files::default(), |token| files.of(&token.said.id));
        Ok(chosen.iter().enumerate().fold(files, |files, (number, token)| match self.each {
            true => files.secret(format!("jwt_svid.{number}.token"), &token.compact),
            false => files.secret("jwt_svid.token", &token.compact),
        }))
    }

    fn show(&self, print: &Printer, update: &Tokens, again: bool) -> Result<(), Failure> {
        if print.is_json() {
            let mut shown = Vec::new();
            for tokens in update {
                shown.extend(self.choice.shown(tokens)?.into_iter().map(view));
            }
            let document = json!({ "svids": shown });
            return if again { print.json_line(&document) } else { print.json(&document) };
        }
        if !print.faces_terminal() {
            return self.chosen(update)?.iter().try_for_each(|token| print.line(token.compact.as_str()));
        }
        let now = self.clock.now();
        let mut rows = Vec::new();
        for tokens in update {
            rows.extend(self.choice.shown(tokens)?.into_iter().map(|token| {
                let end = moment::text_and_distance(moment::unix(token.said.expires_at), now);
                [token.said.id.to_string(), token.said.audiences.join("\n"), end, token.hint.clone()]
            }));
        }
        print.table(["SPIFFE ID", "AUDIENCES", "UNTIL", "HINT"], rows)?;
        if !again {
            print.say("the token itself goes to a pipe, to a file (`--write DIR`), or into `--output json`");
        }
        Ok(())
    }
}

impl JwtDoor {
    async fn ask(&self, client: &mut Workload) -> Result<Tokens, Failure> {
        let mut all = Vec::new();
        for request in &self.requests {
            let response = client.fetch_jwtsvid(request.clone()).await;
            let response = response.map_err(|status| link::workload_refusal(&status))?.into_inner();
            all.push(tokens(request, response, self.clock.now())?);
        }
        Ok(all)
    }

    /// One for each request.
    fn chosen<'u>(&self, update: &'u Tokens) -> Result<Vec<&'u Token>, Failure> {
        update.iter().map(|tokens| self.choice.choose(tokens)).collect()
    }
}

/// Takes an answer in, all of it or nothing.
fn tokens(request: &JwtsvidRequest, response: JwtsvidResponse, now: SystemTime) -> Result<Vec<Token>, Failure> {
    let wrong = |error: &dyn std::error::Error| Failure::because("the endpoint's answer is not right", error);
    let tokens = response.svids.into_iter().map(|svid| {
        let compact = Zeroizing::new(svid.svid);
        let said = Said::read(&compact, &svid.spiffe_id, now).map_err(|error| wrong(&*error))?;
        match request.audience.iter().find(|wanted| !said.audiences.contains(wanted)) {
            None => Ok(Token { hint: svid.hint, compact, said }),
            Some(wanted) => Err(Failure::new(
                Exit::Failed,
                format!("the endpoint's answer is not right: the token is not for {wanted}"),
            )),
        }
    });
    let tokens = tokens.collect::<Result<Vec<_>, _>>()?;
    match tokens.is_empty() {
        true => Err(Failure::new(Exit::Failed, "the endpoint's answer has no token")),
        false => Ok(tokens),
    }
}

fn subject(chosen: &[&Token]) -> String {
    let each = chosen.iter().map(|token| {
        let end = moment::text(moment::unix(token.said.expires_at));
        format!("{} for {} until {end}", token.said.id, token.said.audiences.join(", "))
    });
    each.collect::<Vec<_>>().join("; ")
}

fn view(token: &Token) -> serde_json::Value {
    json!({
        "spiffe_id": token.said.id.as_str(),
        "hint": token.hint,
        "audience": token.said.audiences,
        "issued_at": token.said.issued_at.map(moment::unix),
        "expires_at": moment::unix(token.said.expires_at),
        "jwt_svid": token.compact.as_str(),
    })
}

/// Without randomness everybody renews at one share of the life, which is no harm.
fn drawn() -> u16 {
    let mut drawn = [0; 2];
    aws_lc_rs::rand::fill(&mut drawn).ok();
    u16::from_ne_bytes(drawn)
}

/// What the daemon takes.
const AUDIENCE_BYTES_MAX: usize = 2_048;
