//! Registries and requests by chance, and tokens that are exchanged again and again: what holds for all of them.

use std::collections::BTreeSet;

use super::*;
use crate::registry::{Catalog, Item, Name, Numbers};

const AGENTS: [&str; 3] = ["crew", "others", "lone"];
const TOOLS: [&str; 3] = ["orders", "billing", "mail"];
const NAMES: [&str; 8] = ["read", "list", "write", "delete", "send", "deploy", "Read", "all"];

/// Of each there are so many; they differ and are the same in each run.
const REGISTRIES: u64 = 300;
const REQUESTS: u32 = 60;

/// A token that was permitted, with all that it was made from.
struct Issued {
    token: Parent,
    agent: &'static str,
    tool: &'static str,
    /// What every one of them has.
    scopes: BTreeSet<String>,
    /// When the first of them ends.
    end: SystemTime,
    /// For whom it was from the beginning.
    subject: String,
    /// How many were exchanged for it.
    depth: u32,
}

impl Numbers {
    fn is_one_of(&mut self, count: u32) -> bool {
        self.below(count) == 0
    }

    fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::try_from(self.below(u32::try_from(all.len()).unwrap())).unwrap()]
    }

    fn some(&mut self, all: &[&'static str]) -> Vec<&'static str> {
        all.iter().copied().filter(|_| self.below(2) == 0).collect()
    }

    /// Milliseconds, often near a limit.
    fn length(&mut self) -> Duration {
        let near = self.pick(&[1, 300, 900, 3_600]) * 1_000;
        let off = self.pick(&[-1_000, -1, 0, 1, 1_000]);
        match self.below(3) {
            0 => Duration::from_millis(u64::try_from(near + off).unwrap()),
            _ => Duration::from_millis(self.below(4_000_000).into()),
        }
    }
}

fn registry(numbers: &mut Numbers) -> Catalog {
    let mut items = Vec::new();
    for name in AGENTS {
        let state = if numbers.is_one_of(4) { numbers.pick(&State::ALL) } else { State::Active };
        let mut agent = agent(state);
        let environment = numbers.pick(&["production", "production", "staging", ""]).to_owned();
        let draft = AgentDraft { name: name.into(), owner: "ops".into(), environment, ..AgentDraft::default() };
        agent.spec = draft.check().unwrap();
        items.push(Item::Agent(agent));
    }
    for name in TOOLS {
        let names = [&["all"], numbers.some(&NAMES[..7]).as_slice()].concat();
        let scopes = names.iter().map(|name| ((*name).to_owned(), numbers.pick(&Band::ALL).to_string())).collect();
        let audience = format!("https://{name}.example.org");
        let draft = ToolDraft { name: name.into(), audience, scopes, ..ToolDraft::default() };
        items.push(Item::Tool(Tool { spec: draft.check().unwrap(), created_at: SystemTime::UNIX_EPOCH, revision: 1 }));
        for agent in AGENTS {
            let granted: Vec<_> = numbers.some(&names).into_iter().map(str::to_owned).collect();
            if granted.is_empty() || numbers.is_one_of(4) {
                continue;
            }
            let max = numbers.is_one_of(2).then(|| Duration::from_secs(1 + u64::from(numbers.below(3_600))));
            items.push(Item::Grant(right(agent, name, granted, max)));
        }
    }
    let (catalog, left_out) = Catalog::build(items);
    assert!(left_out.is_empty(), "{left_out:?}");
    catalog
}

/// A user's token, or one that was issued before, perhaps long ago.
fn subject<'a>(
    numbers: &mut Numbers,
    now: SystemTime,
    issued: &'a [Issued],
    of_user: &'a mut Option<Issued>,
) -> Option<&'a Issued> {
    match numbers.below(3) {
        0 => None,
        1 if !issued.is_empty() => {
            issued.get(usize::try_from(numbers.below(u32::try_from(issued.len()).unwrap())).unwrap())
        }
        _ => {
            let scopes = numbers.is_one_of(2).then(|| numbers.some(&NAMES)).filter(|scopes| !scopes.is_empty());
            let end = now + numbers.length();
            let may_act = numbers.is_one_of(4).then(|| format!("spiffe://example.org/{}", numbers.pick(&AGENTS)));
            let user = User {
                name: "ada".into(),
                issuer: "https://login.test".into(),
                actors: Vec::new(),
                may_act,
                scopes: scopes.as_ref().map(|scopes| Scopes::parse(&scopes.join(" ")).unwrap()),
                expires_at: end,
                token_id: None,
            };
            let all = scopes.unwrap_or(NAMES.to_vec()).into_iter().map(str::to_owned).collect();
            let (agent, tool, subject) = ("", "", "ada".to_owned());
            let token = Parent::of_user(user);
            Some(of_user.insert(Issued { token, agent, tool, scopes: all, end, subject, depth: 0 }))
        }
    }
}

/// What a permit is signed as.
fn signed(permit: &Permit, now: SystemTime) -> Parent {
    let end = now + permit.ttl();
    Parent::of_own(Claims {
        issuer: String::new(),
        subject: permit.subject().clone(),
        audience: permit.audience().to_owned(),
        client: permit.agent().as_str().to_owned(),
        issued_at: now,
        expires_at: permit.expires_at().map_or(end, |most| most.min(end)),
        token_id: TokenId([1; 16]),
        scopes: Scopes::parse(&permit.scopes().iter().map(Scope::as_str).collect::<Vec<_>>().join(" ")).unwrap(),
        key: Thumbprint::parse("0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I").unwrap(),
        session: None,
    })
}

#[test]
fn whoever_asks_gets_no_more_than_granted_and_no_exchange_gives_more_than_its_subject() {
    let (mut permitted, mut refused, mut deepest) = (0_u32, 0_u32, 0_u32);
    for seed in 0..REGISTRIES {
        let mut numbers = Numbers::of(seed);
        let catalog = registry(&mut numbers);
        let environment = numbers.is_one_of(3).then(|| Label::parse("production").unwrap());
        let (mut issued, mut now): (Vec<Issued>, _) = (Vec::new(), now());
        for _ in 0..REQUESTS {
            now += Duration::from_millis(numbers.below(20_000).into());
            let mut of_user = None;
            let parent = subject(&mut numbers, now, &issued, &mut of_user);
            // Mostly what it was given to and for.
            let own = parent.filter(|parent| parent.token.own().is_some()).filter(|_| !numbers.is_one_of(4));
            let name = own.map_or_else(|| numbers.pick(&AGENTS), |own| own.agent);
            let named = own.map_or_else(|| numbers.pick(&["orders", "billing", "mail", "nowhere"]), |own| own.tool);
            let whose = if numbers.is_one_of(8) { numbers.pick(&["crew", "others", "lone", ""]) } else { name };
            let end = numbers.is_one_of(3).then(|| now + numbers.length() - Duration::from_secs(1));
            let entry = entry(whose, |it| {
                it.spec.expires_at = end;
                it.spec.spiffe_id = Name::parse(&format!("spiffe://example.org/{name}")).unwrap();
            });
            let audience = format!("https://{named}.example.org");
            let tool = catalog.tool_of(&audience).map(|tool| &**tool);
            let asked = if numbers.is_one_of(3) { Vec::new() } else { scopes(&numbers.some(&NAMES).join(" ")) };
            let ttl = numbers.is_one_of(3).then(|| numbers.length());
            let rate = if numbers.is_one_of(8) { Rate::Reached { again_in: MINUTE } } else { Rate::Left };
            let revocation = numbers.is_one_of(8).then_some(Revocation::Key);
            let agent = catalog.agent(name).unwrap();
            let grant = tool.and_then(|tool| catalog.grant(name, tool.spec.name.as_str())).map(|grant| &**grant);
            let request = Request {
                entry: &entry,
                agent,
                environment: environment.as_ref(),
                tool,
                grant,
                scopes: &asked,
                ttl,
                rate,
                parent: parent.map(|parent| Exchanged { token: &parent.token, revocation }),
            };
            let permit = match judge(&request, &domain(), now) {
                Judgement::Permit(permit) => permit,
                Judgement::Refuse(reasons) => {
                    refused += 1;
                    assert!(!reasons.is_empty());
                    continue;
                }
            };
            permitted += 1;
            // No grant, no permit; and none for who is not the agent, or against any other word.
            let grant = grant.unwrap_or_else(|| panic!("{seed}: without a grant"));
            assert_eq!((agent.state, whose, rate), (State::Active, name, Rate::Left), "{seed}");
            assert_eq!((permit.agent().as_str(), permit.tool().as_str()), (name, named), "{seed}");
            assert_eq!(permit.audience(), audience, "{seed}");
            assert!(environment.is_none() || agent.spec.environment == environment, "{seed}: it is elsewhere");
            assert!(!permit.ttl().is_zero() && ttl.is_none_or(|ttl| permit.ttl() <= ttl), "{seed}");
            assert!(end.is_none_or(|end| now + permit.ttl() <= end), "{seed}: it outlives its entry");
            let tool = tool.unwrap();
            assert!(!permit.scopes().is_empty());
            for scope in permit.scopes() {
                assert!(grant.spec.has(scope.as_str()), "{seed}: {scope} is not granted");
                assert!(asked.is_empty() || asked.contains(scope), "{seed}: {scope} was not asked for");
                let most = if tool.spec.band(scope.as_str()).unwrap() == Band::Read { 60 } else { 15 };
                assert!(permit.ttl() <= most * MINUTE, "{seed}: {scope} for {:?}", permit.ttl());
            }
            let mut made = Issued {
                token: signed(&permit, now),
                agent: name,
                tool: named,
                scopes: permit.scopes().iter().map(|scope| scope.as_str().to_owned()).collect(),
                end: now + permit.ttl(),
                subject: permit.subject().name().to_owned(),
                depth: 0,
            };
            if let Some(parent) = parent {
                assert!(revocation.is_none(), "{seed}");
                assert!(made.scopes.is_subset(&parent.scopes), "{seed}: {:?} of {:?}", made.scopes, parent.scopes);
                assert!(made.end <= parent.end, "{seed}: it outlives what it was made from");
                assert_eq!(made.subject, parent.subject, "{seed}");
                if parent.token.own().is_some() {
                    assert_eq!((&made.agent, &made.tool), (&parent.agent, &parent.tool), "{seed}: it was passed on");
                } else if let Some(actor) = parent.token.may_act() {
                    assert_eq!(actor, entry.spiffe_id().as_str(), "{seed}");
                }
                made.depth = parent.depth + 1;
                deepest = deepest.max(made.depth);
            }
            issued.push(made);
        }
    }
    assert!(permitted > 1_500 && refused > 1_500 && deepest > 3, "{permitted}, {refused}, {deepest}");
}
