//! Filters and pages.

use super::*;

#[tokio::test]
async fn lists_are_filtered_and_counted() {
    let house = House::new();
    for (name, selectors, hint) in [
        ("web", &["unix:uid:1", "unix:gid:1"][..], "a"),
        ("web", &["unix:uid:2"], "b"),
        ("web/admin", &["unix:uid:1"], ""),
        ("db", &["unix:uid:3", "unix:gid:1"], "a"),
    ] {
        let federates_with = if hint == "b" { vec!["other.test".into()] } else { Vec::new() };
        house.create(pb::Entry { hint: hint.into(), federates_with, ..entry(name, selectors) }).await;
    }
    let none = pb::ListEntriesRequest::default;
    let web = "spiffe://example.org/web";
    for (request, found) in [
        (none(), 4),
        (pb::ListEntriesRequest { spiffe_id: web.into(), ..none() }, 2),
        (pb::ListEntriesRequest { spiffe_id_prefix: web.into(), ..none() }, 3),
        (pb::ListEntriesRequest { spiffe_id_prefix: "spiffe://example.org/web/".into(), ..none() }, 1),
        (pb::ListEntriesRequest { selectors: vec!["unix:uid:1".into()], ..none() }, 2),
        (pb::ListEntriesRequest { selectors: vec!["unix:uid:1".into(), "unix:gid:1".into()], ..none() }, 1),
        (pb::ListEntriesRequest { hint: "a".into(), ..none() }, 2),
        (pb::ListEntriesRequest { federates_with: "other.test".into(), ..none() }, 1),
        (pb::ListEntriesRequest { hint: "a".into(), spiffe_id: web.into(), ..none() }, 1),
        (pb::ListEntriesRequest { hint: "c".into(), ..none() }, 0),
    ] {
        let answer = house.list(request.clone()).await;
        assert_eq!((answer.entries.len(), answer.total), (found, found as u64), "{request:?}");
        let counted = house.list(pb::ListEntriesRequest { count_only: true, ..request.clone() }).await;
        assert_eq!((counted.entries.len(), counted.total), (0, found as u64), "{request:?}");
    }
}

#[tokio::test]
async fn pages_show_each_entry_once_though_some_go_and_come_meanwhile() {
    let house = House::new();
    let mut ids = Vec::new();
    for uid in 0..7 {
        ids.push(house.create(entry("web", &[&format!("unix:uid:{uid}")])).await.id);
    }
    let first = house.list(pb::ListEntriesRequest { page_size: 3, ..pb::ListEntriesRequest::default() }).await;
    assert_eq!(first.total, 7);
    let mut seen: Vec<_> = first.entries.iter().map(|entry| entry.id.clone()).collect();
    // The last one of the page, and one that is still to come.
    for gone in [&ids[2], &ids[4]] {
        house.entries().delete(pb::DeleteEntryRequest { id: gone.clone() }).await.unwrap();
    }
    ids.push(house.create(entry("web", &["unix:uid:7"])).await.id);
    let mut page_token = first.next_page_token;
    let mut pages = 1;
    while !page_token.is_empty() {
        let page =
            house.list(pb::ListEntriesRequest { page_size: 3, page_token, ..pb::ListEntriesRequest::default() }).await;
        seen.extend(page.entries.iter().map(|entry| entry.id.clone()));
        page_token = page.next_page_token;
        pages += 1;
    }
    ids.remove(4);
    assert_eq!((seen, pages), (ids, 3));
}

#[tokio::test]
async fn a_page_has_a_most_of_entries_and_of_bytes() {
    let house = House::new();
    let small = (0..1_100).map(|uid| entry("small", &[&format!("unix:uid:{uid}")]));
    let request = pb::ApplyEntriesRequest { create: small.collect(), ..pb::ApplyEntriesRequest::default() };
    house.entries().apply(request).await.unwrap();
    let page = house.list(pb::ListEntriesRequest { page_size: 5_000, ..pb::ListEntriesRequest::default() }).await;
    assert_eq!((page.entries.len(), page.total), (PAGE_SIZE_MAX, 1_100));
    let page = house.list(pb::ListEntriesRequest::default()).await;
    assert_eq!(page.entries.len(), 50);

    let large = |number: u32| {
        let paths = (0..60).map(|index| format!("docker:label:{number}/{index}/{}", "x".repeat(4_000)));
        pb::Entry { selectors: paths.collect(), ..entry("large", &[]) }
    };
    for number in 0..12 {
        house.create(large(number)).await;
    }
    let (prefix, mut page_token, mut sizes) = ("spiffe://example.org/large".to_owned(), String::new(), Vec::new());
    loop {
        let request = pb::ListEntriesRequest { spiffe_id_prefix: prefix.clone(), page_token, ..Default::default() };
        let page = house.list(request).await;
        sizes.push(page.entries.len());
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(sizes, [8, 4], "a page of a quarter of a mebibyte each ends before two mebibytes");
}
