//! What the verbs of agents, tools and grants have in common, and how each is shown: to programs with the names and
//! units of the admin API, to people as a row or a card.

use serde_json::{Value, json};

use crate::{
    pb::admin::{
        Agent, CreateItemRequest, DeleteItemsRequest, Grant, Item, ItemId, ItemKind, ListItemsRequest, Tool,
        UpdateItemRequest, item::Item as Inner,
    },
    registry,
};

use super::{
    context::Context,
    exit::Exit,
    failure::{Failure, counted},
    link::{Admin, answer},
    moment,
    paging::{self, Paging},
    print::Printer,
};

/// One of the three, as it can be changed.
pub(crate) trait OneKind: Clone + PartialEq + Sized {
    /// Which.
    const KIND: ItemKind;
    /// In words.
    const WORD: &'static str;

    /// The wire's.
    fn wrap(self) -> Inner;
    /// Out of the wire's, if it is of this kind.
    fn unwrap(inner: Inner) -> Option<Self>;
    /// Its name among those of its kind.
    fn id(&self) -> String;
    fn revision(&self) -> u64;
    /// For programs.
    fn view(&self) -> Value;
    /// Names and values for people; empty ones are left out.
    fn card(&self) -> Vec<(&'static str, String)>;
    /// A table for people.
    ///
    /// # Errors
    /// When stdout cannot be written.
    fn rows(print: &Printer, all: &[Self]) -> Result<(), Failure>;
}

/// Registers one, and prints its name.
///
/// # Errors
/// What the daemon refused.
pub(crate) async fn add<K: OneKind>(context: &Context, new: K) -> Result<(), Failure> {
    let request = CreateItemRequest { item: Some(Item { item: Some(new.wrap()) }) };
    let made: K = taken(answer(Admin::connect(context).await?.catalog.create(request)).await)?;
    match context.print.is_json() {
        true => context.print.json(&made.view()),
        false => context.print.line(made.id()),
    }
}

/// One of this name.
///
/// # Errors
/// What the daemon refused.
pub(crate) async fn fetch<K: OneKind>(admin: &mut Admin, name: &str) -> Result<K, Failure> {
    let id = ItemId { kind: K::KIND.into(), name: name.to_owned() };
    taken(answer(admin.catalog.show(id)).await)
}

/// Shows one whole.
///
/// # Errors
/// What the daemon refused.
pub(crate) async fn show<K: OneKind>(context: &Context, name: &str) -> Result<(), Failure> {
    one::<K>(context, &fetch(&mut Admin::connect(context).await?, name).await?)
}

/// Changes one of this name, unless it is so already.
///
/// # Errors
/// What the daemon refused.
pub(crate) async fn update<K: OneKind>(
    context: &Context,
    name: &str,
    change: impl FnOnce(&mut K),
) -> Result<(), Failure> {
    let mut admin = Admin::connect(context).await?;
    let before: K = fetch(&mut admin, name).await?;
    let mut after = before.clone();
    change(&mut after);
    if after == before {
        context.print.say("nothing to change");
        return one(context, &before);
    }
    let item = Some(Item { item: Some(after.wrap()) });
    let request = UpdateItemRequest { item, expected_revision: before.revision() };
    one::<K>(context, &taken(answer(admin.catalog.update(request)).await)?)
}

/// Removes those of these names, all or none.
///
/// # Errors
/// What the daemon refused.
pub(crate) async fn remove<K: OneKind>(context: &Context, names: Vec<String>, cascade: bool) -> Result<(), Failure> {
    let ids = names.into_iter().map(|name| ItemId { kind: K::KIND.into(), name }).collect();
    let request = DeleteItemsRequest { ids, cascade };
    let gone = answer(Admin::connect(context).await?.catalog.delete(request)).await.map_err(advised::<K>)?;
    if context.print.is_json() {
        let removed: Vec<_> =
            gone.removed.iter().map(|id| json!({ "kind": word(id.kind()), "name": id.name })).collect();
        return context.print.json(&json!({ "removed": removed, "entries": gone.entries }));
    }
    let count = |kind| gone.removed.iter().filter(|id| id.kind() == kind).count();
    let entries = usize::try_from(gone.entries).unwrap_or(usize::MAX);
    let parts = [
        (count(ItemKind::Agent), "agent", "agents"),
        (count(ItemKind::Tool), "tool", "tools"),
        (count(ItemKind::Grant), "grant", "grants"),
        (entries, "entry", "entries"),
    ];
    let parts = parts.into_iter().filter(|(count, ..)| *count > 0);
    let parts: Vec<_> = parts.map(|(count, one, many)| counted(count, one, many)).collect();
    context.print.say(format_args!("removed {}", parts.join(", ")));
    Ok(())
}

/// Lists those that the request wants.
///
/// # Errors
/// What the daemon refused.
pub(crate) async fn list<K: OneKind>(
    context: &Context,
    request: ListItemsRequest,
    paging: Paging,
) -> Result<(), Failure> {
    let print = &context.print;
    let many = format!("{}s", K::WORD);
    let mut admin = Admin::connect(context).await?;
    let mut request = ListItemsRequest {
        kind: K::KIND.into(),
        page_size: paging.size(),
        page_token: paging.page_token,
        count_only: paging.count,
        ..request
    };
    let mut page = answer(admin.catalog.list(request.clone())).await?;
    if paging.count {
        return paging::total(print, page.total);
    }
    while paging.all && !page.next_page_token.is_empty() {
        print.progress(format_args!("{} of {} {many}", page.items.len(), page.total));
        request.page_token = page.next_page_token;
        let next = answer(admin.catalog.list(request.clone())).await?;
        page.items.extend(next.items);
        (page.next_page_token, page.total) = (next.next_page_token, next.total);
    }
    print.progress_done();
    let all: Vec<K> = page.items.into_iter().filter_map(|item| K::unwrap(item.item?)).collect();
    if print.is_json() {
        let views: Vec<_> = all.iter().map(K::view).collect();
        return print.json(&json!({ many: views, "next_page_token": page.next_page_token, "total": page.total }));
    }
    if all.is_empty() {
        print.say(format_args!("no {many}"));
        return Ok(());
    }
    K::rows(print, &all)?;
    paging::next(print, all.len(), page.total, &page.next_page_token);
    Ok(())
}

/// Prints one.
///
/// # Errors
/// When stdout cannot be written.
pub(crate) fn one<K: OneKind>(context: &Context, one: &K) -> Result<(), Failure> {
    match context.print.is_json() {
        true => context.print.json(&one.view()),
        false => context.print.pairs(one.card().into_iter().filter(|(_, value)| !value.is_empty())),
    }
}

/// The item of an answer, or what to do about the refusal.
///
/// # Errors
/// The refusal.
pub(crate) fn taken<K: OneKind>(answer: Result<Item, Failure>) -> Result<K, Failure> {
    let item = answer.map_err(advised::<K>)?;
    let inner = item.item.and_then(K::unwrap);
    inner.ok_or_else(|| Failure::new(Exit::Failed, format!("the daemon sent no {}", K::WORD)))
}

/// A refusal with what to do about it.
fn advised<K: OneKind>(failure: Failure) -> Failure {
    let kinds = ["agent", "tool", "grant"];
    let missing = kinds.into_iter().find(|kind| failure.words().starts_with(&format!("there is no {kind} ")));
    match (failure.exit(), missing) {
        (Exit::Conflict, _) if failure.words().contains(registry::Error::NO_SCOPE) => match K::KIND {
            ItemKind::Tool => failure.hint("change that grant first, or both in one `dayfly apply`"),
            _ => failure.hint("`dayfly tool show` tells a tool's scopes"),
        },
        (Exit::Missing, Some(kind)) => failure.hint(format!("`dayfly {kind} list` shows what there is")),
        (Exit::Conflict, _) if failure.words().contains(registry::Error::NEEDED) => {
            failure.hint("remove those first, or all of it together with --cascade")
        }
        (Exit::Conflict, _) if failure.words().contains(registry::Error::TAKEN) => {
            failure.hint(format!("change it with `dayfly {} update`", K::WORD))
        }
        _ => failure,
    }
}

/// The word of a kind.
pub(crate) fn word(kind: ItemKind) -> &'static str {
    match kind {
        ItemKind::Agent => Agent::WORD,
        ItemKind::Tool => Tool::WORD,
        ItemKind::Grant => Grant::WORD,
        ItemKind::Unspecified => "",
    }
}

/// A time that may be none.
pub(crate) fn time_or(seconds: u64, none: &str) -> String {
    if seconds == 0 { none.to_owned() } else { moment::text(seconds) }
}
