//! What is permitted, and what is refused with which reasons: the cases of `cases.txt`, and what holds for all of them.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod random;

use super::*;
use crate::{
    oauth::{
        Scopes, Thumbprint,
        access::{Claims, Subject, TokenId},
        exchange::User,
    },
    policy::tests::NotCloned,
    registry::{AgentDraft, Draft, Entry, EntryId, GrantDraft, ToolDraft, grant},
    spiffe::Id,
};

const CASES: &str = include_str!("cases.txt");
/// Of the tool, with their bands.
const SCOPES: [(&str, Band); 6] = [
    ("read", Band::Read),
    ("list", Band::Read),
    ("write", Band::Write),
    ("delete", Band::Delete),
    ("send", Band::Send),
    ("deploy", Band::Deploy),
];
const MINUTE: Duration = Duration::from_secs(60);

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn domain() -> TrustDomain {
    TrustDomain::parse("example.org").unwrap()
}

fn agent(state: State) -> Agent {
    agent_of(state, "")
}

/// Of this environment; of none, where it is empty.
fn agent_of(state: State, environment: &str) -> Agent {
    let (name, owner, environment) = ("crew".into(), "ops@example.org".into(), environment.into());
    let draft = AgentDraft { name, owner, environment, ..AgentDraft::default() };
    Agent {
        spec: draft.check().unwrap(),
        state,
        created_by: 0,
        created_at: SystemTime::UNIX_EPOCH,
        revoked_before: SystemTime::UNIX_EPOCH,
        revision: 1,
    }
}

fn tool() -> Tool {
    let scopes = SCOPES.map(|(name, band)| (name.to_owned(), band.to_string())).into();
    let audience = "https://orders.example.org".into();
    let draft = ToolDraft { name: "orders".into(), audience, scopes, ..ToolDraft::default() };
    Tool { spec: draft.check().unwrap(), created_at: SystemTime::UNIX_EPOCH, revision: 1 }
}

fn right(agent: &str, tool: &str, scopes: Vec<String>, ttl_max: Option<Duration>) -> Grant {
    let ttl_max_seconds = ttl_max.map_or(0, |ttl| ttl.as_secs());
    let draft = GrantDraft { agent: agent.into(), tool: tool.into(), scopes, ttl_max_seconds, ..GrantDraft::default() };
    Grant { spec: draft.check().unwrap(), created_at: SystemTime::UNIX_EPOCH, revision: 1 }
}

/// What an entry of this agent gives.
fn entry(agent: &str, change: impl FnOnce(&mut Entry)) -> Given {
    let draft = Draft {
        spiffe_id: "spiffe://example.org/crew".into(),
        selectors: vec!["unix:uid:1".into()],
        agent: agent.into(),
        ..Draft::default()
    };
    let spec = draft.check(&domain()).unwrap();
    let mut entry = Entry {
        id: EntryId::from_random([1; 16]),
        spec,
        revision: 1,
        created_at: SystemTime::UNIX_EPOCH,
        since: SystemTime::UNIX_EPOCH,
    };
    change(&mut entry);
    grant(&entry)
}

fn scopes(words: &str) -> Vec<Scope> {
    words.split_whitespace().map(|word| Scope::parse(word).unwrap()).collect()
}

/// As `90s`, `15m` or `1h`; `-` is none.
fn length(cell: &str) -> Option<Duration> {
    let (number, unit) = (cell != "-").then(|| cell.split_at(cell.len() - 1))?;
    let seconds = [("s", 1), ("m", 60), ("h", 3_600)].into_iter().find(|(name, _)| *name == unit).unwrap().1;
    Some(Duration::from_secs(number.parse::<u64>().unwrap() * seconds))
}

/// As `own` or `user` with `scopes=`, `ends=` and one thing more; `-` is none.
fn parent(cell: &str) -> Option<(Parent, Option<Revocation>)> {
    let mut words = cell.split(' ');
    let whose = words.next().filter(|whose| *whose != "-")?;
    let (mut scopes, mut ends, mut odd) = (None, 60 * MINUTE, "");
    for word in words {
        match word.split_once('=') {
            Some(("scopes", names)) => scopes = Some(Scopes::parse(&names.replace(',', " ")).unwrap()),
            Some(("ends", end)) => ends = length(end).unwrap(),
            _ => odd = word,
        }
    }
    let id = |text| Id::parse(text).unwrap();
    let token = match whose {
        "own" => Parent::of_own(Claims {
            issuer: String::new(),
            subject: Subject::Agent(id(if odd == "other-id" {
                "spiffe://example.org/b"
            } else {
                "spiffe://example.org/crew"
            })),
            audience: format!("https://{}.example.org", if odd == "other-tool" { "billing" } else { "orders" }),
            client: if odd == "other-agent" { "others" } else { "crew" }.into(),
            issued_at: now(),
            expires_at: now() + ends,
            token_id: TokenId([1; 16]),
            scopes: scopes.unwrap(),
            key: Thumbprint::parse("0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I").unwrap(),
            session: Some("s1".into()),
        }),
        "user" => Parent::of_user(User {
            name: "ada".into(),
            issuer: "https://login.test".into(),
            actors: Vec::new(),
            may_act: odd.strip_prefix("may-act:").map(str::to_owned),
            scopes,
            expires_at: now() + ends,
            token_id: Some("j1".into()),
        }),
        whose => panic!("{whose}"),
    };
    Some((token, (odd == "revoked").then_some(Revocation::Token)))
}

/// One line of the table.
struct Case {
    line: &'static str,
    agent: Agent,
    entry: Given,
    environment: Option<Label>,
    tool: Option<Tool>,
    grant: Option<Grant>,
    scopes: Vec<Scope>,
    ttl: Option<Duration>,
    rate: Rate,
    trust_domain: TrustDomain,
    parent: Option<(Parent, Option<Revocation>)>,
    then: &'static str,
}

impl Case {
    fn read(line: &'static str) -> Self {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let [state, whose, granted, max, rate, asked, ttl, subject, then] = cells.try_into().unwrap();
        let all = || SCOPES.map(|(name, _)| name.to_owned()).to_vec();
        let environment = |name: &str| (name != "-").then(|| Label::parse(name).unwrap());
        let (state, (its, ours)) = match state.split_once(' ') {
            None => (state, ("", None)),
            Some((state, both)) => {
                let (its, ours) = both.split_once('@').unwrap();
                (state, (its.trim_start_matches('-'), environment(ours)))
            }
        };
        let trust_domain = TrustDomain::parse(if whose == "foreign" { "other.test" } else { "example.org" }).unwrap();
        Self {
            line,
            agent: agent_of(State::of(state).unwrap(), its),
            environment: ours,
            entry: match whose {
                "own" | "foreign" => entry("crew", |_| {}),
                "other" => entry("others", |_| {}),
                "nobody" => entry("", |_| {}),
                "ended" => entry("crew", |it| it.spec.expires_at = Some(now())),
                "soon" => entry("crew", |it| it.spec.expires_at = Some(now() + Duration::from_secs(90))),
                whose => panic!("{whose}"),
            },
            tool: (asked != "@").then(tool),
            grant: match granted {
                "-" => None,
                "other-agent" => Some(right("others", "orders", all(), None)),
                "other-tool" => Some(right("crew", "billing", all(), None)),
                words => Some(right("crew", "orders", words.split(' ').map(str::to_owned).collect(), length(max))),
            },
            scopes: if matches!(asked, "-" | "@") { Vec::new() } else { scopes(asked) },
            ttl: length(ttl),
            rate: match rate {
                "left" => Rate::Left,
                "spent" => Rate::Reached { again_in: MINUTE },
                rate => panic!("{rate}"),
            },
            trust_domain,
            parent: parent(subject),
            then,
        }
    }

    fn judge(&self) -> Judgement {
        let request = Request {
            entry: &self.entry,
            agent: &self.agent,
            environment: self.environment.as_ref(),
            tool: self.tool.as_ref(),
            grant: self.grant.as_ref(),
            scopes: &self.scopes,
            ttl: self.ttl,
            rate: self.rate,
            parent: self.parent.as_ref().map(|(token, revocation)| Exchanged { token, revocation: *revocation }),
        };
        judge(&request, &self.trust_domain, now())
    }
}

fn cases() -> impl Iterator<Item = Case> {
    CASES.lines().filter(|line| !line.starts_with('#')).map(Case::read)
}

#[test]
fn each_case_of_the_table_has_its_decision() {
    let mut codes = Vec::new();
    for case in cases() {
        let found = match case.judge() {
            Judgement::Permit(permit) => {
                let scopes: Vec<_> = permit.scopes().iter().map(Scope::as_str).collect();
                format!("{} {}", scopes.join(" "), permit.ttl().as_secs())
            }
            Judgement::Refuse(reasons) => {
                codes.extend(reasons.iter().map(Reason::code));
                reasons.iter().map(Reason::code).collect::<Vec<_>>().join(" ")
            }
        };
        assert_eq!(found, case.then, "{}", case.line);
    }
    assert!(cases().count() >= 60);
    codes.sort_unstable();
    codes.dedup();
    // Only a door's caller can go by a name that is not its own.
    assert_eq!(codes.len(), REASONS - 1, "each reason has its case: {codes:?}");
}

#[test]
fn a_permit_says_who_what_and_where() {
    let case = cases().next().unwrap();
    let Judgement::Permit(permit) = case.judge() else { panic!("it is refused") };
    assert_eq!(permit.id().as_str(), "spiffe://example.org/crew");
    assert_eq!((permit.agent().as_str(), permit.tool().as_str()), ("crew", "orders"));
    assert_eq!((permit.audience(), permit.expires_at()), ("https://orders.example.org", None));
}

/// All grants and requests over four scopes, with all that can be said of lifetimes, in every state.
#[test]
fn rights_are_never_more_than_the_grant_and_life_never_longer_than_the_band() {
    let names = ["read", "list", "write", "gone"];
    let subsets = || {
        (0..16_u32)
            .map(|bits| (0..4).filter(|at| bits >> at & 1 == 1).filter_map(|at| names.get(at).copied()).collect())
    };
    let lengths = [None, Some(Duration::from_secs(1)), Some(4 * MINUTE), Some(60 * MINUTE)];
    let (tool, entry) = (tool(), entry("crew", |_| {}));
    let (mut permitted, mut refused) = (0_u32, 0_u32);
    let production = Label::parse("production").unwrap();
    let environments = [("", None), ("production", None), ("", Some(&production)), ("production", Some(&production))];
    let environments = environments.into_iter().chain([("staging", Some(&production))]);
    for (state, (its, environment)) in
        State::ALL.into_iter().flat_map(|state| environments.clone().map(move |both| (state, both)))
    {
        let agent = agent_of(state, its);
        for granted in subsets() {
            let granted: Vec<&str> = granted;
            for max in lengths {
                let owned: Vec<_> = granted.iter().map(|name| (*name).to_owned()).collect();
                let grant = (!owned.is_empty()).then(|| right("crew", "orders", owned, max));
                for (asked, ttl) in subsets().flat_map(|asked: Vec<&str>| lengths.map(|ttl| (asked.clone(), ttl))) {
                    let asked = scopes(&asked.join(" "));
                    let (tool, grant, scopes) = (Some(&tool), grant.as_ref(), asked.as_slice());
                    let (rate, parent) = (Rate::Left, None);
                    let agent = &agent;
                    let request = Request { entry: &entry, agent, environment, tool, grant, scopes, ttl, rate, parent };
                    match judge(&request, &domain(), now()) {
                        Judgement::Permit(permit) => {
                            permitted += 1;
                            assert_eq!(state, State::Active);
                            assert!(environment.is_none_or(|environment| its == environment.as_str()), "{its}");
                            is_within(&permit, &request, max);
                        }
                        Judgement::Refuse(reasons) => {
                            refused += 1;
                            assert!(!reasons.is_empty());
                        }
                    }
                }
            }
        }
    }
    assert!(permitted > 2_000 && refused > 2_000, "{permitted} permitted, {refused} refused");
}

fn is_within(permit: &Permit, request: &Request<'_>, max: Option<Duration>) {
    let (grant, tool) = (request.grant.unwrap(), request.tool.unwrap());
    assert!(!permit.scopes().is_empty());
    let mut risky = false;
    for scope in permit.scopes() {
        let band = tool.spec.band(scope.as_str()).unwrap();
        risky |= band != Band::Read;
        assert!(grant.spec.has(scope.as_str()), "{scope}");
        assert!(request.scopes.is_empty() || request.scopes.contains(scope), "{scope}");
    }
    let most = if risky { 15 * MINUTE } else { 60 * MINUTE };
    let usual = if risky { 5 * MINUTE } else { 15 * MINUTE };
    assert!(!permit.ttl().is_zero() && permit.ttl() <= most);
    assert!(permit.ttl() <= max.unwrap_or(usual), "{max:?}: {:?}", permit.ttl());
    assert!(request.ttl.is_none_or(|ttl| permit.ttl() <= ttl));
}

/// All grants, requests and subject tokens over three scopes, with all that can be said of lifetimes.
#[test]
fn what_is_exchanged_is_never_more_than_the_subject_nor_the_grant() {
    let names = ["read", "list", "write"];
    let subsets = || {
        (0..8_u32).map(|bits| {
            (0..3).filter(|at| bits >> at & 1 == 1).filter_map(|at| names.get(at).copied()).collect::<Vec<_>>()
        })
    };
    let lengths = [Duration::from_millis(999), Duration::from_secs(1), 7 * MINUTE, 120 * MINUTE];
    let (tool, entry, agent) = (tool(), entry("crew", |_| {}), agent(State::Active));
    let (mut permitted, mut refused) = (0_u32, 0_u32);
    for (granted, of_subject) in subsets().flat_map(|granted| subsets().map(move |of| (granted.clone(), of))) {
        for (max, ends) in
            [None, Some(10 * MINUTE), Some(60 * MINUTE)].into_iter().flat_map(|max| lengths.map(|ends| (max, ends)))
        {
            let owned: Vec<_> = granted.iter().map(|name| (*name).to_owned()).collect();
            let grant = (!owned.is_empty()).then(|| right("crew", "orders", owned, max));
            let whose =
                if of_subject.is_empty() { "user".to_owned() } else { format!("own scopes={}", of_subject.join(",")) };
            let cells = [whose.clone(), whose.replacen("own", "user", 1)];
            for cell in cells {
                let (token, _) = parent(&format!("{cell} ends={}s", ends.as_secs())).unwrap();
                for asked in subsets().map(|asked| scopes(&asked.join(" "))) {
                    let request = Request {
                        entry: &entry,
                        agent: &agent,
                        environment: None,
                        tool: Some(&tool),
                        grant: grant.as_ref(),
                        scopes: &asked,
                        ttl: None,
                        rate: Rate::Left,
                        parent: Some(Exchanged { token: &token, revocation: None }),
                    };
                    match judge(&request, &domain(), now()) {
                        Judgement::Permit(permit) => {
                            permitted += 1;
                            is_within(&permit, &request, max);
                            let is_of_subject =
                                |scope: &Scope| token.scopes().is_none_or(|of| of.contains(scope.as_str()));
                            assert!(permit.scopes().iter().all(is_of_subject), "{cell}");
                            assert!(now() + permit.ttl() <= token.expires_at(), "{cell} {ends:?}");
                            assert_eq!(permit.expires_at(), Some(token.expires_at()));
                        }
                        Judgement::Refuse(_) => refused += 1,
                    }
                }
            }
        }
    }
    assert!(permitted > 1_000 && refused > 1_000, "{permitted} permitted, {refused} refused");
}

#[test]
fn a_permit_for_a_user_names_him_and_what_was_exchanged() {
    let case = Case { parent: parent("user scopes=read"), ..cases().next().unwrap() };
    let Judgement::Permit(permit) = case.judge() else { panic!("it is refused") };
    assert_eq!((permit.subject().name(), permit.subject().agent()), ("ada", permit.id()));
    assert_eq!((permit.parent(), permit.session()), (Some("j1"), None));
    let case = Case { parent: parent("own scopes=read"), ..cases().next().unwrap() };
    let Judgement::Permit(permit) = case.judge() else { panic!("it is refused") };
    assert_eq!(*permit.subject(), Subject::Agent(permit.id().clone()));
    assert_eq!((permit.parent(), permit.session()), (Some("AQEBAQEBAQEBAQEBAQEBAQ"), Some("s1")));
}

#[test]
fn what_is_less_than_a_second_is_no_life() {
    let case = cases().next().unwrap();
    let left = Duration::from_millis(999);
    for (case, what) in [
        (Case { ttl: Some(left), ..case }, "asked for"),
        (
            Case { entry: entry("crew", |it| it.spec.expires_at = Some(now() + left)), ..cases().next().unwrap() },
            "entry",
        ),
    ] {
        let Judgement::Refuse(reasons) = case.judge() else { panic!("{what}: it is permitted") };
        assert_eq!(reasons, [Reason::NoLifetime { left }], "{what}");
    }
    let odd = Case { ttl: Some(Duration::from_millis(2_900)), ..cases().next().unwrap() };
    let Judgement::Permit(permit) = odd.judge() else { panic!("it is refused") };
    assert_eq!(permit.ttl(), Duration::from_secs(2));
}

/// How many there are.
const REASONS: usize = 18;

#[test]
fn reasons_have_stable_codes_and_sentences() {
    let (crew, orders) = (agent(State::Active).spec.name, tool().spec.name);
    let grant = right("crew", "orders", vec!["read".into()], None).spec.id;
    let rows: [(Reason, &str, &str); REASONS + 1] = [
        (Reason::NoAgent, "no_agent", "no entry that the caller matches belongs to an agent"),
        (Reason::NotItsAgent, "not_its_agent", "the caller goes by a name that none of its agents has"),
        (
            Reason::EntryExpired { entry: EntryId::from_random([0; 16]), since: SystemTime::UNIX_EPOCH + MINUTE },
            "entry_expired",
            "the entry 00000000-0000-4000-8000-000000000000 has expired (at Unix time 60)",
        ),
        (
            Reason::ForeignTrustDomain { named: domain() },
            "foreign_trust_domain",
            "the caller's SPIFFE ID names the trust domain example.org, which is not this daemon's",
        ),
        (Reason::AgentSuspended(crew.clone()), "agent_suspended", "the agent crew is suspended"),
        (Reason::AgentRetired(crew.clone()), "agent_retired", "the agent crew is retired"),
        (
            Reason::Environment { agent: crew.clone(), its: Label::parse("staging").ok() },
            "environment",
            "the agent crew is of the environment staging, which is not this daemon's",
        ),
        (
            Reason::Environment { agent: crew.clone(), its: None },
            "environment",
            "the agent crew is of no environment, and this daemon has one",
        ),
        (Reason::UnknownTool, "unknown_tool", "no tool has the audience that was asked for"),
        (Reason::NoGrant { agent: crew, tool: orders }, "no_grant", "the agent crew has no grant for the tool orders"),
        (
            Reason::ScopeNotGranted { grant: grant.clone() },
            "scope_not_granted",
            "the grant crew/orders has none of the scopes that were asked for",
        ),
        (
            Reason::RateReached { grant, again_in: MINUTE },
            "rate_reached",
            "the rate of the grant crew/orders leaves no token for 60000 ms",
        ),
        (
            Reason::SubjectExpired { left: MINUTE / 120 },
            "subject_expired",
            "the token that is exchanged ends in 500 ms",
        ),
        (Reason::SubjectRevoked(Revocation::Key), "subject_revoked", "the token that is exchanged was revoked: Key"),
        (Reason::SubjectMayAct, "subject_may_act", "the token that is exchanged names another who may act"),
        (Reason::SubjectOtherAgent, "subject_other_agent", "the token that is exchanged is another agent's"),
        (Reason::SubjectOtherAudience, "subject_other_audience", "the token that is exchanged is for another tool"),
        (
            Reason::SubjectScope,
            "subject_scope",
            "the token that is exchanged has none of the scopes that are asked for and granted",
        ),
        (Reason::NoLifetime { left: MINUTE / 120 }, "no_lifetime", "the rules leave 500 ms of life"),
    ];
    for (reason, code, words) in rows {
        assert_eq!((reason.code(), reason.to_string().as_str()), (code, words));
    }
}

#[test]
fn a_permit_cannot_be_copied() {
    assert!(<Permit as NotCloned<_>>::holds());
}
