//! Tests the state machine, playing both parts: the capturing thread's and the handler's.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use super::*;

const TID: Tid = Tid::new(7);
const REGISTERS: StackRegisters = StackRegisters {
    ip: 1,
    sp: 2,
    bp: 3,
};

fn session() -> Session {
    let deadline = Instant::now() + Duration::from_secs(30);
    Session::begin(deadline).ok().unwrap()
}

fn maps() -> Arc<MapTable> {
    Arc::new(MapTable::read().unwrap())
}

#[test]
fn an_answer_arrives_as_it_was_published() {
    let mut session = session();
    let request = session.arm(3, TID, 100, &maps()).unwrap();
    assert!(matches!(session.progress(&request), Progress::Open));
    let claim = claim(request.cookie(), TID).unwrap();
    assert_eq!(claim.capacity(), 100);
    assert!(matches!(session.progress(&request), Progress::Open));
    // SAFETY: the claim owns the buffer, which is longer than 3 bytes.
    unsafe { ptr::copy_nonoverlapping(b"abc".as_ptr(), claim.destination(), 3) };
    claim.publish(REGISTERS, 3, Extent::Capped);
    let Progress::Answered(answer) = session.progress(&request) else {
        panic!("it was published");
    };
    assert_eq!(answer.stack.bytes, b"abc");
    assert_eq!(answer.extent, Extent::Capped);
    assert_eq!(answer.stack.registers, REGISTERS);
}

#[test]
fn a_request_is_answered_by_its_addressee_and_once() {
    let mut session = session();
    let request = session.arm(0, TID, 100, &maps()).unwrap();
    assert!(claim(request.cookie(), Tid::new(8)).is_none());
    let first = claim(request.cookie(), TID).unwrap();
    assert!(claim(request.cookie(), TID).is_none(), "claimed");
    first.publish(REGISTERS, 0, Extent::Whole);
    assert!(claim(request.cookie(), TID).is_none(), "done");
}

#[test]
fn a_late_signal_finds_a_stale_cookie() {
    let mut session = session();
    let request = session.arm(0, TID, 100, &maps()).unwrap();
    let late = request.cookie();
    session.cancel(request);
    assert!(claim(late, TID).is_none(), "cancelled");
    let next = session.arm(0, TID, 100, &maps()).unwrap();
    assert!(claim(late, TID).is_none(), "the slot has another request");
    assert!(claim(next.cookie(), TID).is_some_and(|claim| {
        claim.publish(REGISTERS, 0, Extent::Whole);
        true
    }));
    let left_open = session.arm(1, TID, 100, &maps()).unwrap().cookie();
    drop(session);
    assert!(claim(left_open, TID).is_none(), "the session is over");
}

#[test]
fn a_slot_that_is_being_written_keeps_its_table_and_is_not_used_again() {
    let table = maps();
    let mut session = session();
    let request = session.arm(5, TID, 100, &table).unwrap();
    let claim = claim(request.cookie(), TID).unwrap();
    session.cancel(request);
    assert!(session.arm(5, TID, 100, &maps()).is_none());
    drop(session);
    assert_eq!(
        Arc::strong_count(&table),
        2,
        "the handler may still look at it"
    );
    assert!(claim.maps().is_some());

    claim.publish(REGISTERS, 0, Extent::Whole);
    drop(self::session());
    assert_eq!(Arc::strong_count(&table), 1);
}

#[test]
fn foreign_values_name_no_slot() {
    for raw in [0, 1, u64::MAX, Cookie::MAGIC << 32] {
        assert_eq!(Cookie::from_raw(raw), None);
    }
    let no_such_slot = Cookie::from_raw(Cookie::MAGIC << 48 | 0xff).unwrap();
    assert!(claim(no_such_slot, TID).is_none());
}

#[test]
fn handlers_and_cancellations_race_to_one_winner() {
    let mut session = session();
    let table = maps();
    for _ in 0..2000 {
        let request = session.arm(9, TID, 100, &table).unwrap();
        let cookie = request.cookie();
        let handler = std::thread::spawn(move || {
            claim(cookie, TID)
                .map(|claim| claim.publish(REGISTERS, 0, Extent::Whole))
                .is_some()
        });
        session.cancel(request);
        let answered = handler.join().unwrap();
        let expected = if answered { DONE } else { IDLE };
        assert_eq!(ALL[9].phase(), expected);
    }
}

#[test]
fn a_session_leaves_no_memory_behind() {
    let mut session = session();
    let request = session.arm(31, TID, 100, &maps()).unwrap();
    let claim = claim(request.cookie(), TID).unwrap();
    let destination = claim.destination();
    // SAFETY: the claim owns the buffer.
    unsafe { destination.write(7) };
    claim.publish(REGISTERS, 1, Extent::Whole);
    drop(session);
    let _session = self::session();
    // SAFETY: the memory stays mapped, and no other test of this process uses slot 31.
    let byte = unsafe { destination.read_volatile() };
    assert_eq!(byte, 0, "the page was given back");
}
