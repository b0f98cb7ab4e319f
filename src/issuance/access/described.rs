//! What a caller may have, for who asks before it asks for a token.

use std::sync::Arc;

use super::{Error, Issuer};
use crate::{
    attest::{self, Caller},
    registry::{Agent, Grant, Label, Tool},
};

/// An agent, and each tool that it may use with the grant that says so.
pub(crate) type Described = (Arc<Agent>, Vec<(Arc<Tool>, Arc<Grant>)>);

impl Issuer {
    /// The agents that a caller is, in the order of its entries, each with the tools that it may use.
    ///
    /// # Errors
    /// When it is gone, or cannot be looked at.
    pub(crate) async fn described(&self, caller: &Caller) -> Result<Vec<Described>, Error> {
        let snapshot = self.registry().borrow().clone();
        let attested = self.attest(caller, &snapshot).await?;
        let granted = self.granted(&attested, &snapshot);
        if !self.holds(caller, &attested).await? {
            return Err(Error::Attest(attest::Error::Unsteady));
        }
        let catalog = snapshot.catalog();
        let mut names: Vec<&Label> = Vec::new();
        for name in granted.given.iter().filter_map(|entry| entry.spec.agent.as_ref()) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let rights = |name: &Label| {
            let grants = catalog.grants(name.as_str()).iter();
            grants
                .filter_map(|grant| Some((catalog.tool(grant.spec.id.tool.as_str())?.clone(), grant.clone())))
                .collect()
        };
        let agents = names.into_iter().filter_map(|name| Some((catalog.agent(name.as_str())?.clone(), rights(name))));
        Ok(agents.collect())
    }
}
