//! The locks of a pair: races for the bias, panics inside, nested use.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;

use super::*;

/// Creates a lock on a thread that owns it, and runs `body` there.
fn owned<T: Send + 'static>(
    value: T,
    body: impl FnOnce(&BiasedPair<T, ()>) + Send + 'static,
) -> (Arc<BiasedPair<T, ()>>, thread::JoinHandle<()>) {
    let (out, lock) = channel();
    let owner = thread::spawn(move || {
        claim();
        let lock = Arc::new(BiasedPair::new(value, ()));
        out.send(Arc::clone(&lock)).unwrap();
        body(&lock);
    });
    (lock.recv().unwrap(), owner)
}

/// No update is lost while the bias is removed, in many races.
#[test]
fn one_thread_at_a_time_is_inside() {
    const STEPS: u64 = 2_000;
    let rounds = if cfg!(miri) { 2 } else { 300 };
    for _ in 0..rounds {
        let (lock, owner) = owned((0_u64, 0_u64), |lock| {
            for _ in 0..STEPS {
                let mut pair = lock.lock_first();
                pair.0 += 1;
                pair.1 += 1;
            }
        });
        let others = [(); 2].map(|()| {
            let lock = Arc::clone(&lock);
            thread::spawn(move || {
                for _ in 0..STEPS / 10 {
                    let mut pair = lock.lock_first();
                    assert_eq!(pair.0, pair.1, "seen half done");
                    pair.0 += 1;
                    pair.1 += 1;
                }
            })
        });
        owner.join().unwrap();
        others.into_iter().for_each(|other| other.join().unwrap());
        assert_eq!(*lock.lock_first(), (STEPS + 2 * (STEPS / 10), STEPS + 2 * (STEPS / 10)));
    }
}

#[test]
fn another_thread_waits_while_the_owner_is_inside() {
    let (let_go, may_leave) = channel();
    let (entered, is_inside) = channel();
    let (lock, owner) = owned(1, move |lock| {
        let mut value = lock.lock_first();
        entered.send(()).unwrap();
        may_leave.recv().unwrap();
        *value = 2;
    });
    is_inside.recv().unwrap();
    let other = thread::spawn({
        let lock = Arc::clone(&lock);
        move || *lock.lock_first()
    });
    let_go.send(()).unwrap();
    assert_eq!(other.join().unwrap(), 2);
    owner.join().unwrap();
}

#[test]
fn a_panic_inside_leaves_the_lock_open() {
    let (lock, owner) = owned(0, |lock| {
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let mut value = lock.lock_first();
            *value = 1;
            panic!("as the test asked for");
        }));
        assert!(panicked.is_err());
        *lock.lock_first() += 1;
    });
    owner.join().unwrap();
    assert_eq!(*lock.lock_first(), 2);
}

#[test]
#[cfg(all(target_os = "linux", not(miri)))]
fn an_owner_that_locks_twice_panics() {
    let (_lock, owner) = owned((), |lock| {
        let _first = lock.lock_first();
        let _second = lock.lock_first();
    });
    assert!(owner.join().is_err());
}

/// Without the flag it would wait for itself.
#[test]
fn code_that_may_not_wait_panics_instead() {
    let lock = BiasedPair::new((), ());
    let nested = catch_unwind(AssertUnwindSafe(|| {
        let _guard = lock.lock_first();
        let _no_waiting = NoWaiting::begin();
        // Another lock, which is free, is no reason to forget about it.
        drop((BiasedPair::new((), ()).lock_first(), NoWaiting::begin()));
        drop(lock.lock_first());
    }));
    assert!(nested.is_err());
    drop(lock.lock_first());
}

/// Two threads that want each other's locks: the one that would close the circle panics, and both end.
#[test]
fn two_threads_in_a_circle_do_not_wait_for_each_other() {
    let (first, second) = (BiasedPair::new((), ()), BiasedPair::new((), ()));
    let both_inside = std::sync::Barrier::new(2);
    let cross = |own: &BiasedPair<(), ()>, other: &BiasedPair<(), ()>| {
        let crossed = catch_unwind(AssertUnwindSafe(|| {
            let _own = own.lock_first();
            let _no_waiting = NoWaiting::begin();
            both_inside.wait();
            drop(other.lock_first());
        }));
        crossed.is_err()
    };
    let panicked = thread::scope(|scope| {
        let other = scope.spawn(|| cross(&second, &first));
        [cross(&first, &second), other.join().unwrap()]
    });
    assert!(panicked.contains(&true));
}

#[test]
fn without_a_claim_it_is_a_mutex() {
    let lock = BiasedPair::new(7, 8);
    assert!(!lock.first_door.mutex.is_biased() && !lock.second_door.mutex.is_biased());
    assert_eq!((*lock.lock_first(), *lock.lock_second()), (7, 8));
}

/// A sender on another thread takes the bias of the outbound queue, and that of the inbound buffer stays.
#[test]
#[cfg(all(target_os = "linux", not(miri)))]
fn each_lock_of_a_pair_loses_its_bias_by_itself() {
    let (lock, owner) = owned(0, |lock| *lock.lock_first() += 1);
    owner.join().unwrap();
    let biased = |lock: &BiasedPair<i32, ()>| (lock.first_door.mutex.is_biased(), lock.second_door.mutex.is_biased());
    assert_eq!(biased(&lock), (true, true));
    drop(lock.lock_second());
    assert_eq!(biased(&lock), (true, false));
    assert_eq!(*lock.lock_first(), 1);
    assert_eq!(biased(&lock), (false, false));
}

/// With one lock for both, the second thread would wait for the first.
#[test]
fn two_threads_can_be_inside_one_in_each_lock() {
    let (let_go, may_leave) = channel();
    let (entered, is_inside) = channel();
    let (lock, owner) = owned(1, move |lock| {
        let _value = lock.lock_first();
        entered.send(()).unwrap();
        may_leave.recv().unwrap();
    });
    is_inside.recv().unwrap();
    drop(lock.lock_second());
    let_go.send(()).unwrap();
    owner.join().unwrap();
}
