//! Every code, and its words.

use prost::Message as _;

use super::*;

#[tokio::test]
async fn each_fault_has_its_code_and_words() {
    let house = House::new();
    let there = house.create(pb::Entry { hint: "h".into(), ..entry("web", &["unix:uid:1000"]) }).await;
    let unknown = "00000000-0000-4000-8000-000000000000";
    let create = async |entry| house.entries().create(pb::CreateEntryRequest { entry }).await.unwrap_err();
    let update =
        async |entry| house.entries().update(pb::UpdateEntryRequest { entry, expected_revision: 0 }).await.unwrap_err();
    let delete = async |id: &str| house.entries().delete(pb::DeleteEntryRequest { id: id.into() }).await.unwrap_err();
    let list = async |request| house.entries().list(request).await.unwrap_err();
    let none = pb::ListEntriesRequest::default;
    for (error, code, words) in [
        (create(None).await, Code::InvalidArgument, "the entry is missing"),
        (create(Some(entry("web", &[]))).await, Code::InvalidArgument, "there are no selectors"),
        (create(Some(there.clone())).await, Code::InvalidArgument, "are given by the daemon"),
        (
            create(Some(pb::Entry { spiffe_id: "spiffe://other.test/a".into(), ..entry("", &["unix:uid:1"]) })).await,
            Code::InvalidArgument,
            "not in this daemon's trust domain",
        ),
        (create(Some(entry("web", &["unix:uid:1000"]))).await, Code::AlreadyExists, there.id.as_str()),
        (
            create(Some(pb::Entry { hint: "h".into(), ..entry("api", &["unix:uid:1000"]) })).await,
            Code::AlreadyExists,
            "has the hint `h`",
        ),
        (update(None).await, Code::InvalidArgument, "the entry is missing"),
        (update(Some(entry("web", &["unix:uid:1"]))).await, Code::InvalidArgument, "is not an entry's id"),
        (
            update(Some(pb::Entry { id: unknown.into(), ..entry("web", &["unix:uid:1"]) })).await,
            Code::NotFound,
            "there is no entry 00000000",
        ),
        (
            update(Some(pb::Entry { selectors: Vec::new(), ..there.clone() })).await,
            Code::InvalidArgument,
            "there are no selectors",
        ),
        (delete("").await, Code::InvalidArgument, "is not an entry's id"),
        (delete(&there.id.to_uppercase()).await, Code::InvalidArgument, "is not an entry's id"),
        (delete(unknown).await, Code::NotFound, "there is no entry"),
        (house.entries().show(show(unknown)).await.unwrap_err(), Code::NotFound, "there is no entry"),
        (
            list(pb::ListEntriesRequest { spiffe_id: "web".into(), ..none() }).await,
            Code::InvalidArgument,
            "spiffe_id: ",
        ),
        (
            list(pb::ListEntriesRequest { selectors: vec!["x".into()], ..none() }).await,
            Code::InvalidArgument,
            "selectors: ",
        ),
        (
            list(pb::ListEntriesRequest { federates_with: "A".into(), ..none() }).await,
            Code::InvalidArgument,
            "federates_with: ",
        ),
        (
            list(pb::ListEntriesRequest { page_token: "9".into(), ..none() }).await,
            Code::InvalidArgument,
            "page_token: ",
        ),
        (
            house.control().explain(pb::ExplainRequest { pid: 0 }).await.unwrap_err(),
            Code::InvalidArgument,
            "the pid is missing",
        ),
        (
            house.control().explain(pb::ExplainRequest { pid: 9 }).await.unwrap_err(),
            Code::NotFound,
            "there is no process 9",
        ),
        (house.control().explain(pb::ExplainRequest { pid: 8 }).await.unwrap_err(), Code::Unavailable, " (fault "),
        (
            house.control().set_log_level(pb::SetLogLevelRequest { level: "loud".into() }).await.unwrap_err(),
            Code::InvalidArgument,
            "the level must be error, warn, info, debug or trace",
        ),
    ] {
        assert_eq!(error.code(), code, "{words}: {error}");
        assert!(error.message().contains(words), "{words}: {error}");
        assert!(!error.message().contains("secret"), "{error}");
    }
    assert_eq!(house.fixture.desk.registry().borrow().revision(), 1);
}

#[tokio::test]
async fn what_the_daemon_cannot_do_is_unavailable_with_a_number_and_without_its_cause() {
    let house = House::over(Fixture::with_faulty_store());
    let bad = pb::Entry { hint: "unwritable".into(), ..entry("bad", &["unix:uid:1"]) };
    let error = house.entries().create(pb::CreateEntryRequest { entry: Some(bad) }).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    assert!(error.message().starts_with("the change could not be written; nothing was changed (fault "), "{error}");
    assert!(!error.message().contains("refused"), "{error}");
    house.fixture.log.close();
    let good = pb::CreateEntryRequest { entry: Some(entry("good", &["unix:uid:1"])) };
    let error = house.entries().create(good).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    assert!(error.message().starts_with("the change could not be recorded; nothing was changed"), "{error}");
}

#[tokio::test]
async fn a_request_has_a_most_of_bytes() {
    let house = House::new();
    let request = |hint: usize| {
        let entry = pb::Entry { hint: "x".repeat(hint), ..entry("web", &["unix:uid:1"]) };
        pb::ApplyEntriesRequest { create: vec![entry], ..pb::ApplyEntriesRequest::default() }
    };
    let frame = request(MESSAGE_BYTES_MAX).encoded_len() - MESSAGE_BYTES_MAX;
    let most = MESSAGE_BYTES_MAX - frame;
    assert_eq!(request(most).encoded_len(), MESSAGE_BYTES_MAX);
    // The largest is read, and then found wrong; one byte more is not read.
    for (hint, code, words) in
        [(most, Code::InvalidArgument, "the hint"), (most + 1, Code::OutOfRange, "message length too large")]
    {
        let error = house.entries().apply(request(hint)).await.unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.message().contains(words), "{error}");
    }
    house.entries().apply(request(0)).await.unwrap();
}
