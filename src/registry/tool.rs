//! Tools: HTTP services that agents call, with what can be done there.

use std::{collections::BTreeSet, sync::Arc, time::SystemTime};

use serde::{Deserialize, Serialize};

use crate::oauth::target::{self, Base, Route};

use super::{
    draft::{Problems, shown},
    flaw::{Flaw, Flaws},
    label::{Label, named},
    scope::{self, Band, Scope},
};

/// A registered tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tool {
    /// What it says.
    pub(crate) spec: ToolSpec,
    /// When it was registered; whole microseconds, the epoch where that was before it was noted.
    pub(crate) created_at: SystemTime,
    /// Counts its changes, from 1.
    pub(crate) revision: u64,
}

/// What an operator says of a tool. Made by [`ToolDraft::check`] only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ToolSpec {
    /// Unique.
    pub(crate) name: Label,
    /// The `aud` of its tokens, compared octet by octet; unique.
    pub(crate) audience: Arc<str>,
    /// Where it is; sorted, none twice, each of one tool only. None: no door finds it by a URL.
    pub(crate) base_urls: Vec<Base>,
    /// By their names, never empty.
    pub(crate) scopes: Vec<(Scope, Band)>,
    /// What a request needs; in the operator's order, which says nothing.
    pub(crate) routes: Vec<(Route, Scope)>,
    /// Whether `%2F` may be a part of a segment.
    pub(crate) encoded_slash: bool,
}

/// A tool as people and programs write it: nothing is checked yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ToolDraft {
    /// A [`Label`].
    pub(crate) name: String,
    /// An absolute URI.
    pub(crate) audience: String,
    /// As `https://api.example.org/v1`.
    pub(crate) base_urls: Vec<String>,
    /// A scope and a band each.
    pub(crate) scopes: Vec<(String, String)>,
    /// `METHOD /path/*` and a scope each.
    pub(crate) routes: Vec<(String, String)>,
    /// As in [`ToolSpec`].
    pub(crate) encoded_slash: bool,
}

impl ToolDraft {
    /// The longest audience, in bytes.
    pub(crate) const AUDIENCE_BYTES_MAX: usize = 256;
    /// The longest base URL, in bytes.
    pub(crate) const URL_BYTES_MAX: usize = 512;
    /// The most segments in the path of a base URL: a door looks at so many of a request's, and no more.
    pub(crate) const URL_SEGMENTS_MAX: usize = 16;
    /// The most base URLs of one tool.
    pub(crate) const URLS_MAX: usize = 16;
    /// The most scopes of one tool.
    pub(crate) const SCOPES_MAX: usize = 128;
    /// The most routes of one tool.
    pub(crate) const ROUTES_MAX: usize = 256;

    /// Checks everything that can be checked without other tools.
    ///
    /// # Errors
    /// Every problem there is, in the order of the fields.
    pub(crate) fn check(self) -> Result<ToolSpec, Problems<Flaw>> {
        let mut flaws = Flaws::default();
        let name = flaws.label("tool name", &self.name);
        match self.audience.as_str() {
            "" => flaws.add(Flaw::Missing("audience")),
            audience => drop(flaws.read("audience", audience, check_audience(audience))),
        }
        let mut base_urls = Vec::new();
        if flaws.few("base URLs", self.base_urls.len(), Self::URLS_MAX) {
            base_urls.extend(self.base_urls.iter().filter_map(|url| flaws.read("base URL", url, read_base(url))));
        }
        let base_urls = flaws.sorted("base URL", base_urls);
        let scopes = check_scopes(&self.scopes, &mut flaws);
        let routes = check_routes(&self.routes, &scopes, &mut flaws);
        let (audience, encoded_slash) = (self.audience.into(), self.encoded_slash);
        flaws.end(name.map(|name| ToolSpec { name, audience, base_urls, scopes, routes, encoded_slash }))
    }
}

/// A base URL that is short enough for doors to look for it in every request.
fn read_base(url: &str) -> Result<Base, String> {
    let max = ToolDraft::URL_BYTES_MAX;
    if url.len() > max {
        return Err(format!("it has {} bytes, at most {max} are allowed", url.len()));
    }
    let base = Base::parse(url).map_err(|error| error.to_string())?;
    // Two slashes are the scheme's.
    match base.to_string().matches('/').count() - 2 > ToolDraft::URL_SEGMENTS_MAX {
        true => Err(format!("its path has more than {} segments", ToolDraft::URL_SEGMENTS_MAX)),
        false => Ok(base),
    }
}

/// An absolute URI without a fragment (RFC 8707 §2): a scheme, a colon, and something; every octet one that may stand
/// in a URI.
fn check_audience(text: &str) -> Result<(), String> {
    let max = ToolDraft::AUDIENCE_BYTES_MAX;
    if text.len() > max {
        return Err(format!("it has {} bytes, at most {max} are allowed", text.len()));
    }
    let plain = |each: char| each.is_ascii_alphanumeric() || "-._~:/?[]@!$&'()*+,;=%".contains(each);
    if text.contains('#') {
        return Err("it has a fragment".into());
    }
    if let Some(odd) = text.chars().find(|each| !plain(*each)) {
        return Err(format!("it has {}, which stands in no URI", named(odd)));
    }
    let (scheme, rest) = text.split_once(':').unwrap_or_default();
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.chars().all(|each| each.is_ascii_alphanumeric() || "+-.".contains(each));
    let hex = |part: &str| part.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
    match is_scheme && !rest.trim_start_matches('/').is_empty() {
        false => Err("it must be an absolute URI, as https://api.example.org".into()),
        true if !text.split('%').skip(1).all(hex) => Err("it has a `%` without two hexadecimal digits".into()),
        true => Ok(()),
    }
}

fn check_scopes(texts: &[(String, String)], flaws: &mut Flaws) -> Vec<(Scope, Band)> {
    if texts.is_empty() {
        flaws.add(Flaw::Missing("scope"));
    }
    if !flaws.few("scopes", texts.len(), ToolDraft::SCOPES_MAX) {
        return Vec::new();
    }
    let mut scopes: Vec<(Scope, Band)> = Vec::with_capacity(texts.len());
    for (name, band) in texts {
        let scope = flaws.read("scope", name, scope::read(name));
        let band = flaws.read("band", band, Band::parse(band));
        scopes.extend(scope.zip(band));
    }
    scopes.sort();
    // Two bands for one scope are told, too.
    drop(flaws.sorted("scope", scopes.iter().map(|(scope, _)| scope.clone()).collect()));
    scopes.dedup_by(|one, two| one.0 == two.0);
    scopes
}

fn check_routes(texts: &[(String, String)], scopes: &[(Scope, Band)], flaws: &mut Flaws) -> Vec<(Route, Scope)> {
    if !flaws.few("routes", texts.len(), ToolDraft::ROUTES_MAX) {
        return Vec::new();
    }
    let mut seen = BTreeSet::new();
    let mut routes = Vec::with_capacity(texts.len());
    for (text, scope) in texts {
        let Some(route) = flaws.read("route", text, Route::parse(text).map_err(|e| e.to_string())) else { continue };
        if !seen.insert(route.to_string()) {
            flaws.add(Flaw::Repeated { field: "route", value: shown(&route.to_string()) });
        }
        match scopes.iter().find(|(known, _)| known.as_str() == scope) {
            Some((scope, _)) => routes.push((route, scope.clone())),
            None => {
                let reason = format!("the tool has no scope `{}`", shown(scope));
                flaws.add(Flaw::Value { field: "route", value: shown(&route.to_string()), reason });
            }
        }
    }
    routes
}

/// The way back: what was checked once passes again.
impl From<&ToolSpec> for ToolDraft {
    fn from(spec: &ToolSpec) -> Self {
        Self {
            name: spec.name.to_string(),
            audience: spec.audience.to_string(),
            base_urls: spec.base_urls.iter().map(Base::to_string).collect(),
            scopes: spec.scopes.iter().map(|(scope, band)| (scope.to_string(), band.to_string())).collect(),
            routes: spec.routes.iter().map(|(route, scope)| (route.to_string(), scope.to_string())).collect(),
            encoded_slash: spec.encoded_slash,
        }
    }
}

impl ToolSpec {
    /// The band of one of its scopes.
    pub(crate) fn band(&self, scope: &str) -> Option<Band> {
        let at = self.scopes.binary_search_by(|(own, _)| own.as_str().cmp(scope)).ok()?;
        self.scopes.get(at).map(|(_, band)| *band)
    }

    /// The scope that a request needs; `None` where no route fits: then nobody may make it. The path is that below the
    /// base URL.
    pub(crate) fn scope_of(&self, method: &str, path: &str) -> Option<&Scope> {
        target::find(self.routes.iter().map(|(route, scope)| (route, scope)), method, path)
    }
}
