//! The limits of the workload socket.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

fn gate(connections: usize, streams: usize, rate: u32) -> Arc<Gate> {
    let share = Share { connections, streams, answer_bytes: 50 };
    let all = Share { connections: 6, streams: 6, answer_bytes: 60 };
    let limits = Limits { user: share, root: all, all, connects_per_second: rate, requests_per_second: rate, turns: 2 };
    Arc::new(Gate::new(limits, AllLooks::default()))
}

fn connect(gate: &Arc<Gate>, uid: u32) -> Result<Arc<ConnectionSlot>, Over> {
    gate.connect(uid, Instant::now()).map(Arc::new)
}

fn is_told_to_go(slot: &ConnectionSlot) -> bool {
    slot.closing().is_cancelled()
}

#[test]
fn a_users_oldest_idle_connection_makes_room() {
    let gate = gate(2, 9, 100);
    let now = Instant::now();
    let (busy, idle) = (connect(&gate, 7).unwrap(), connect(&gate, 7).unwrap());
    let _stream = busy.stream(now).unwrap();
    let third = connect(&gate, 7).unwrap();
    assert!(idle.closing().is_cancelled() && !busy.closing().is_cancelled());
    let second = third.stream(now).unwrap();
    assert_eq!(gate.connect(7, now).unwrap_err(), Over::ConnectionsOfUser);
    assert!(gate.connect(8, now).is_ok(), "another user is not concerned");
    assert_eq!(gate.open().0, 2);
    drop((idle, third, second));
    assert_eq!(gate.open().0, 1);
}

#[test]
fn everything_is_given_back() {
    let gate = gate(3, 3, 100);
    let now = Instant::now();
    for _ in 0..10 {
        let connection = connect(&gate, 7).unwrap();
        let streams: Vec<_> = (0..3).map(|_| connection.stream(now).unwrap()).collect();
        assert_eq!(connection.stream(now).unwrap_err(), Over::StreamsOfUser);
        drop(connection);
        drop(streams);
        assert_eq!(gate.open(), (0, 0));
    }
}

#[test]
fn all_together_have_a_limit() {
    let gate = gate(6, 6, 100);
    let now = Instant::now();
    let open: Vec<_> = (0..6).map(|uid| connect(&gate, uid).unwrap()).collect();
    let streams: Vec<_> = open.iter().map(|connection| connection.stream(now).unwrap()).collect();
    assert_eq!(connect(&gate, 9).unwrap_err(), Over::ConnectionsOfAll, "nobody has more than one");
    assert_eq!(open.first().unwrap().stream(now).unwrap_err(), Over::StreamsOfAll, "nobody has more than one");
    drop(streams);
    assert!(!open.iter().any(|connection| is_told_to_go(connection)));
}

#[test]
fn whoever_has_most_idle_connections_makes_room() {
    let gate = gate(6, 6, 100);
    let few: Vec<_> = (0..2).map(|_| connect(&gate, 8).unwrap()).collect();
    let many: Vec<_> = (0..4).map(|_| connect(&gate, 7).unwrap()).collect();
    let newcomer = connect(&gate, 9).unwrap();
    let gone: Vec<_> = many.iter().map(|connection| is_told_to_go(connection)).collect();
    assert_eq!(gone, [true, false, false, false], "the oldest");
    assert!(!few.iter().chain([&newcomer]).any(|connection| is_told_to_go(connection)));
    let _own = connect(&gate, 7).unwrap();
    assert!(many.get(1).is_some_and(|second| is_told_to_go(second)), "its own, when it has most itself");
    assert_eq!(gate.open().0, 6);
}

#[test]
fn who_has_most_goes_even_when_nobody_is_idle() {
    let gate = gate(6, 9, 100);
    let now = Instant::now();
    let open: Vec<_> = [7, 7, 7, 7, 8, 8].into_iter().map(|uid| connect(&gate, uid).unwrap()).collect();
    let _streams: Vec<_> = open.iter().map(|connection| connection.stream(now).unwrap()).collect();
    let newcomer = connect(&gate, 9).unwrap();
    let _stream = newcomer.stream(now).unwrap();
    let gone: Vec<_> = open.iter().map(|connection| is_told_to_go(connection)).collect();
    assert_eq!(gone, [true, false, false, false, false, false]);
    let second = connect(&gate, 9).unwrap();
    let _stream = second.stream(now).unwrap();
    assert_eq!(connect(&gate, 9).unwrap_err(), Over::ConnectionsOfAll, "all have two");
    assert_eq!(connect(&gate, 7).unwrap_err(), Over::ConnectionsOfAll, "nor is it taken back");
}

#[test]
fn many_uids_of_one_person_have_one_place_in_the_order() {
    let gate = gate(6, 9, 100);
    let now = Instant::now();
    let own: Vec<_> = (0..2).map(|_| connect(&gate, 8).unwrap()).collect();
    let many: Vec<_> = (0..4).map(|number| connect(&gate, 100_000 + number).unwrap()).collect();
    let _streams: Vec<_> = own.iter().chain(&many).map(|connection| connection.stream(now).unwrap()).collect();
    assert_eq!(connect(&gate, 100_004).unwrap_err(), Over::ConnectionsOfAll);
    assert!(connect(&gate, 8).is_ok());
    assert!(!own.iter().any(|connection| is_told_to_go(connection)));
    assert!(many.first().is_some_and(|first| is_told_to_go(first)));
}

#[test]
fn a_greater_share_weighs_less() {
    let small = Share { connections: 4, streams: 4, answer_bytes: 50 };
    let all = Share { connections: 6, streams: 99, answer_bytes: 60 };
    let limits =
        Limits { user: small, root: Share { connections: 16, ..small }, all, ..gate(4, 4, 100).state().limits };
    let gate = Arc::new(Gate::new(limits, AllLooks::default()));
    let now = Instant::now();
    let open: Vec<_> = [0, 0, 0, 0, 7, 7].into_iter().map(|uid| connect(&gate, uid).unwrap()).collect();
    let _streams: Vec<_> = open.iter().map(|connection| connection.stream(now).unwrap()).collect();
    let _newcomer = connect(&gate, 0).unwrap();
    let gone: Vec<_> = open.iter().map(|connection| is_told_to_go(connection)).collect();
    assert_eq!(gone, [false, false, false, false, true, false]);
}

#[test]
fn whoever_has_most_streams_makes_room() {
    let gate = gate(6, 6, 100);
    let now = Instant::now();
    let (many, more, few) = (connect(&gate, 7).unwrap(), connect(&gate, 7).unwrap(), connect(&gate, 8).unwrap());
    let of_many: Vec<_> = (0..3).map(|_| many.stream(now).unwrap()).collect();
    let _others: Vec<_> = [&more, &more, &few].into_iter().map(|slot| slot.stream(now).unwrap()).collect();
    let _newcomer = few.stream(now).unwrap();
    assert!(is_told_to_go(&many) && !is_told_to_go(&more) && !is_told_to_go(&few));
    assert_eq!(gate.open(), (2, 4), "its streams go with it");
    assert_eq!(many.stream(now).unwrap_err(), Over::ConnectionsOfAll, "it begins nothing more");
    drop((of_many, many));
    assert_eq!(gate.open(), (2, 4), "and are given back once");
}

#[tokio::test(start_paused = true)]
async fn the_next_one_waits_while_many_leave() {
    let gate = gate(1, 1, 1_000);
    let mut leaving: Vec<_> = (0..=LEAVING_MAX).map(|_| connect(&gate, 7).unwrap()).collect();
    let begin = tokio::time::Instant::now();
    gate.settle().await;
    assert_eq!(begin.elapsed().as_millis(), SETTLE_WAIT.as_millis(), "not for ever");
    let settled = tokio::spawn({
        let gate = gate.clone();
        async move { gate.settle().await }
    });
    tokio::task::yield_now().await;
    leaving.remove(0);
    settled.await.unwrap();
    assert_eq!(begin.elapsed().as_millis(), SETTLE_WAIT.as_millis(), "until one has left");
}

#[test]
fn a_flood_costs_connects() {
    let gate = gate(6, 6, 20);
    let begin = Instant::now();
    let slot = gate.connect(7, begin).unwrap();
    (0..19).for_each(|_| slot.fine());
    assert_eq!(gate.connect(7, begin).unwrap_err(), Over::ConnectRate);
    assert!(gate.connect(8, begin).is_ok(), "another user is not concerned");
    assert!(gate.connect(7, begin + Duration::from_millis(100)).is_ok());
}

#[test]
fn refusals_without_end_are_a_flood() {
    let gate = gate(6, 6, 4);
    let now = Instant::now();
    let slot = connect(&gate, 7).unwrap();
    assert!((0..4).all(|_| slot.stream(now).is_ok()));
    assert!((0..4).all(|_| slot.stream(now).is_err_and(|over| over == Over::RequestRate) && !slot.is_flood()));
    assert!(slot.stream(now).is_err() && slot.is_flood());
}

#[test]
fn a_rate_refills_with_time() {
    let gate = gate(6, 6, 4);
    let begin = Instant::now();
    let connect = |after| gate.connect(7, begin + Duration::from_millis(after)).map(drop);
    assert!((0..4).all(|_| connect(0).is_ok()));
    assert_eq!(connect(0), Err(Over::ConnectRate));
    assert_eq!(connect(260), Ok(()));
    assert_eq!(connect(260), Err(Over::ConnectRate));
    assert!((0..4).all(|_| connect(5_000).is_ok()));
}

#[test]
fn bytes_of_answers_have_a_limit_for_each_and_are_given_back() {
    let gate = gate(6, 6, 100);
    let (one, other) = (connect(&gate, 7).unwrap(), connect(&gate, 7).unwrap());
    let held = [one.hold(30).unwrap(), other.hold(20).unwrap()];
    assert_eq!(one.hold(1).unwrap_err(), Over::AnswerBytesOfUser, "50 are its user's");
    assert!(connect(&gate, 8).unwrap().hold(10).is_ok(), "another user is not concerned");
    drop(held);
    assert!(one.hold(50).is_ok());
    assert_eq!(gate.answer_bytes(), (0, 0));
}

#[test]
fn at_a_users_limit_its_connection_with_most_bytes_makes_room() {
    let gate = gate(6, 6, 100);
    let [silent, reader, third] = [7; 3].map(|uid| connect(&gate, uid).unwrap());
    let of_silent = silent.hold(30).unwrap();
    let of_reader = reader.hold(15).unwrap();
    assert_eq!(reader.hold(15).unwrap_err(), Over::AnswerBytesOfUser, "it would have no less");
    assert!(!is_told_to_go(&silent));
    let more = reader.hold(14).unwrap();
    assert!(is_told_to_go(&silent) && !is_told_to_go(&reader));
    assert_eq!(gate.answer_bytes(), (29, 30));
    assert_eq!(silent.hold(40).unwrap_err(), Over::AnswerBytesOfAll, "it is answered nothing more");
    assert!(!is_told_to_go(&reader), "nor does anybody go for it");
    drop((of_silent, silent));
    let of_third = third.hold(20).unwrap();
    assert_eq!(reader.hold(2).unwrap_err(), Over::AnswerBytesOfUser, "never its own");
    drop((of_reader, more, of_third));
    assert_eq!(gate.answer_bytes(), (0, 0));
}

#[test]
fn who_was_refused_begins_nothing_in_vain() {
    let gate = gate(6, 6, 100);
    let now = Instant::now();
    let [silent, reader] = [7; 2].map(|uid| connect(&gate, uid).unwrap());
    let mut held = vec![silent.hold(15).unwrap(), silent.hold(15).unwrap()];
    assert!(silent.stream(now).is_ok(), "nothing was refused");
    assert_eq!(silent.hold(21).unwrap_err(), Over::AnswerBytesOfUser);
    assert_eq!(silent.stream(now).unwrap_err(), Over::AnswerBytesOfUser);
    assert!(reader.stream(now).is_ok(), "another connection is not concerned");
    held.pop();
    assert!(silent.stream(now).is_ok(), "there is room again");
    let [other, last] = [8, 9].map(|uid| connect(&gate, uid).unwrap());
    held.extend([other.hold(15).unwrap(), last.hold(15).unwrap()]);
    assert_eq!(last.hold(16).unwrap_err(), Over::AnswerBytesOfAll);
    assert_eq!(last.stream(now).unwrap_err(), Over::AnswerBytesOfAll);
    assert_eq!(gate.open(), (4, 0), "nothing is left of it, and nobody went");
    drop(held);
    assert!(last.stream(now).is_ok());
}

#[test]
fn whoever_holds_most_bytes_makes_room() {
    let gate = gate(6, 6, 100);
    let [many, more, few] = [7, 7, 8].map(|uid| connect(&gate, uid).unwrap());
    let of_many = many.hold(25).unwrap();
    let of_others = [more.hold(24).unwrap(), few.hold(9).unwrap()];
    let newcomer = connect(&gate, 9).unwrap();
    let own = newcomer.hold(12).unwrap();
    assert!(is_told_to_go(&many) && !is_told_to_go(&more) && !is_told_to_go(&few));
    assert_eq!(many.hold(1).unwrap_err(), Over::AnswerBytesOfAll, "it is answered nothing more");
    assert_eq!(gate.answer_bytes(), (45, 25), "what it holds is there until it has left");
    drop((of_many, many));
    assert_eq!(gate.answer_bytes(), (45, 0), "and is given back once");
    assert_eq!(newcomer.hold(20).unwrap_err(), Over::AnswerBytesOfAll, "nobody would have more than that");
    drop((of_others, own));
    assert_eq!(gate.answer_bytes(), (0, 0));
}

#[test]
fn few_bytes_leave_at_once() {
    let gate = gate(6, 6, 100);
    let [greatest, next] = [7, 8].map(|uid| connect(&gate, uid).unwrap());
    let mut held = vec![greatest.hold(31).unwrap(), next.hold(29).unwrap()];
    let newcomer = connect(&gate, 9).unwrap();
    held.push(newcomer.hold(20).unwrap());
    held.push(newcomer.hold(4).unwrap());
    assert_eq!(gate.answer_bytes(), (53, 31));
    let third = connect(&gate, 10).unwrap();
    held.push(third.hold(10).unwrap());
    assert_eq!(gate.answer_bytes(), (34, 60), "more than one user's share leaves");
    let fourth = connect(&gate, 11).unwrap();
    held.push(fourth.hold(26).unwrap());
    assert_eq!(third.hold(1).unwrap_err(), Over::AnswerBytesOfAll, "so nobody else goes yet");
    drop(held.remove(0));
    assert!(third.hold(1).is_ok());
}

/// Whoever has more than the new limits allow keeps it; who comes then is measured by them.
#[tokio::test]
async fn other_limits_have_effect_at_once() {
    let gate = gate(4, 6, 100);
    let now = Instant::now();
    let held: Vec<_> = (0..3).map(|_| Arc::new(gate.connect(7, now).unwrap())).collect();
    let streams: Vec<_> = held.iter().map(|slot| slot.stream(now).unwrap()).collect();
    let mut limits = gate.state().limits;
    (limits.user.connections, limits.user.streams, limits.turns) = (2, 2, 9);
    gate.change_limits(limits);
    assert_eq!(gate.open(), (3, 3), "nobody loses anything by it");
    assert!(matches!(gate.connect(7, now), Err(Over::ConnectionsOfUser)));
    assert!(matches!(held.first().unwrap().stream(now), Err(Over::StreamsOfUser)));
    assert!(gate.connect(8, now).is_ok(), "others have theirs");
    assert_eq!(gate.state().limits.turns, 2, "calls that go on have theirs");
    limits.user.connections = 4;
    gate.change_limits(limits);
    assert!(gate.connect(7, now).is_ok());
    drop(streams);
    (limits.connects_per_second, limits.all.connections) = (1, 3);
    gate.change_limits(limits);
    // The greatest party is found by what it holds of its new share.
    assert!(gate.connect(9, now).is_ok() && held.first().unwrap().closing().is_cancelled());
}
